"""Processes of a run are killed and frozen at random moments; it goes on by itself."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import chaos
import pytest
from small_runs import tiny_run

from services.audit import audit
from services.run_folder import read_run

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1500)]

STEPS = 30
DEADLINE = 1200.0
DEEDS = tuple((kind, how) for kind in chaos.KINDS for how in chaos.SIGNALS)


def test_a_run_survives_twelve_faults(tmp_path: Path) -> None:
    config = tiny_run(
        tmp_path,
        "chaos",
        steps=STEPS,
        learner={"threads": 1, "warmup_updates": 1},
        generators={"count": 2, "kv_cache_gib": 0.25},
        verifiers={"deadline": 1.0},
        # Graded in processes, and not at once: so that there are some to be broken.
        tasks={"held_out": 16, "verifier": "graders_of_tests:unhurried"},
        evaluation={"tasks": 8, "every": 0, "greedy": False},
        checkpoints={"every": 3},
        transfer={"checksum_every": 1, "deadline": 20},
        deadlines={"health": 6},
        faults={"restarts": 20, "resumes": 10},
    )
    path = tmp_path / "run.yaml"
    path.write_text(config.model_dump_json())
    tests = str(Path(__file__).parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, str(Path.cwd())])}
    with (tmp_path / "output").open("w") as output:
        run = subprocess.Popen(
            [sys.executable, "-m", "services.cli", "train", str(path)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            done = break_everything(run, config.folder / "metrics.jsonl")
            assert run.wait(DEADLINE) == 0, (tmp_path / "output").read_text()
        finally:
            run.kill()
    assert len(done) == len(DEEDS) >= 12
    result = read_run(config.folder)
    assert [step.step for step in result.metrics] == list(range(1, STEPS + 1))
    assert audit(config.folder).faults == []


def break_everything(run: subprocess.Popen[bytes], metrics: Path) -> list[chaos.Deed]:
    """Do all deeds in a random order, a few steps apart."""
    draw = random.Random(0)
    deeds = draw.sample(DEEDS, len(DEEDS))
    done: list[chaos.Deed] = []
    for number, (kind, how) in enumerate(deeds):
        wait_for_step(run, metrics, 1 + number * (STEPS - 4) // len(deeds))
        time.sleep(draw.uniform(0.0, 0.5))
        done.append(chaos.do(run.pid, kind, how, draw))
    return done


def wait_for_step(run: subprocess.Popen[bytes], metrics: Path, step: int) -> None:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        assert run.poll() is None, "the run ended before its time"
        if metrics.is_file() and len(metrics.read_text().splitlines()) >= step:
            return
        time.sleep(0.05)
    raise AssertionError(f"step {step} was not reached within {DEADLINE} s")
