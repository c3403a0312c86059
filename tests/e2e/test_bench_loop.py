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
    loop, first, last = result.cases
    assert (loop.variant, loop.unit) == ("loop", "completions/s")
    assert loop.min > 0
    assert {first.unit, last.unit} == {"MiB"}


def test_a_generator_is_measured_beside_vllm_alone(tmp_path: Path) -> None:
    result = bench(tmp_path, "generate")
    assert [(c.model, c.variant) for c in result.cases] == [
        ("tiny", "generator"),
        ("tiny", "vllm.LLM"),
    ]
    (ratio,) = result.ratios
    ours, bare = result.cases
    assert ratio.median == pytest.approx(ours.median / bare.median)
