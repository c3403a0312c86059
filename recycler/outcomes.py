"""What a reflection did with the answer it was shown, and what each of the four is worth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from contracts.types import Grade, Objective, Prompt, Reason


class Outcome(StrEnum):
    """What became of the answer that a reflection was shown."""

    FIX = "fix"
    KEEP = "keep"
    BREAK = "break"
    MISS = "miss"


def outcome_of(shown_correct: bool, correct: bool) -> Outcome:
    """``fix`` wrong to right, ``keep`` right and right, ``break`` right to wrong, ``miss`` else."""
    if shown_correct:
        return Outcome.KEEP if correct else Outcome.BREAK
    return Outcome.FIX if correct else Outcome.MISS


@dataclass(frozen=True, slots=True)
class ReflectionRewards:
    """Reward of a reflection by its outcome, and of one without a graded answer.

    The defaults are those of plain correctness. Within a group the shown answer is one and the
    same, so only the distances between ``fix`` and ``miss``, and between ``keep`` and
    ``breaking``, and those to ``unanswered`` act on an advantage; one that divides by the
    group's deviation sees no more of them than the order, unless three values come together.
    """

    fix: float = 1.0
    keep: float = 1.0
    breaking: float = 0.0
    miss: float = 0.0
    unanswered: float = 0.0


PLAIN = ReflectionRewards()
"""Plain correctness."""


def reward_reflection(prompt: Prompt, grade: Grade, rewards: ReflectionRewards) -> Grade:
    """``grade`` with the reward that its outcome is worth; as it is for other objectives.

    Whether it is correct, and why, does not change: labels and scores follow from those.
    """
    if prompt.objective is not Objective.REFLECT:
        return grade
    if grade.reason is not Reason.OK:
        return replace(grade, reward=rewards.unanswered)
    (shown_correct,) = prompt.shown_correct
    worth = {
        Outcome.FIX: rewards.fix,
        Outcome.KEEP: rewards.keep,
        Outcome.BREAK: rewards.breaking,
        Outcome.MISS: rewards.miss,
    }
    return replace(grade, reward=worth[outcome_of(shown_correct, grade.correct)])
