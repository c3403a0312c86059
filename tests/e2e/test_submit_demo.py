"""The demonstration itself, as a job on a real Ray head with token authentication, both ways."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_head import BIN, Head, ray_head

from services.audit import audit
from services.run_folder import Run, read_run

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SECONDS = float(os.environ.get("COEVOLVE_DEMO_SECONDS", "2400"))
"""The demo takes five minutes on two cores that do nothing else."""
STEPS = 100
FEW = 5


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with ray_head() as started:
        yield started


def job(head: Head, *words: str) -> subprocess.CompletedProcess[str]:
    """A client that has the token."""
    environment = {k: v for k, v in head.environment.items() if k != "RAY_ADDRESS"}
    return subprocess.run(
        words,
        env=environment | {"RAY_API_SERVER_ADDRESS": head.address},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def places(head: Head) -> list[str]:
    """Where a job of this machine leaves its run, and finds the model if it was built before."""
    return [f"runs_dir={head.folder / 'runs'}", f"cache_dir={Path('.cache/models').resolve()}"]


def files_with(secret: str, folder: Path) -> Iterator[Path]:
    """Files of a run that a secret stands in: configuration, logs, metrics, reports, all of it."""
    for parent, _, names in os.walk(folder, followlinks=True):
        for path in (Path(parent, name) for name in names):
            if path.is_file() and secret.encode() in path.read_bytes():
                yield path


def finished(head: Head, name: str, steps: int) -> Run:
    """The run of that name: all its steps, each task once, with scores before and after."""
    folder = head.folder / "runs" / name
    run = read_run(folder)
    assert [step.step for step in run.metrics] == list(range(1, steps + 1))
    assert run.summary is not None
    assert run.summary.status == "finished"
    assert (folder / "model" / "model.safetensors").is_file()
    assert list(files_with(head.environment["RAY_AUTH_TOKEN"], folder)) == []
    assert audit(folder).faults == []
    return run


@pytest.mark.results
def test_coevolve_submit_runs_the_demo_to_its_end(head: Head) -> None:
    """The preset as it is: it learns all that it is there to show."""
    address = ("--address", head.address)
    done = job(
        head, sys.executable, "-m", "services.cli", "submit", "demo", *places(head), *address
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"step {STEPS}/{STEPS}" in done.stdout
    assert head.environment["RAY_AUTH_TOKEN"] not in done.stdout + done.stderr
    run = finished(head, "demo", STEPS)
    assert run.summary is not None
    before, after = run.summary.before, run.summary.after
    assert before is not None
    assert after is not None
    for name in ("policy_accuracy", "judge_accuracy", "pairwise_accuracy", "reflection_fix_rate"):
        low, high = after[name].low, before[name].high
        assert low is not None
        assert high is not None
        assert low > high, name


def test_ray_job_submit_runs_the_demo_too(head: Head) -> None:
    """The line of docs/cluster.md, with fewer steps and tasks."""
    less = [f"steps={FEW}", "evaluation.tasks=64", "evaluation.tasks_between=16"]
    words = ["coevolve", "train", "demo", "--resume", "name=smoke", *places(head), *less]
    options = ["--address", head.address, "--submission-id", "smoke-1"]
    done = job(head, str(BIN / "ray"), "job", "submit", *options, "--", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Job 'smoke-1' succeeded" in done.stdout + done.stderr
    finished(head, "smoke", FEW)
