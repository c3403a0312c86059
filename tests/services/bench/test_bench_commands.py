"""Both benchmarks in their short form, through the real command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.bench.learner import usable
from services.bench.records import Benchmark

ROOT = Path(__file__).resolve().parents[3]


def coevolve(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services.cli", "bench", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
        # As a rank of a launcher would be started: a benchmark is none all the same.
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(ROOT), "LOCAL_RANK": "0"},
    )


@pytest.mark.e2e
@pytest.mark.slow
def test_learner(tmp_path):
    file = tmp_path / "learner.json"
    done = coevolve("learner", "--short", "--threads", "1", "--json", str(file))
    assert done.returncode == 0, done.stderr
    result = Benchmark.model_validate_json(file.read_text())
    assert result.benchmark == "learner"
    assert result.versions["torch"]
    expected = set(usable(None, lambda _line: None))
    assert {"learner", "learner_plain", "transformers", "ceiling"} <= expected
    for mix in ("solve", "judge"):
        units = {(c.variant, c.unit): c for c in result.cases if c.mix == mix}
        assert {variant for variant, _ in units} == expected
        for variant in expected - {"ceiling"}:
            assert units[variant, "completion tokens/s"].median > 0
            assert 0 < units[variant, "share of ceiling"].median < 1.5
            assert (
                units[variant, "MiB peak"].median > units[variant, "MiB peak above loaded"].median
            )
        pairs = {(r.of, r.to) for r in result.ratios if r.mix == mix}
        assert ("learner", "learner_plain") in pairs
        assert ("learner_plain", "transformers") in pairs
    assert "completion tokens/s" in done.stdout
    # No library speaks between the lines.
    assert [line for line in done.stderr.splitlines() if "left out" not in line] == []


@pytest.mark.e2e
@pytest.mark.slow
def test_memory(tmp_path):
    file = tmp_path / "memory.json"
    done = coevolve("memory", "--tokens", "512,2048", "--threads", "1", "--json", str(file))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    result = Benchmark.model_validate_json(file.read_text())
    peak = {(c.mix, c.variant): c.median for c in result.cases if c.unit == "MiB peak"}
    assert len(peak) == 4
    # The whole matrix in float32 alone: 4 bytes x tokens x vocabulary.
    assert peak["2048 tokens", "full"] > 2048 * 49152 * 4 / 2**20
    assert peak["2048 tokens", "full"] > 3 * peak["512 tokens", "full"]
    grown = peak["2048 tokens", "ours"] - peak["512 tokens", "ours"]
    assert grown < 0.05 * (peak["2048 tokens", "full"] - peak["512 tokens", "full"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("learner", "--variants", "learner,vllm"), "'vllm' is not a variant"),
        (("learner", "--models", "gpt"), "'gpt' is not a model"),
        (("memory", "--tokens", "12,x"), "not numbers of tokens"),
    ],
)
def test_bad_options_are_one_message(arguments, message):
    done = coevolve(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
