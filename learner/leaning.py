"""What keeps the judge from saying one and the same whatever it is shown.

While verdicts hardly depend on the answer that is judged, the pushes to yes and to no cancel on
average only, and the optimiser makes full steps of what is left: the share of yes walks at
random. "Always yes" and "always no" are where the walk ends, because no group has any variance
there; balanced labels do not change that. So the share of yes is pulled to that of the labels,
by the gradient of -strength * (share of yes - share of labels that are yes)^2, its baseline the
mean over all verdicts it is taken of. The same holds for A and B.

It is taken of sets of verdicts as small as both labels allow: those on one question, else those on
one wording, else all that are left. Over a whole update it can be fooled, and was: yes to all in
one wording and no to all in its mirror image are as many yes as no.

``learner.verdict_centring`` goes further, for models that do not judge yet. What of the advantages
of a set a verdict's side alone explains (their regression on it) is taken out of them, so that
right and wrong answers push apart and only the pull pushes the share of yes. The pull is then of a
whole wording, for that of a question's few verdicts is mostly chance; and it is the gradient of
the cross-entropy between that share and the labels' in place of the square, which does not fade
where nearly all say the same.

What may be chance, ``learner.verdict_slack``, is not pulled at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from contracts.config import LearnerConfig
from contracts.grammar import verdict_of
from contracts.types import FloatArray, Group, GroupSummary, Objective
from learner.advantages import advantages_of

SIDES = {"yes": 1.0, "no": -1.0, "A": 1.0, "B": -1.0}
JUDGING = (Objective.POINTWISE, Objective.PAIRWISE)


@dataclass(frozen=True, slots=True)
class Lean:
    """How far a set of verdicts leans. ``mean``: of their sides, -1 to 1. ``pull``: what is added
    to the advantage for each unit that a verdict's side is above the mean.
    """

    mean: float
    pull: float


Leans = Mapping[str, Sequence[Lean]]
"""By prompt id."""


def side_of(extracted: str | None) -> float:
    """1 for yes or A, -1 for no or B, 0 where there is no verdict."""
    verdict = None if extracted is None else verdict_of(extracted)
    return SIDES[verdict] if verdict is not None else 0.0


_NARROW = (attrgetter("task_id"), attrgetter("template"), attrgetter("objective"))
_WIDE = _NARROW[1:]


def leans_of(groups: Sequence[GroupSummary], config: LearnerConfig) -> Leans:
    """The leans that each judge prompt of an update is pulled against; nothing for strength 0."""
    leans: dict[str, list[Lean]] = {}
    for part, lean in _all_leans(groups, config) if config.verdict_balance else ():
        for group in part:
            leans.setdefault(group.prompt_id, []).append(lean)
    return leans


def _all_leans(
    groups: Sequence[GroupSummary], config: LearnerConfig
) -> Iterator[tuple[Sequence[GroupSummary], Lean]]:
    ways = ((_NARROW, _centre), (_WIDE, _pull)) if config.verdict_centring else ((_NARROW, _pull),)
    for objective in JUDGING:
        judged = [group for group in groups if group.objective is objective]
        for keys, lean_of in ways:
            yield from ((part, lean_of(part, config)) for part in _parts(judged, keys))


def _parts(
    groups: Sequence[GroupSummary], keys: Sequence[Callable[[GroupSummary], str]]
) -> Iterator[list[GroupSummary]]:
    """Disjoint sets that have both labels and a verdict: alike by the first key, else the next."""
    rest = list(groups)
    for shared in keys:
        by: dict[str, list[GroupSummary]] = {}
        for group in rest:
            by.setdefault(shared(group), []).append(group)
        rest = []
        for part in by.values():
            if len({group.label for group in part}) == 1:
                rest += part
            elif any(side_of(word) for group in part for word in group.extracted):
                yield part


def _shares(part: Sequence[GroupSummary]) -> tuple[float, float]:
    """Means of the verdicts' sides, -1 to 1: as given, and as the labels ask for."""
    said, asked = list[float](), list[float]()
    for group in part:
        sides = [side for side in map(side_of, group.extracted) if side]
        said += sides
        asked += [SIDES[group.label]] * len(sides)
    return float(np.mean(said)), float(np.mean(asked))


def _pull(part: Sequence[GroupSummary], config: LearnerConfig) -> Lean:
    """Sides are twice the shares: 2 * strength * (difference of shares, less the slack)."""
    mean, wanted = _shares(part)
    off = wanted - mean
    pull = config.verdict_balance * math.copysign(max(abs(off) - 2 * config.verdict_slack, 0), off)
    if config.verdict_centring:
        spread = 1 - mean**2
        pull = pull / spread if spread else 0.0
    return Lean(mean, pull)


def _centre(part: Sequence[GroupSummary], config: LearnerConfig) -> Lean:
    """Takes out the regression of the advantages of ``part`` on the sides of its verdicts."""
    mean, _ = _shares(part)
    along, squared = 0.0, 0.0
    for group in part:
        centred = _centred(group.extracted, mean)
        rewards = np.array(group.rewards, dtype=np.float32)
        along += float(centred @ advantages_of(rewards, config.advantage))
        squared += float(centred @ centred)
    return Lean(mean, -along / squared if squared else 0.0)


def _centred(extracted: Iterable[str | None], mean: float) -> NDArray[np.float64]:
    """How far the side of each verdict is above ``mean``; 0 where there is no verdict."""
    sides = np.array([side_of(word) for word in extracted])
    return np.where(sides != 0, sides - mean, 0.0)


def pulled(advantages: FloatArray, group: Group, leans: Leans) -> FloatArray:
    """``advantages`` [n] of ``group``, its verdicts pulled against the lean: float32 [n]."""
    result = advantages.astype(np.float64)
    for lean in leans.get(group.prompt.id, ()):
        result += lean.pull * _centred((grade.extracted for grade in group.grades), lean.mean)
    return result.astype(np.float32)
