"""What the broadcast's figures come to, and the whole benchmark in its short form."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from contracts.errors import UserError
from services.bench.broadcast import types_of
from services.bench.broadcast_bare import bare_broadcast
from services.bench.broadcast_records import BroadcastBenchmark, Measured, Result, show_more

ROOT = Path(__file__).resolve().parents[3]


def measured(receivers: int, ours: list[float], bare: list[float]) -> Measured:
    phases = [{"start": s / 10, "transfer": s / 2, "finish": s / 10} for s in ours]
    return Measured(
        receivers, 10**9, ours, bare, phases, compared=7 * receivers, changed=7, weights=7
    )


def benchmark(*found: Measured) -> BroadcastBenchmark:
    result = Result()
    result.add("tiny float32", found)
    return BroadcastBenchmark(
        benchmark="broadcast",
        machine="2 cores",
        versions={"torch": "2"},
        cases=tuple(result.cases),
        ratios=tuple(result.ratios),
        intervals=tuple(result.intervals),
        checksums=tuple(result.checksums),
    )


def test_bandwidths_and_growth_are_compared_round_by_round():
    result = benchmark(
        measured(1, [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]), measured(4, [4.0, 8.0, 5.0], [4.0, 8.0, 4.0])
    )
    found = {(c.mix, c.variant, c.unit): c.median for c in result.cases}
    assert found["1 receiver", "broadcast", "GB/s"] == 0.5
    assert found["1 receiver", "gloo", "GB/s"] == 1.0
    assert found["4 receivers", "broadcast, transfer", "GB/s"] == 0.4
    assert found["4 receivers", "broadcast", "s finish"] == 0.5
    ratios = {(r.mix, r.of): r for r in result.ratios}
    assert ratios["1 receiver", "broadcast"].median == 0.5
    assert ratios["1 receiver", "broadcast, transfer"].median == 1.0
    assert ratios["4 receivers", "broadcast"].median == 1.0
    growth = ratios["4 receivers / 1 receiver", "broadcast, growth"]
    # Ours takes 2, 2 and 2.5 times as long; the bare one 4 times.
    assert (growth.min, growth.median, growth.max) == (0.5, 0.5, 0.625)
    intervals = {(i.mix, i.of): i for i in result.intervals}
    one = intervals["4 receivers", "broadcast"]
    assert one.mean == pytest.approx((1 + 1 + 0.8) / 3)
    assert one.low < one.mean <= one.high
    assert [c.compared for c in result.checksums] == [7, 28]
    assert BroadcastBenchmark.model_validate_json(result.model_dump_json()) == result


def test_what_was_compared_is_said():
    console = Console(file=io.StringIO(), width=160)
    show_more(benchmark(measured(2, [1.0, 2.0], [1.0, 1.0])), console)
    assert "14 weights of engines compared after 3 broadcasts" in console.file.getvalue()


def test_types_that_are_none_are_refused():
    assert types_of(["float32", "bfloat16"]) == ("bfloat16", "float32")
    with pytest.raises(UserError, match="'float8' is not a type of weights"):
        types_of(["float32", "float8"])


@pytest.mark.e2e
def test_the_bare_broadcast_is_timed_across_its_processes(tmp_path):
    with bare_broadcast(2, 1 << 20, tmp_path) as bare:
        seconds = [bare.turn() for _ in range(3)]
    assert min(seconds) > 0


@pytest.mark.e2e
@pytest.mark.slow
def test_the_short_form(tmp_path):
    file = tmp_path / "broadcast.json"
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", "bench", "broadcast", "--short", "--json", file],
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    result = BroadcastBenchmark.model_validate_json(file.read_text())
    assert {(r.mix, r.of) for r in result.ratios} == {
        ("1 receiver", "broadcast"),
        ("1 receiver", "broadcast, transfer"),
        ("2 receivers", "broadcast"),
        ("2 receivers", "broadcast, transfer"),
        ("2 receivers / 1 receiver", "broadcast, growth"),
    }
    for one in result.checksums:
        assert one.changed == one.weights > 0
        assert one.compared == one.weights * 3 * int(one.mix.split()[0])
    assert "all are those of the learner's export" in done.stdout
    assert done.stderr == ""
