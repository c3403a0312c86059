"""A study of real runs that is killed in the middle, twice, and repeats nothing that is done."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from services.run_folder import read_run

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 900.0
STUDY = """\
name: killed
base: demo
set:
  steps: 25
  tasks_per_step: 4
  cache_dir: {cache}
  sampling: {{completions: 4}}
  recycle: {{pointwise: 4, pairwise: 2, reflect: 2}}
  generators: {{kv_cache_gib: 0.25}}
  tasks: {{held_out: 64}}
  evaluation: {{tasks: 8, tasks_between: 8, candidates: 2, every: 0, verdicts: 1, greedy: false}}
  checkpoints: {{every: 10, keep: 1}}
  learner: {{warmup_updates: 1, updates_per_step: 1}}
  model:
    warm_start: {{clean_steps: 250, sloppy_steps: 30}}
arms:
  policy-only: {{set: {{recycle.enabled: false}}}}
  spark: {{}}
  smaller: {{set: {{tasks_per_step: 3}}}}
seeds: 1
baseline: policy-only
"""


def study_run(file: Path, folder: Path) -> subprocess.Popen[str]:
    words = ["study", "run", str(file), "--dir", str(folder)]
    return subprocess.Popen(
        [sys.executable, "-m", "services.cli", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_until(what: str, holds: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + DEADLINE
    while not holds():
        assert process.poll() is None, process.communicate()[0]
        if time.monotonic() > end:
            process.terminate()
            raise AssertionError(f"gave up on {what}\n{process.communicate(timeout=300)[0]}")
        time.sleep(0.2)


def steps(run: Path) -> int:
    file = run / "metrics.jsonl"
    return len(file.read_bytes().splitlines()) if file.is_file() else 0


def finished(run: Path) -> bool:
    try:
        return bool(json.loads((run / "summary.json").read_text())["status"] == "finished")
    except (OSError, ValueError):
        return False


def files_of(run: Path) -> dict[str, int]:
    """When each file of a run was last written."""
    return {str(file): file.stat().st_mtime_ns for file in sorted(run.rglob("*.json*"))}


def test_a_killed_study_repeats_no_finished_run(tmp_path: Path) -> None:
    file, folder = tmp_path / "killed.yaml", tmp_path / "studies"
    file.write_text(STUDY.format(cache=ROOT / ".cache" / "models"))
    runs = folder / "killed" / "runs"
    first, second, third = (runs / f"{arm}--0" for arm in ("policy-only", "spark", "smaller"))

    # kill -9 of the study in its second run, which then saves itself and ends by itself.
    process = study_run(file, folder)
    wait_until("the second run", lambda: steps(second) >= 2, process)
    (child,) = psutil.Process(process.pid).children()
    process.kill()
    process.communicate(timeout=60)
    assert finished(first)
    done = files_of(first)

    # SIGTERM to the next one, in its third run.
    process = study_run(file, folder)
    wait_until("the third run", lambda: steps(third) >= 2, process)
    assert not child.is_running()
    assert finished(second)
    done |= files_of(second)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=DEADLINE)[0]
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "3 runs, 1 done, 2 to do" in said
    stopped = read_run(third)
    assert stopped.summary is not None
    assert stopped.summary.status == "interrupted"
    assert (folder / "killed" / "report.html").is_file()

    # And to the end.
    process = study_run(file, folder)
    said = process.communicate(timeout=DEADLINE)[0]
    assert process.returncode == 0, said
    assert "3 runs, 2 done, 1 to do" in said
    assert files_of(first) | files_of(second) == done
    for run in (first, second, third):
        assert [m.step for m in read_run(run).metrics] == list(range(1, 26))
    log = (folder / "killed" / "logs" / "smaller--0.txt").read_text()
    assert f"going on after step {stopped.summary.steps}" in log
    assert "going on after step" in (folder / "killed" / "logs" / "spark--0.txt").read_text()
    result = json.loads((folder / "killed" / "results" / "spark.json").read_text())
    assert result["seeds"] == [0]
    assert (folder / "killed" / "report.html").stat().st_size > 20_000
