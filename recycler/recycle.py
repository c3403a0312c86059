"""Verified groups into judge and reflection prompts: pure, seeded.

What is shown is chosen in rounds over the tasks, mixed groups first and groups near half
right before others, so that no task crowds out the rest. A task that gives a right candidate
gives a wrong one too where it can: then only the answer, not the question, tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from contracts.config import RecycleConfig
from contracts.types import Candidate, Group, Objective, Prompt
from recycler.candidates import TaskCandidates, candidates_by_task
from recycler.prompts import pairwise_prompt, pointwise_prompt, reflect_prompt, solve_prompt

__all__ = ["pairwise_prompt", "pointwise_prompt", "recycle", "reflect_prompt", "solve_prompt"]

ROUNDS = 4
"""Most candidates of one class, or pairs, that one task gives to one objective."""

SCARCITY_FLOOR = 0.25
"""To hold the mix, objectives shrink along with the scarcest, but not below this share."""

T = TypeVar("T")


def recycle(groups: Sequence[Group], config: RecycleConfig, seed: int) -> list[Prompt]:
    """Judge and reflection prompts of one step's verified groups.

    Only solve groups are used, and of them only completions with a graded answer. The same
    groups and seed give the same prompts, whatever the order of ``groups``. Pointwise prompts
    come in right and wrong pairs; where one class is empty there are none.

    Args:
        groups: the step's groups, of any objective.
        config: caps, shares and style.
        seed: of every choice made.
    """
    if not config.enabled:
        return []
    tasks = candidates_by_task(groups, config.longest_answer, _generator(seed, "candidates"))
    right, wrong = _classes(tasks, seed, Objective.POINTWISE)
    pairs = _in_rounds(_by_worth(tasks, seed, Objective.PAIRWISE), _pairs_of)
    reflections = _reflections(config, *_classes(tasks, seed, Objective.REFLECT))
    counts = _hold_mix(
        {
            Objective.POINTWISE: (config.pointwise, 2 * min(len(right), len(wrong))),
            Objective.PAIRWISE: (config.pairwise, len(pairs)),
            Objective.REFLECT: (config.reflect, len(reflections)),
        }
    )
    return [
        *_pointwise(right, wrong, counts[Objective.POINTWISE] // 2, config, seed),
        *_pairwise(pairs[: counts[Objective.PAIRWISE]], config, seed),
        *_reflect(reflections[: counts[Objective.REFLECT]], config, seed),
    ]


def _pointwise(
    right: Sequence[Candidate],
    wrong: Sequence[Candidate],
    each: int,
    config: RecycleConfig,
    seed: int,
) -> Iterable[Prompt]:
    """Right and wrong candidates in turn; both of a pair show their reasoning, or neither."""
    whole = _reasoned(each, config, seed, Objective.POINTWISE)
    for good, bad, reasoning in zip(right, wrong, whole, strict=False):
        for candidate in (good, bad):
            yield pointwise_prompt(candidate, config.style, seed, reasoning=reasoning)


def _pairwise(
    pairs: Sequence[tuple[Candidate, Candidate]], config: RecycleConfig, seed: int
) -> Iterable[Prompt]:
    """The right candidate is first in half of the prompts."""
    whole = _reasoned(len(pairs), config, seed, Objective.PAIRWISE)
    # Of an odd number, a coin decides which position has one more.
    half = (len(pairs) + int(_generator(seed, "coin").integers(2))) // 2
    right_first = _flags(len(pairs), half, seed, "positions")
    for (right, wrong), reasoning, first in zip(pairs, whole, right_first, strict=True):
        yield pairwise_prompt(
            right, wrong, config.style, seed, right_first=first, reasoning=reasoning
        )


def _reflect(candidates: Sequence[Candidate], config: RecycleConfig, seed: int) -> Iterable[Prompt]:
    whole = _reasoned(len(candidates), config, seed, Objective.REFLECT)
    for candidate, reasoning in zip(candidates, whole, strict=True):
        yield reflect_prompt(candidate, config.style, seed, reasoning=reasoning)


def _classes(
    tasks: Sequence[TaskCandidates], seed: int, purpose: str
) -> tuple[list[Candidate], list[Candidate]]:
    """Right and wrong candidates, most worthwhile first, those of one task at the same place."""
    ordered = _by_worth(tasks, seed, purpose)
    right = _in_rounds(ordered, lambda task: task.right)
    return right, _in_rounds(ordered, lambda task: task.wrong)


def _by_worth(tasks: Sequence[TaskCandidates], seed: int, purpose: str) -> list[TaskCandidates]:
    """Mixed tasks, then the others; among them a draw without replacement, weighted by worth.

    Sorting by exponential variates divided by the weights is such a draw (Efraimidis and
    Spirakis, Weighted random sampling with a reservoir, 2006).
    """
    waits = _generator(seed, purpose).exponential(size=len(tasks))
    ranks = [(not t.mixed, wait / t.worth) for t, wait in zip(tasks, waits, strict=True)]
    return [tasks[i] for i in sorted(range(len(tasks)), key=ranks.__getitem__)]


def _in_rounds(
    tasks: Sequence[TaskCandidates], of: Callable[[TaskCandidates], Sequence[T]]
) -> list[T]:
    """The first of every task, then the second of every task that has one, and so on."""
    rows = [of(task) for task in tasks]
    return [row[turn] for turn in range(ROUNDS) for row in rows if len(row) > turn]


def _pairs_of(task: TaskCandidates) -> list[tuple[Candidate, Candidate]]:
    """A right answer beside each wrong one."""
    if not task.right:
        return []
    return [(task.right[i % len(task.right)], wrong) for i, wrong in enumerate(task.wrong)]


def _reflections(
    config: RecycleConfig, right: Sequence[Candidate], wrong: Sequence[Candidate]
) -> list[Candidate]:
    """Wrong and right candidates in turn, at the configured share, as long as both last."""
    chosen: list[Candidate] = []
    wrongs = 0
    while len(chosen) < config.reflect:
        rights = len(chosen) - wrongs
        if wrongs < round((len(chosen) + 1) * config.reflect_wrong_share):
            if wrongs == len(wrong):
                break
            chosen.append(wrong[wrongs])
            wrongs += 1
        elif rights == len(right):
            break
        else:
            chosen.append(right[rights])
    return chosen


def _hold_mix(wanted: dict[Objective, tuple[int, int]]) -> dict[Objective, int]:
    """Prompts per objective from (cap, available): the caps, shrunk alike to hold their mix.

    An objective that has nothing to show does not hold the others back.
    """
    shares = [available / cap for cap, available in wanted.values() if cap and available]
    scale = max(SCARCITY_FLOOR, min([1.0, *shares]))
    return {
        objective: min(available, max(1, round(cap * scale))) if cap else 0
        for objective, (cap, available) in wanted.items()
    }


def _reasoned(count: int, config: RecycleConfig, seed: int, purpose: str) -> list[bool]:
    """For each of ``count`` prompts, whether it shows the whole completion."""
    return _flags(count, round(count * config.reasoning_share), seed, f"reasoning/{purpose}")


def _flags(count: int, how_many: int, seed: int, purpose: str) -> list[bool]:
    """``count`` flags in random order, ``how_many`` of which are set."""
    order = _generator(seed, "flags", purpose).permutation(count)
    return [bool(place < how_many) for place in order]


def _generator(seed: int, *purpose: str) -> np.random.Generator:
    """Random numbers of their own for each purpose, so that one choice does not shift another."""
    return np.random.default_rng([seed, *"/".join(purpose).encode()])
