"""A study whose runs are jobs of a real Ray head; what the jobs run is a stand-in."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_head import Head, ray_head

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SECONDS = 300.0
STAND_IN = Path(__file__).with_name("study_stand_in.py")
STUDY = """\
name: jobs
base: demo
set: {{steps: 10, cache_dir: {folder}/models}}
seeds: 3
"""


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    tools = tmp_path_factory.mktemp("tools")
    (tools / "coevolve").write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
    (tools / "coevolve").chmod(0o755)
    with ray_head(path=str(tools)) as started:
        yield started


def study_run(head: Head, folder: Path, *words: str) -> subprocess.Popen[str]:
    file = folder / "jobs.yaml"
    file.write_text(STUDY.format(folder=folder))
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "services.cli", "study", "run", str(file)),
            *("--dir", str(folder / "studies"), "--address", head.address, *words),
        ],
        env=head.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_jobs_outlive_the_study_and_are_taken_up(head: Head, tmp_path: Path) -> None:
    root = tmp_path / "studies" / "jobs"
    started = root / "started.txt"
    process = study_run(head, tmp_path)
    end = time.monotonic() + SECONDS
    while not started.is_file():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "no job was started"
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=SECONDS)[0]
    assert process.returncode == 128 + signal.SIGTERM, said
    assert not (root / "runs" / "all--0").exists()

    process = study_run(head, tmp_path, "--jobs", "2")
    said = process.communicate(timeout=SECONDS)[0]
    assert process.returncode == 1, said
    assert "3 runs, 0 done, 3 to do" in said
    assert "all--0: done" in said
    assert "all--2: done" in said
    assert "error: out of luck" in said
    assert "1 of 3 runs failed" in said
    assert sorted(started.read_text().split()) == ["all--0", "all--1", "all--2"]
    assert list((root / "jobs").iterdir()) == []
    assert "2 of 3 runs" in (root / "report.html").read_text()
