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
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from contracts.grammar import verdict_of
from contracts.types import FloatArray, Group, GroupSummary, Objective

SIDES = {"yes": 1.0, "no": -1.0, "A": 1.0, "B": -1.0}
JUDGING = (Objective.POINTWISE, Objective.PAIRWISE)


@dataclass(frozen=True, slots=True)
class Lean:
    """How far a set of verdicts leans. ``mean``: of their sides, -1 to 1. ``pull``: what is added
    to the advantage for each unit that a verdict's side is above the mean.
    """

    mean: float
    pull: float


Leans = Mapping[str, Lean]
"""By prompt id."""


def side_of(extracted: str | None) -> float:
    """1 for yes or A, -1 for no or B, 0 where there is no verdict."""
    verdict = None if extracted is None else verdict_of(extracted)
    return SIDES[verdict] if verdict is not None else 0.0


def leans_of(groups: Sequence[GroupSummary], strength: float) -> dict[str, Lean]:
    """The lean that each judge prompt of an update is pulled against; nothing for strength 0."""
    leans: dict[str, Lean] = {}
    for objective in JUDGING if strength else ():
        for part in _parts([group for group in groups if group.objective is objective]):
            if lean := _lean(part, strength):
                leans |= dict.fromkeys((group.prompt_id for group in part), lean)
    return leans


def _parts(groups: Sequence[GroupSummary]) -> Iterator[list[GroupSummary]]:
    """Disjoint sets that have both labels: of one question, of one wording, and the rest."""
    rest = list(groups)
    for shared in (attrgetter("task_id"), attrgetter("template"), attrgetter("objective")):
        by: dict[str, list[GroupSummary]] = {}
        for group in rest:
            by.setdefault(shared(group), []).append(group)
        rest = []
        for part in by.values():
            if len({group.label for group in part}) > 1:
                yield part
            else:
                rest += part


def _lean(part: Sequence[GroupSummary], strength: float) -> Lean | None:
    said, asked = list[float](), list[float]()
    for group in part:
        sides = [side for side in map(side_of, group.extracted) if side]
        said += sides
        asked += [SIDES[group.label]] * len(sides)
    if not said:
        return None
    mean, wanted = float(np.mean(said)), float(np.mean(asked))
    # Sides are twice the shares: 2 * strength * (difference of shares).
    return Lean(mean, strength * (wanted - mean))


def pulled(advantages: FloatArray, group: Group, leans: Leans) -> FloatArray:
    """``advantages`` [n] of ``group``, its verdicts pulled against the lean: float32 [n]."""
    lean = leans.get(group.prompt.id)
    if lean is None:
        return advantages
    sides = np.array([side_of(grade.extracted) for grade in group.grades])
    pulls = np.where(sides != 0, lean.pull * (sides - lean.mean), 0.0)
    result: FloatArray = (advantages + pulls).astype(np.float32)
    return result
