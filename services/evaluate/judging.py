"""How well a model judges: one record out of graded judge and reflection prompts.

Used by the evaluations of a run and by ``coevolve eval``. Everything is counted from summaries of
groups, of one completion each or of several: repeated verdicts on one candidate, whose share of
yes is then the model's confidence that it is right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from contracts.grammar import FIRST, NO, SECOND, YES, verdict_of
from contracts.types import Group, GroupSummary, Objective
from recycler.outcomes import Outcome, outcome_of
from services.records import JudgeRecord, Reliability
from services.statistics import Score, calibration, mean_by_task, mean_of_two, proportion

FEWEST_VERDICTS = 2
"""Verdicts on each candidate from which calibration is measured: one alone is yes or no."""

Trials = list[list[bool]]
"""Outcomes by candidate, or by task: those of one are not independent of each other."""


def judge_record(summaries: Iterable[GroupSummary]) -> JudgeRecord:
    """Everything that ``summaries`` say of judging; prompts of other objectives are left out."""
    by_objective: dict[Objective, list[GroupSummary]] = defaultdict(list)
    for summary in summaries:
        by_objective[summary.objective].append(summary)
    record = _pointwise(by_objective[Objective.POINTWISE])
    changes = _pairwise(by_objective[Objective.PAIRWISE])
    changes |= _reflection(by_objective[Objective.REFLECT])
    return record.model_copy(update=changes)


def rate(trials: Trials) -> Score:
    """Share of hits; where some have several trials, the interval is that of a bootstrap."""
    trials = [each for each in trials if each]
    if all(len(each) == 1 for each in trials):
        return proportion(sum(each[0] for each in trials), len(trials))
    return mean_by_task(trials)


def read_verdicts(summary: GroupSummary) -> list[str | None]:
    """The verdict of each completion: ``yes``, ``no``, ``A``, ``B``, or None."""
    return [None if text is None else verdict_of(text) for text in summary.extracted]


def _pointwise(summaries: Sequence[GroupSummary]) -> JudgeRecord:
    said = [(s.shown_correct[0], read_verdicts(s)) for s in summaries]
    right = [verdicts for correct, verdicts in said if correct]
    wrong = [verdicts for correct, verdicts in said if not correct]
    true_positives = rate([[v == YES for v in verdicts] for verdicts in right])
    true_negatives = rate([[v == NO for v in verdicts] for verdicts in wrong])
    readable = [[v == YES for v in verdicts if v in (YES, NO)] for _, verdicts in said]
    count = sum(len(verdicts) for _, verdicts in said)
    error, bins = _calibration(said)
    return JudgeRecord(
        candidates=len(said),
        verdicts=count,
        unread=count - sum(map(len, readable)),
        balanced_accuracy=mean_of_two(true_positives, true_negatives),
        true_positive_rate=true_positives,
        false_positive_rate=rate([[v == YES for v in verdicts] for verdicts in wrong]),
        yes_rate=rate(readable),
        calibration_error=error,
        reliability=bins,
    )


def _calibration(
    said: Sequence[tuple[bool, Sequence[str | None]]],
) -> tuple[float | None, tuple[Reliability, ...]]:
    """Expected calibration error and its bins, from candidates with repeated verdicts."""
    repeated = [(right, verdicts) for right, verdicts in said if len(verdicts) >= FEWEST_VERDICTS]
    if not repeated:
        return None, ()
    confidences = [sum(v == YES for v in verdicts) / len(verdicts) for _, verdicts in repeated]
    found = calibration(confidences, [right for right, _ in repeated])
    bins = tuple(
        Reliability(low=b.low, high=b.high, confidence=b.confidence, accuracy=b.accuracy)
        for b in found.bins
    )
    return found.error, bins


def _pairwise(summaries: Sequence[GroupSummary]) -> dict[str, Score]:
    """Pairs are those of one task, its prompts of either order taken in turn."""
    by_task: dict[str, list[GroupSummary]] = defaultdict(list)
    for summary in summaries:
        by_task[summary.task_id].append(summary)
    first = [[v == FIRST for v in read_verdicts(s) if v in (FIRST, SECOND)] for s in summaries]
    hits = [[hit for s in several for hit in s.correct] for several in by_task.values()]
    return {
        "pairwise_accuracy": rate(hits),
        "pairwise_consistency": rate([_agreements(several) for several in by_task.values()]),
        "pairwise_first_rate": rate(first),
    }


def _agreements(summaries: Sequence[GroupSummary]) -> list[bool]:
    """For each pair asked in both orders: whether the same answer was chosen in both.

    A choice that could not be read agrees with nothing.
    """
    orders: dict[str, list[bool | None]] = {FIRST: [], SECOND: []}
    for summary in summaries:
        for verdict, correct in zip(read_verdicts(summary), summary.correct, strict=True):
            orders[summary.label].append(correct if verdict in (FIRST, SECOND) else None)
    return [
        one is not None and one == other
        for one, other in zip(orders[FIRST], orders[SECOND], strict=False)
    ]


def _reflection(summaries: Sequence[GroupSummary]) -> dict[str, Score]:
    outcomes = [[outcome_of(s.shown_correct[0], hit) for hit in s.correct] for s in summaries]
    wrong = [each for s, each in zip(summaries, outcomes, strict=True) if not s.shown_correct[0]]
    right = [each for s, each in zip(summaries, outcomes, strict=True) if s.shown_correct[0]]

    def share(of: Sequence[Sequence[Outcome]], outcome: Outcome) -> Score:
        return rate([[one is outcome for one in each] for each in of])

    return {
        "reflection_fix": share(wrong, Outcome.FIX),
        "reflection_keep": share(right, Outcome.KEEP),
        "reflection_break": share(right, Outcome.BREAK),
    }


def summaries_of(groups: Iterable[Group | None]) -> list[GroupSummary]:
    """Summaries of the groups that there are."""
    return [GroupSummary.of(group) for group in groups if group is not None]
