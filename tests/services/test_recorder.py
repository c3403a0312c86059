"""What a step's summaries become in metrics.jsonl and on the metrics port."""

from __future__ import annotations

import socket
import urllib.request
from dataclasses import replace

import pytest
from made_steps import step_of

from contracts.config import MetricsConfig, RunConfig
from contracts.types import (
    GroupSummary,
    Objective,
    ObjectiveReport,
    Reason,
    UpdateReport,
)
from services.metrics import Metrics
from services.recorder import step_metrics, step_timing
from services.records import EvaluationRecord, StepTiming
from services.statistics import proportion

REPORT = UpdateReport(
    updates=1,
    learning_rate=1e-4,
    gradient_norm=0.5,
    tokens=12,
    seconds=0.1,
    objectives={Objective.SOLVE: ObjectiveReport(0.1, 1.0, 0.0, 0.0, 1e-7, 0.0, 0.7, 12, 4)},
)


def summary(objective: Objective, rewards: tuple[float, ...], said: str) -> GroupSummary:
    n = len(rewards)
    return GroupSummary(
        prompt_id=f"{objective}/{rewards}",
        task_id="t",
        template="t",
        objective=objective,
        label="yes",
        shown_correct=(True,),
        prompt_tokens=4,
        completion_tokens=(3,) * n,
        rewards=rewards,
        correct=tuple(r > 0 for r in rewards),
        extracted=(said,) * n,
        reasons=(Reason.OK,) * n,
        versions=(2,) * n,
    )


SUMMARIES = [
    summary(Objective.SOLVE, (0.0, 1.0), "4"),
    summary(Objective.SOLVE, (1.0, 1.0), "4"),
    summary(Objective.POINTWISE, (1.0, 1.0), "Yes"),
    summary(Objective.POINTWISE, (0.0, 1.0), "No"),
]


def test_a_step_is_counted_by_objective() -> None:
    metrics = step_metrics(step_of(SUMMARIES, REPORT, 1), version=3)
    assert metrics.groups == {Objective.SOLVE: 2, Objective.POINTWISE: 2}
    assert metrics.dropped == {Objective.SOLVE: 1, Objective.POINTWISE: 1}
    assert metrics.reward == {Objective.SOLVE: 0.75, Objective.POINTWISE: 0.75}
    assert metrics.yes_rate == 0.5
    assert metrics.completion_tokens == 24
    assert metrics.reasons == {Reason.OK: 8}
    assert metrics.update is not None
    assert metrics.update.objectives[Objective.SOLVE].gap == 1e-7


def test_a_step_without_signal_trains_nothing_and_says_so() -> None:
    nothing = UpdateReport(0, 1e-4, 0.0, 0, 0.0)
    metrics = step_metrics(step_of(SUMMARIES, nothing, 1), version=1)
    assert metrics.update is None


def test_groups_that_were_too_old_are_counted_apart() -> None:
    step = step_of(SUMMARIES, REPORT)
    step.stale.append(step.batches[0].groups[0])
    metrics = step_metrics(step, version=3)
    assert metrics.groups == {Objective.SOLVE: 1, Objective.POINTWISE: 2}
    assert metrics.stale == {Objective.SOLVE: 1}
    assert metrics.reward[Objective.SOLVE] == 1.0


def test_idle_shares_are_of_the_whole_step() -> None:
    step = step_of(SUMMARIES, REPORT)
    step.waited, step.queued = 0.5, 2
    timing = step_timing(step, {"update": 1.5}, seconds=2.0, tokens=24)
    assert timing.idle == {"learner": 0.25, "generators": 0.5}
    assert timing.phases == {"generate": 1.0, "update": 1.5}
    assert (timing.queued, timing.tokens_per_second) == (2, 12.0)


def test_two_updates_of_a_step_become_one_report() -> None:
    judge = UpdateReport(
        1, 9e-5, 0.9, 8, 0.2, {Objective.POINTWISE: ObjectiveReport(*[0.0] * 7, 8, 2)}
    )
    both = REPORT.followed_by(judge)
    assert (both.updates, both.learning_rate, both.gradient_norm) == (2, 9e-5, 0.9)
    assert both.tokens == 20
    assert set(both.objectives) == {Objective.SOLVE, Objective.POINTWISE}


