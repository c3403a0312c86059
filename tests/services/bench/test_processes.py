"""Variants in processes of their own, real ones."""

import math
import os
import sys
import time

import pytest

from contracts.errors import DeadlineError
from services.bench import processes
from services.bench.processes import BenchError, Turns, worker

HERE = "tests.services.bench.test_processes"


def count(start: int, turns: Turns) -> None:
    """Values one after another, and 64 MiB that come and go with each."""
    held = bytearray(8 << 20)
    values = iter(range(start, start + 1000))

    def update() -> float:
        grown = bytearray(b"x" * (64 << 20))
        return float(next(values)) + 0 * (len(grown) + len(held))

    turns.drive(update)


def break_down(_argument: object, turns: Turns) -> None:
    """Fail in the second turn."""
    turns.begin()
    turns.end()
    turns.begin()
    raise RuntimeError("no more paper")


def say_threads(_argument: object, turns: Turns) -> None:
    """Tell the threads and the patience that were set."""
    sys.stdout.write("this goes to the log\n")
    passive = os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    turns.drive(lambda: float(os.environ["OMP_NUM_THREADS"]) if passive else math.nan)


def sleep(_argument: object, turns: Turns) -> None:
    """Take too long."""
    turns.drive(lambda: time.sleep(60) or 0.0)


def test_workers_take_turns_and_tell_their_memory(tmp_path):
    with (
        worker("one", f"{HERE}:count", 10, threads=1, log=tmp_path / "one") as one,
        worker("two", f"{HERE}:count", 20, threads=1, log=tmp_path / "two") as two,
    ):
        one.wait_ready()
        two.wait_ready()
        turns = [each.turn() for each in (one, two, one, two)]
        assert [turn.value for turn in turns] == [10, 20, 11, 21]
        assert all(turn.seconds > 0 for turn in turns)
        memory = one.end()
        # 64 MiB and their copy of an update, beyond what was there at the start.
        assert memory.peak - memory.ready > 60 << 20
        assert memory.ready > 8 << 20


def test_threads_are_settled_before_anything_is_imported(tmp_path, capfd):
    log = tmp_path / "log"
    with worker("w", f"{HERE}:say_threads", None, threads=3, log=log) as one:
        one.wait_ready()
        assert one.turn().value == 3
    assert "this goes to the log" in log.read_text()
    assert capfd.readouterr().out == ""


def test_a_worker_that_breaks_is_named_with_its_last_words(tmp_path):
    with worker("broken (tiny)", f"{HERE}:break_down", 0, threads=1, log=tmp_path / "l") as one:
        one.wait_ready()
        one.turn()
        with pytest.raises(BenchError, match=r"broken \(tiny\) ended with exit code 1") as caught:
            one.turn()
        assert "no more paper" in str(caught.value)


def test_a_worker_that_takes_too_long_is_named_and_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "TURN_SECONDS", 0.5)
    with worker("slow", f"{HERE}:sleep", 0, threads=1, log=tmp_path / "log") as one:
        one.wait_ready()
        with pytest.raises(DeadlineError, match="slow to make an update"):
            one.turn()
        child = one._process
        assert child.is_alive()
    assert child.exitcode == -9
