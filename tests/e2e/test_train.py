"""The whole loop on real parts: real vLLM, real ZeRO-3, real Ray, the tiny model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from small_runs import tiny_run, wait_for_lines

from contracts.config import RunConfig
from contracts.types import Objective
from learner.checkpoint import newest
from services.audit import audit
from services.run_folder import Run, read_run
from services.training import train

pytestmark = pytest.mark.e2e

STEPS = 3


def config(folder: Path, name: str, **changes: object) -> RunConfig:
    return tiny_run(folder, name, **{"steps": STEPS, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def first(folder: Path) -> Path:
    return train(config(folder, "first"))


def test_a_run_leaves_everything_it_promises(first: Path) -> None:
    run = read_run(first)
    assert run.notes == ()
    assert [m.step for m in run.metrics] == [1, 2, 3]
    assert [m.version for m in run.metrics] == [1, 2, 3]
    assert run.summary is not None
    assert run.summary.status == "finished"
    assert run.summary.before is not None
    assert run.summary.after is not None
    assert {e.when for e in run.examples} == {"before", "after"}
    assert [(e.step, e.mode) for e in run.evaluations] == [
        (0, "sampled"),
        (0, "greedy"),
        (2, "sampled"),
        (3, "sampled"),
        (3, "greedy"),
    ]
    assert (first / "report.html").stat().st_size > 10_000
    assert (first / "model" / "config.json").is_file()


def test_recycled_prompts_are_answered_in_the_step_after(first: Path) -> None:
    metrics = read_run(first).metrics
    assert set(metrics[0].groups) == {"solve"}
    for before, after in pairwise(metrics):
        made = {kind: sum(labels.values()) for kind, labels in before.recycled}
        assert sum(made.values()) > 0
        for kind, count in made.items():
            assert after.groups.get(kind, 0) == count


def test_the_policy_ratio_is_one_at_the_first_update_of_a_step(first: Path) -> None:
    """Truth 10: on-policy, in float32, sampler and learner agree."""
    for metrics in read_run(first).metrics:
        assert metrics.update is not None
        for report in metrics.update.objectives.values():
            assert report.ratio == pytest.approx(1.0, abs=1e-4)
            assert abs(report.kl_sampler) < 1e-6
            assert report.gap < 1e-4
            assert report.clip_fraction == 0.0


def test_the_learning_rate_of_every_step_is_the_schedule_s(first: Path) -> None:
    """Truth 11: one warm-up update, then linear down to final_ratio at the last update."""
    peak, final = 3e-4, 0.3
    rates = [m.update.learning_rate for m in read_run(first).metrics if m.update is not None]
    assert rates == pytest.approx([peak, peak, final * peak], rel=1e-9)


def test_same_seed_and_configuration_give_the_same_metrics_line_for_line(
    folder: Path, first: Path
) -> None:
    """Truth 8."""
    second = train(config(folder, "second"))
    for name in ("metrics.jsonl", "evaluations.jsonl", "rollouts.jsonl", "examples.jsonl"):
        assert (second / name).read_text() == (first / name).read_text(), name


@pytest.mark.slow
def test_measuring_gradients_by_objective_changes_nothing_else(folder: Path, first: Path) -> None:
    """Truth 8: line for line the same without it, but for what was measured in the second step."""
    without = train(config(folder, "unmeasured", metrics={"gradient_norms_every": 0}))
    for name in ("evaluations.jsonl", "rollouts.jsonl", "examples.jsonl"):
        assert (without / name).read_text() == (first / name).read_text(), name
    measured, plain = read_run(first).metrics, read_run(without).metrics
    assert [bool(m.update and m.update.gradient_norms) for m in measured] == [False, True, False]
    for one, other in zip(measured, plain, strict=True):
        assert one.update is not None
        bare = one.update.model_copy(update={"gradient_norms": {}})
        assert one.model_copy(update={"update": bare}).line() == other.line()


def test_two_generators_and_two_ranks_agree_at_every_version(folder: Path) -> None:
    """Truth 6: the controller compares checksums of both engines at every version."""
    run = read_run(
        train(
            config(
                folder,
                "two-by-two",
                generators={"count": 2, "kv_cache_gib": 0.25},
                learner={"ranks": 2, "threads": 1, "warmup_updates": 1},
            )
        )
    )
    assert run.summary is not None
    assert run.summary.status == "finished"
    assert [m.version for m in run.metrics] == [1, 2, 3]


@pytest.mark.parametrize(
    "when", ["at_once", pytest.param("between_batches", marks=pytest.mark.slow)]
)
def test_a_run_ahead_of_the_learner_keeps_its_truths(folder: Path, when: str) -> None:
    """Truths 1, 5, 6 and 7 with weights that change while answers are being sampled."""
    path = train(
        config(
            folder,
            f"ahead-{when}",
            max_staleness=1,
            steps=5,
            generators={"count": 2, "kv_cache_gib": 0.25},
            transfer={"when": when, "checksum_every": 1, "probe_every": 1},
            evaluation={"tasks": 8, "every": 0, "greedy": False},
        )
    )
    run = read_run(path)
    assert [m.version for m in run.metrics] == [1, 2, 3, 4, 5]
    # Sampled by weights one update behind, and never by older ones.
    assert max(m.staleness.max for m in run.metrics) == 1
    assert audit(path).faults == []


def test_the_paper_s_order_makes_two_versions_a_step(folder: Path, first: Path) -> None:
    # At temperature 1 such a model is so seldom right that a step may have nothing to judge.
    sampling = {"completions": 4, "temperature": 0.6}
    changes = {"schedule": "sequential", "steps": 2, "seed": 1, "sampling": sampling}
    run = read_run(train(config(folder, "sequential", **changes)))
    assert [m.version for m in run.metrics] == [2, 4]
    assert all(len(m.groups) > 1 for m in run.metrics)
    # Another seed: the same tasks in the same order, and other answers.
    asked, answered = zip(*first_answers(run), strict=True)
    asked_before, answered_before = zip(*first_answers(read_run(first)), strict=True)
    assert asked == asked_before
    assert answered != answered_before


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_and_leaves_no_process(
    folder: Path, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    name = f"stopped-by-{sent.name.lower()}"
    path = tmp_path / "run.yaml"
    path.write_text(config(folder, name, steps=1000).model_dump_json())
    marked = {**os.environ, "COEVOLVE_TEST_MARK": name}
    command = [sys.executable, "-m", "services.cli", "train", str(path)]
    process = subprocess.Popen(
        command, env=marked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wait_for_lines(folder / name / "metrics.jsonl", 2, process)
    process.send_signal(sent)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code, output
    run = read_run(folder / name)
    assert run.summary is not None
    assert run.summary.status == "interrupted"
    assert run.summary.steps == len(run.metrics) >= 2
    # It was saved before it ended, whatever the step.
    checkpoint = newest(folder / name / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.step == len(run.metrics)
    assert left_behind(name) == []


def first_answers(run: Run) -> list[tuple[str, str]]:
    """Prompt and completion of the solve rollouts of the first step that were written down."""
    return [
        (rollout.prompt, rollout.completion)
        for rollout in run.rollouts
        if rollout.step == 1 and rollout.objective is Objective.SOLVE
    ]


def left_behind(mark: str) -> list[str]:
    """Processes that inherited the mark of the run, a moment after it ended."""
    time.sleep(1)
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("COEVOLVE_TEST_MARK") == mark:
                found.append(json.dumps([process.pid, process.name(), process.cmdline()]))
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found
