"""What a study measures: each figure by name, read out of a run folder.

A score is a share of 0..1 on held-out tasks, read at the start, at the end and wherever it was
evaluated in between. A figure is one number a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from services.records import EvaluationRecord, StepMetrics, StepTiming
from services.run_folder import Run

When = Literal["start", "between", "end", "run"]
"""Of a score: evaluated before the first step, in between, after the last. Else: of the run."""

PHASES = ("generate", "grade", "recycle", "update", "broadcast", "check", "checkpoint", "evaluate")
"""Phases of a step, as ``timing.jsonl`` has them."""

LAST_SHARE = 0.1
"""Figures of training are means over this share of the steps, the last ones."""


@dataclass(frozen=True, slots=True)
class Value:
    """A measured value. ``step``: steps done by then."""

    measure: str
    when: When
    step: int
    value: float


@dataclass(frozen=True, slots=True)
class Measure:
    """Something to measure. ``better``: which way is better, if any.

    ``unit``: ``share`` for 0..1 and ``difference`` for a difference of two such, both shown as per
    cent; empty for a number without one.
    """

    name: str
    title: str
    meaning: str
    kind: Literal["score", "figure"]
    unit: str
    better: Literal["higher", "lower", "neither"]
    read: Callable[[Run], Iterator[tuple[When, int, float | None]]]
    chance: float | None = None

    def values(self, run: Run) -> list[Value]:
        """What ``run`` has of it; what was not measured is left out."""
        return [
            Value(self.name, when, step, value)
            for when, step, value in self.read(run)
            if value is not None and math.isfinite(value)
        ]


def _read_score(
    find: Callable[[EvaluationRecord], float | None], mode: str
) -> Callable[[Run], Iterator[tuple[When, int, float | None]]]:
    def read(run: Run) -> Iterator[tuple[When, int, float | None]]:
        ours = [evaluation for evaluation in run.evaluations if evaluation.mode == mode]
        over = run.summary is not None and run.summary.status == "finished"
        for place, evaluation in enumerate(ours):
            last = over and place == len(ours) - 1 and evaluation.step == len(run.metrics)
            when: When = "start" if evaluation.step == 0 else "end" if last else "between"
            yield when, evaluation.step, find(evaluation)

    return read


def _score(
    name: str,
    title: str,
    meaning: str,
    field: str,
    *,
    chance: float | None = None,
    better: Literal["higher", "neither"] = "higher",
) -> list[Measure]:
    """A held-out score, sampled and greedy."""

    def find(evaluation: EvaluationRecord) -> float | None:
        score = evaluation.scores.get(field)
        return score.value if score else None

    return [
        Measure(
            name=f"{name}{suffix}",
            title=f"{title}{words}",
            meaning=meaning,
            kind="score",
            unit="share",
            better=better,
            read=_read_score(find, mode),
            chance=chance,
        )
        for suffix, words, mode in (("", "", "sampled"), ("_greedy", ", greedily", "greedy"))
    ]


def _judge(
    name: str,
    title: str,
    meaning: str,
    find: Callable[[EvaluationRecord], float | None],
    *,
    better: Literal["higher", "lower"],
    chance: float | None = None,
    unit: str = "share",
) -> Measure:
    read = _read_score(find, "sampled")
    return Measure(name, title, meaning, "score", unit, better, read, chance)


def _own_balanced(evaluation: EvaluationRecord) -> float | None:
    own = evaluation.judge.get("own")
    return own.balanced_accuracy.value if own else None


def _calibration(evaluation: EvaluationRecord) -> float | None:
    fixed = evaluation.judge.get("fixed")
    return fixed.calibration_error if fixed else None


def _reflecting(evaluation: EvaluationRecord) -> float | None:
    scores = evaluation.scores
    fixed, kept = scores["reflection_fix_rate"].value, scores["reflection_keep_rate"].value
    return None if fixed is None or kept is None else fixed - (1 - kept)


def _consistency(evaluation: EvaluationRecord) -> float | None:
    fixed = evaluation.judge.get("fixed")
    return fixed.pairwise_consistency.value if fixed else None


def _figure(  # noqa: PLR0917 (a line of a table)
    name: str,
    title: str,
    meaning: str,
    unit: str,
    read: Callable[[Run], float | None],
    better: Literal["higher", "lower", "neither"] = "neither",
) -> Measure:
    def of_run(run: Run) -> Iterator[tuple[When, int, float | None]]:
        if run.metrics:
            yield "run", len(run.metrics), read(run)

    return Measure(name, title, meaning, "figure", unit, better, of_run)


def _steady(run: Run) -> Sequence[StepTiming]:
    """The steps without the first, which warms up, if there are others."""
    return run.timing[1:] or run.timing


def _speed(tokens: Callable[[StepMetrics], int]) -> Callable[[Run], float | None]:
    def read(run: Run) -> float | None:
        timing = _steady(run)
        steps = {t.step for t in timing}
        seconds = sum(t.seconds for t in timing)
        done = sum(tokens(m) for m in run.metrics if m.step in steps)
        return done / seconds if seconds else None

    return read


def _mean_seconds(run: Run) -> float | None:
    timing = _steady(run)
    return fmean(t.seconds for t in timing) if timing else None


def _phase(name: str) -> Callable[[Run], float | None]:
    def read(run: Run) -> float | None:
        timing = _steady(run)
        return fmean(t.phases.get(name, 0.0) for t in timing) if timing else None

    return read


def _idle(who: Literal["learner", "generators"]) -> Callable[[Run], float | None]:
    def read(run: Run) -> float | None:
        return _mean([t.idle.get(who) for t in _steady(run)])

    return read


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return fmean(known) if known else None


def _late(find: Callable[[StepMetrics], float | None]) -> Callable[[Run], float | None]:
    """The mean of a step's figure over the last steps."""

    def read(run: Run) -> float | None:
        return _mean(
            [find(m) for m in run.metrics[-max(1, round(LAST_SHARE * len(run.metrics))) :]]
        )

    return read


