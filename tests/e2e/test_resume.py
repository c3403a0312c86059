"""A run that is killed goes on as if it had not been (truth 8), on as many ranks as one likes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_runs import tiny_run, wait_for_lines

from contracts.config import RunConfig
from services.run_folder import Run, read_run
from services.training import train

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STEPS = 4
FILES = ("metrics.jsonl", "evaluations.jsonl", "rollouts.jsonl", "examples.jsonl")


@dataclass(frozen=True)
class Pair:
    """The same run twice: one left alone, one killed after step 3 with a checkpoint of step 2."""

    whole: Path
    killed: Path
    config: RunConfig


def config(runs: Path, name: str, ranks: int) -> RunConfig:
    return tiny_run(
        runs,
        name,
        steps=STEPS,
        learner={"ranks": ranks, "threads": 1, "warmup_updates": 1, "updates_per_step": 2},
        evaluation={"tasks": 16, "tasks_between": 8, "candidates": 4, "every": 2, "greedy": False},
        checkpoints={"every": 2},
        sampling={"completions": 4, "refill": 1.5},
    )


def command(config: RunConfig, *more: str) -> list[str]:
    path = config.runs_dir / f"{config.name}.yaml"
    path.write_text(config.model_dump_json())
    return [sys.executable, "-m", "services.cli", "train", str(path), *more]


def killed(config: RunConfig, lines: int) -> Path:
    process = subprocess.Popen(
        command(config), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wait_for_lines(config.folder / "metrics.jsonl", lines, process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    return config.folder


def resumed(config: RunConfig, *overrides: str) -> str:
    done = subprocess.run(
        command(config, "--resume", *overrides),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module", params=[1, 2], ids=["one rank", "two ranks"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    runs = tmp_path_factory.mktemp(f"runs-{request.param}")
    whole = train(config(runs, "whole", request.param))
    settings = config(runs, "killed", request.param)
    return Pair(whole, killed(settings, 3), settings)


def moved(pair: Pair, folder: Path) -> RunConfig:
    """The killed run somewhere else, so that it can be resumed more than once."""
    shutil.copytree(pair.killed, folder / pair.config.name, symlinks=True)
    return pair.config.model_copy(update={"runs_dir": folder})


def test_a_killed_and_resumed_run_equals_one_that_was_left_alone(
    pair: Pair, tmp_path: Path
) -> None:
    settings = moved(pair, tmp_path)
    said = resumed(settings)
    assert "going on after step 2" in said
    for name in FILES:
        assert (settings.folder / name).read_text() == (pair.whole / name).read_text(), name
    run = read_run(settings.folder)
    assert run.summary is not None
    assert run.summary.status == "finished"
    # Once more: it is finished, and nothing is done again.
    assert "step 4/4" not in resumed(settings)
    assert (settings.folder / FILES[0]).read_text() == (pair.whole / FILES[0]).read_text()


def test_it_goes_on_with_another_number_of_ranks(pair: Pair, tmp_path: Path) -> None:
    """Engines are compared with the learner at every version, so that weights are right too."""
    settings = moved(pair, tmp_path)
    newest = settings.checkpoints_folder / "step-00000002" / "extra" / "run.json"
    assert newest.is_file()
    resumed(settings, f"learner.ranks={3 - settings.learner.ranks}")
    run, whole = read_run(settings.folder), read_run(pair.whole)
    assert [m.step for m in run.metrics] == [1, 2, 3, 4]
    assert rates(run) == rates(whole)
    update = run.metrics[2].update
    assert update is not None
    for report in update.objectives.values():
        assert report.gap < 1e-4


def rates(run: Run) -> list[float | None]:
    return [m.update and m.update.learning_rate for m in run.metrics]