def test_the_port_serves_what_was_recorded_on_loopback_only() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    metrics = step_metrics(step_of(SUMMARIES, REPORT, 7), version=3)
    score = EvaluationRecord(
        step=7, mode="sampled", tasks=4, scores={"policy_accuracy": proportion(3, 4)}
    )
    with Metrics(RunConfig(name="demo", metrics=MetricsConfig(port=port))) as served:
        served.step(
            metrics,
            StepTiming(step=7, seconds=2.0, phases={"generate": 1.5}, tokens_per_second=12.0),
        )
        served.step(metrics, StepTiming(step=7, seconds=2.0, tokens_per_second=12.0))
        served.evaluation(score)
        page = (
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
        )
    lines = page.splitlines()
    assert 'coevolve_step{run="demo"} 7.0' in lines
    assert 'coevolve_reward_mean{objective="solve",run="demo"} 0.75' in lines
    assert 'coevolve_step_phase_seconds{phase="generate",run="demo"} 1.5' in lines
    assert 'coevolve_completion_tokens_total{run="demo"} 48.0' in lines
    assert (
        'coevolve_held_out_ratio{mode="sampled",run="demo",score="policy_accuracy"} 0.75' in lines
    )
    with pytest.raises(OSError, match=r"refused|closed"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2)


def of(objective: Objective, shown: bool, said: tuple[str, ...], **more: object) -> GroupSummary:
    n = len(said)
    given = {"correct": (False,) * n, "reasons": (Reason.OK,) * n, **more}
    made = summary(objective, (0.0,) * n, "")
    return replace(made, shown_correct=(shown,), extracted=said, **given)  # type: ignore[arg-type]


def test_the_judge_is_rated_by_what_it_says_of_right_and_of_wrong_answers() -> None:
    judged = [
        of(Objective.POINTWISE, True, ("yes", "yes", "yes", "no")),
        of(Objective.POINTWISE, False, ("yes", "no", "no", "no")),
        # No verdict is no verdict: it does not count as a no.
        of(Objective.POINTWISE, False, ("perhaps", "no")),
    ]
    rates = step_metrics(step_of(judged, REPORT), version=1).judge
    assert rates.true_positive_rate == 0.75
    assert rates.false_positive_rate == 0.2
    # Says 0.75 of right ones (25 points off), 0.25 and 0 of wrong ones.
    assert rates.calibration_error == pytest.approx((0.25 + 0.25 + 0.0) / 3)


def test_a_step_without_judging_rates_no_judge() -> None:
    metrics = step_metrics(step_of(SUMMARIES[:2], REPORT), version=1)
    assert metrics.judge.true_positive_rate is None
    assert metrics.judge.calibration_error is None
    assert metrics.reflection.fix is None


def test_reflections_mend_keep_break_or_leave_unanswered() -> None:
    two, reasons = ("4", "4"), (Reason.OK, Reason.TRUNCATED)
    reflected = [
        of(Objective.REFLECT, False, two, correct=(True, False)),
        of(Objective.REFLECT, True, two, correct=(False, False), reasons=reasons),
        of(Objective.REFLECT, True, two, correct=(True, True)),
    ]
    rates = step_metrics(step_of(reflected, REPORT), version=1).reflection
    assert (rates.fix, rates.keep, rates.broke) == (0.5, 0.5, 0.25)


def test_advantages_are_those_of_the_learner_s_estimator() -> None:
    spread = step_metrics(step_of(SUMMARIES, REPORT), 1, "group_centred").advantage
    # Rewards 0 and 1, and 1 and 1: advantages -0.5, 0.5, 0, 0.
    assert spread[Objective.SOLVE] == pytest.approx(0.125**0.5)
    assert step_metrics(step_of(SUMMARIES, REPORT), 1).advantage[Objective.SOLVE] == pytest.approx(
        0.5**0.5
    )


def test_groups_without_signal_are_told_apart() -> None:
    wrong = summary(Objective.SOLVE, (0.0, 0.0), "4")
    metrics = step_metrics(step_of([*SUMMARIES, wrong], REPORT), version=1)
    assert metrics.dropped == {Objective.SOLVE: 2, Objective.POINTWISE: 1}
    assert metrics.all_right == {Objective.SOLVE: 1, Objective.POINTWISE: 1}
    assert metrics.all_wrong == {Objective.SOLVE: 1}
    assert metrics.prompt_tokens == 20