def _trained(metrics: StepMetrics) -> int:
    return metrics.update.tokens if metrics.update else 0


def _entropy(metrics: StepMetrics) -> float | None:
    if metrics.update is None:
        return None
    reports = metrics.update.objectives.values()
    tokens = sum(report.tokens for report in reports)
    return sum(r.entropy * r.tokens for r in reports) / tokens if tokens else None


def _dropped(metrics: StepMetrics) -> float | None:
    groups = sum(metrics.groups.values())
    return sum(metrics.dropped.values()) / groups if groups else None


_ALL: list[Measure] = [
    *_score("solving", "Solving", "share of held-out tasks answered right", "policy_accuracy"),
    *_score("judging", "Judging one answer", "balanced over right and wrong answers of the initial "
            "model", "judge_accuracy", chance=0.5),
    *_score("choosing", "Judging two answers", "share of right choices of one answer of two",
            "pairwise_accuracy", chance=0.5),
    *_score("mending", "Mending wrong answers", "shown a wrong answer, ends with the right one",
            "reflection_fix_rate"),
    *_score("keeping", "Keeping right answers", "shown a right answer, ends with it",
            "reflection_keep_rate"),
    _judge("reflecting", "Reflecting", "share of wrong answers mended, less the share of right "
           "ones broken", _reflecting, better="higher", chance=0.0, unit="difference"),
    *_score("yes_rate", "Share of “yes”", "among the verdicts; half of the cases are right",
            "judge_yes_rate", chance=0.5, better="neither"),
    *_score("judging_right", "Right answers called right", "true-positive rate of the judge",
            "judge_true_positive_rate"),
    *_score("judging_wrong", "Wrong answers called wrong", "true-negative rate of the judge",
            "judge_true_negative_rate"),
    _judge("judging_own", "Judging its own answers", "balanced accuracy on what the model itself "
           "has just answered", _own_balanced, better="higher", chance=0.5),
    _judge("calibration", "Calibration error", "distance between share of yes and share of right",
           _calibration, better="lower"),
    _judge("consistency", "Same choice in both orders", "share of pairs", _consistency,
           better="higher"),
    _figure("steps", "Steps", "steps done", "steps", lambda run: len(run.metrics)),
    _figure("sampled_tokens", "Tokens sampled", "completion tokens of all steps", "tokens",
            lambda run: sum(m.completion_tokens for m in run.metrics)),
    _figure("trained_tokens", "Tokens trained on", "completion tokens that the learner trained on",
            "tokens", lambda run: sum(map(_trained, run.metrics))),
    _figure("seconds", "Time", "seconds of all steps, without start and evaluations at both ends",
            "s", lambda run: sum(t.seconds for t in run.timing), "lower"),
    _figure("tokens_per_second", "Tokens per second", "completion tokens over the time of whole "
            "steps, the first left out", "tokens/s", _speed(lambda m: m.completion_tokens),
            "higher"),
    _figure("trained_per_second", "Tokens trained on per second", "over the time of whole steps, "
            "the first left out", "tokens/s", _speed(_trained), "higher"),
    _figure("step_seconds", "Time of a step", "mean over the steps, the first left out", "s",
            _mean_seconds, "lower"),
    *(_figure(f"seconds_{phase}", f"Time of {phase}", "a step, mean, the first left out", "s",
              _phase(phase), "lower") for phase in PHASES),
    _figure("idle_learner", "Learner idle", "share of a step in which it had nothing to do",
            "share", _idle("learner"), "lower"),
    _figure("idle_generators", "Generators idle", "share of a step in which they had nothing to do",
            "share", _idle("generators"), "lower"),
    _figure("reward", "Reward of solving", "in training, mean of the last tenth of the steps", "",
            _late(lambda m: m.reward.get("solve")), "higher"),  # type: ignore[call-overload]
    _figure("entropy", "Entropy", "in training, mean of the last tenth of the steps", "nats/token",
            _late(_entropy)),
    _figure("yes_rate_training", "Share of “yes” in training", "mean of the last tenth of the "
            "steps", "share", _late(lambda m: m.yes_rate)),
    _figure("gradient_norm", "Gradient norm", "before clipping, mean of the last tenth of the "
            "steps", "", _late(lambda m: m.update.gradient_norm if m.update else None)),
    _figure("gap", "Gap between sampler and learner", "mean |difference of log p| of solving, last "
            "tenth of the steps", "nats",
            _late(lambda m: _mean([r.gap for r in m.update.objectives.values()])
                  if m.update else None), "lower"),
    _figure("no_signal", "Groups without signal", "share of groups, mean of the last tenth of the "
            "steps", "share", _late(_dropped), "lower"),
]  # fmt: skip

MEASURES: dict[str, Measure] = {measure.name: measure for measure in _ALL}
"""All that can be measured, by name, in the order it is shown."""

DEFAULT_MEASURES = (
    "solving",
    "judging",
    "choosing",
    "mending",
    "keeping",
    "yes_rate",
    "steps",
    "sampled_tokens",
    "trained_tokens",
    "seconds",
    "tokens_per_second",
    "step_seconds",
    "seconds_generate",
    "seconds_grade",
    "seconds_recycle",
    "seconds_update",
    "seconds_broadcast",
    "idle_learner",
    "idle_generators",
)
