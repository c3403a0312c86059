"""Figures of a step out of the summaries of its groups: means, judge, reflection, advantages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from contracts.grammar import NO, YES, verdict_of
from contracts.types import GroupSummary, Objective, Reason
from learner.advantages import advantages_of
from services.records import JudgeRates, ReflectionRates
from services.statistics import calibration


def means(
    summaries: Sequence[GroupSummary], values: Callable[[GroupSummary], Sequence[float]]
) -> dict[Objective, float]:
    """The mean over all completions of each objective that has any."""
    found = {}
    for objective in Objective:
        ours = [v for s in summaries if s.objective is objective for v in values(s)]
        if ours:
            found[objective] = sum(ours) / len(ours)
    return found


def advantage_spread(summaries: Sequence[GroupSummary], estimator: str) -> dict[Objective, float]:
    """Standard deviation of the advantages of each objective, by the learner's estimator."""
    found = {}
    for objective in Objective:
        ours = [s.rewards for s in summaries if s.objective is objective]
        if ours:
            given = [advantages_of(np.array(rewards, np.float32), estimator) for rewards in ours]
            found[objective] = float(np.concatenate(given).std())
    return found


def judge_rates(summaries: Sequence[GroupSummary]) -> JudgeRates:
    """How the judge of single answers did. Completions without a verdict do not count."""
    judged = [s for s in summaries if s.objective is Objective.POINTWISE]
    said = [(s.shown_correct[0], _yes(s)) for s in judged]
    counted = [(right, yes) for right, yes in said if yes]
    found = calibration([sum(yes) / len(yes) for _, yes in counted], [r for r, _ in counted])
    return JudgeRates(
        true_positive_rate=_share([y for right, yes in said if right for y in yes]),
        false_positive_rate=_share([y for right, yes in said if not right for y in yes]),
        calibration_error=found.error,
    )


def reflection_rates(summaries: Sequence[GroupSummary]) -> ReflectionRates:
    """What became of the answers that reflections were shown."""
    shown: dict[bool, list[GroupSummary]] = {True: [], False: []}
    for summary in summaries:
        if summary.objective is Objective.REFLECT:
            shown[summary.shown_correct[0]].append(summary)
    broke = [
        not right and reason is Reason.OK
        for s in shown[True]
        for right, reason in zip(s.correct, s.reasons, strict=True)
    ]
    return ReflectionRates(
        fix=_share([right for s in shown[False] for right in s.correct]),
        keep=_share([right for s in shown[True] for right in s.correct]),
        broke=_share(broke),
    )


def _yes(summary: GroupSummary) -> list[bool]:
    """For each completion with a verdict: whether it said yes."""
    read = [verdict_of(answer) for answer in summary.extracted if answer is not None]
    return [verdict == YES for verdict in read if verdict in (YES, NO)]


def _share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None
