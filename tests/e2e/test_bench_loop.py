"""Benchmarks of the loop's parts, in their short form, through the real command."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.bench.records import Benchmark
from services.cli import app

pytestmark = pytest.mark.e2e


def bench(tmp_path: Path, name: str) -> Benchmark:
    file = tmp_path / f"{name}.json"
    done = CliRunner().invoke(app, ["bench", name, "--short", "--json", str(file)])
    assert done.exit_code == 0, done.output
    return Benchmark.model_validate_json(file.read_text())


def test_completions_are_routed_without_a_model(tmp_path: Path) -> None:
    result = bench(tmp_path, "routing")
    loop, *memory = result.cases
    assert (loop.variant, loop.unit) == ("loop", "completions/s")
    assert loop.min > 0
    assert {one.unit for one in memory} == {"MiB"}
    assert [one.variant for one in memory] == [
        f"{name}, {when} tenth"
        for name in ("driver", "verifiers", "recycler")
        for when in ("first", "middle", "last")
    ]
    assert min(one.min for one in memory) > 10


@pytest.mark.slow
def test_a_generator_is_measured_beside_vllm_alone(tmp_path: Path) -> None:
    result = bench(tmp_path, "generate")
    assert [(c.model, c.variant) for c in result.cases] == [
        ("tiny", "generator"),
        ("tiny", "vllm.LLM"),
    ]
    (ratio,) = result.ratios
    ours, bare = result.cases
    assert ratio.median == pytest.approx(ours.median / bare.median)


@pytest.mark.slow
def test_whole_steps_are_measured_beside_trl(tmp_path: Path) -> None:
    file = tmp_path / "loop.json"
    arguments = ["bench", "loop", "--short", "--mixes", "solve", "--json", str(file)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    result = Benchmark.model_validate_json(file.read_text())
    values = {(case.variant, case.unit): case for case in result.cases}
    tokens = [values[name, "completion tokens/step"].median for name in ("synchronous", "trl")]
    # Both sample 64 answers to the same questions: about as long.
    assert tokens[0] == pytest.approx(tokens[1], rel=0.25)
    ours = [case for (variant, _), case in values.items() if variant == "synchronous"]
    shares = {case.unit: case for case in ours if case.unit.endswith("share")}
    for work in ("generate", "update", "broadcast", "overhead"):
        assert 0 < shares[f"{work}, share"].median < 1
    assert [(r.of, r.to) for r in result.ratios] == [("synchronous", "trl")]


def test_an_unknown_mix_is_one_message(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "loop", "--mixes", "paper"])
    assert done.exit_code == 2
    assert "--mixes: 'paper' is not known" in done.stderr
