"""Batches of the simulated loop: which groups are asked, and what is made of them.

The simulated twin of ``services.batches``: the same schedules, refilling and recycling, of groups
that are lengths only. Whether a group has signal is drawn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from contracts.config import RunConfig
from contracts.types import Objective
from services.plan.workload import Workload

JUDGED = (Objective.POINTWISE, Objective.PAIRWISE, Objective.REFLECT)


@dataclass(slots=True)
class Group:
    """A group asked: tokens of its prompt and of each completion, and whether it has signal.

    ``version``: the oldest of its tokens'; None until it was sampled.
    """

    number: int
    objective: Objective
    prompt: int
    lengths: list[int]
    signal: bool
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What is trained on at once; see ``services.batches.Batch``. ``sampling``: seconds of it."""

    number: int
    step: int
    ends_step: bool
    groups: list[Group]
    sampling: float


@dataclass
class Prompts:
    """Where prompts come from: new tasks, what was recycled, and what was too old.

    Args:
        config: of the run.
        workload: lengths and signal.
        seed: of all that is drawn.
    """

    config: RunConfig
    workload: Workload
    seed: int
    asked: int = 0
    pending: list[Objective] = field(default_factory=list)
    returned: deque[Group] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)

    def tasks(self, count: int) -> list[Group]:
        """Groups of new tasks."""
        return [self._group(Objective.SOLVE) for _ in range(count)]

    def waiting(self) -> list[Group]:
        """Groups that wait for this batch: recycled ones, and those that were given back.

        What was too old is asked again: the same prompt, answered anew.
        """
        pending, self.pending = self.pending, []
        groups = [self._group(objective) for objective in pending]
        while self.returned:
            groups.append(self._group(self.returned.popleft().objective))
        return groups

    def recycle(self) -> None:
        """Make judge and reflection prompts: as many as measured, or as the caps allow."""
        recycle = self.config.recycle
        if not (recycle.enabled and recycle.answered):
            return
        caps = {
            Objective.POINTWISE: recycle.pointwise,
            Objective.PAIRWISE: recycle.pairwise,
            Objective.REFLECT: recycle.reflect,
        }
        for objective in JUDGED:
            given = self.workload.of(objective).groups
            self.pending += [objective] * (caps[objective] if given is None else given)

    @property
    def tasks_per_step(self) -> int:
        """Tasks solved a step."""
        given = self.workload.solve.groups
        return self.config.tasks_per_step if given is None else given

    def missing(self, solved: Sequence[Group]) -> int:
        """Further tasks to ask in the place of groups without signal; see ``refill``."""
        wanted = self.tasks_per_step
        limit = int(self.config.sampling.refill * wanted)
        useful = sum(group.signal for group in solved)
        return min(wanted - useful, limit - len(solved))

    def _group(self, objective: Objective) -> Group:
        work, sampling = self.workload.of(objective), self.config.sampling
        self.asked += 1
        return Group(
            number=self.asked,
            objective=objective,
            prompt=round(work.prompt),
            lengths=work.completion.draw(self._random, sampling.completions, sampling.max_tokens),
            signal=bool(self._random.random() < work.signal),
        )
