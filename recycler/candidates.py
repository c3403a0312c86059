"""Which answers of a step may be shown to the judge, task by task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from contracts.types import Candidate, Group, Objective, Reason, Rollout

UNMIXED_WORTH = 0.05
"""Worth of a task whose answers are all right or all wrong; half right is worth 1 more."""


@dataclass(frozen=True, slots=True)
class TaskCandidates:
    """The distinct right and wrong answers to one task, in random order.

    ``worth`` grows towards groups that are half right, where the verdict is least foregone.
    """

    right: tuple[Candidate, ...]
    wrong: tuple[Candidate, ...]
    worth: float

    @property
    def mixed(self) -> bool:
        """Whether there are both right and wrong answers."""
        return bool(self.right and self.wrong)


def may_be_shown(rollout: Rollout, longest_answer: int) -> bool:
    """Whether the verifier read an answer, of at most ``longest_answer`` bytes, and judged it.

    Truncated completions are graded wrong whatever they say, and a grader that timed out
    says nothing about the answer: a label made of either could be false.
    """
    grade = rollout.grade
    if grade.reason is not Reason.OK or not grade.extracted:
        return False
    return len(grade.extracted.encode(errors="replace")) <= longest_answer


def candidates_by_task(
    groups: Iterable[Group], longest_answer: int, rng: np.random.Generator
) -> tuple[TaskCandidates, ...]:
    """The candidates of all solve groups, by task, whatever the order of ``groups``.

    Answers of more than ``longest_answer`` bytes are left out.
    """
    by_task: dict[str, list[Rollout]] = {}
    for group in groups:
        if group.prompt.objective is Objective.SOLVE:
            by_task.setdefault(group.prompt.task.id, []).extend(group.rollouts)
    return tuple(_of_task(by_task[task], longest_answer, rng) for task in sorted(by_task))


def _of_task(
    rollouts: Sequence[Rollout], longest_answer: int, rng: np.random.Generator
) -> TaskCandidates:
    ordered = sorted(rollouts, key=lambda rollout: rollout.completion.id)
    # A random order before dropping repetitions: frequent answers tend to come first.
    shuffled = [ordered[i] for i in rng.permutation(len(ordered))]
    distinct = _distinct(Candidate.of(r) for r in shuffled if may_be_shown(r, longest_answer))
    share = sum(rollout.grade.correct for rollout in rollouts) / len(rollouts)
    return TaskCandidates(
        right=tuple(c for c in distinct if c.correct),
        wrong=tuple(c for c in distinct if not c.correct),
        worth=UNMIXED_WORTH + 4 * share * (1 - share),
    )


def _distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The first of each answer. An answer graded both ways has no label, and is left out."""
    first: dict[str, Candidate] = {}
    disputed: set[str] = set()
    for candidate in candidates:
        known = first.setdefault(candidate.answer, candidate)
        if known.correct != candidate.correct:
            disputed.add(candidate.answer)
    return [c for answer, c in first.items() if answer not in disputed]
