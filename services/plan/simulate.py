"""The loop of ``services.controller``, simulated: the same order of things, with given costs.

Batches are begun up to ``max_staleness`` ahead (``services.ahead``), one after the other; the
learner trains on each in turn; new weights stop sampling in the middle or wait for the end of a
batch (``services.gate``). Evaluations are left out.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from contracts.config import RunConfig
from contracts.types import Objective
from learner.packing import balance
from services.plan.batches import Batch, Group, Prompts
from services.plan.costs import Costs, Load
from services.plan.engines import Engines
from services.plan.events import Clock, Event, Process, Processors, Turns
from services.plan.inputs import OURS, LearnerSpec
from services.plan.workload import Workload
from services.seeds import derive_seed


@dataclass(frozen=True, slots=True)
class StepTimes:
    """A step: its seconds, and of them what the recorder of a run would say.

    ``phases``: seconds of generate, grade, recycle, update, broadcast, checkpoint. ``idle``:
    share of the step in which no batch was sampled, and in which the learner waited.
    ``sampling``: mean share in which a generator had something to sample: less than ``1 - idle``
    by what the slowest keeps the others waiting. ``tokens``: sampled of the groups it trained on
    or looked at; ``trained``: groups; ``ages``: versions between sampling and training.
    """

    number: int
    seconds: float
    phases: dict[str, float]
    idle: dict[str, float]
    sampling: float
    tokens: int
    groups: int
    trained: int
    stale: int
    ages: tuple[int, ...]


@dataclass
class Counts:
    """What came of all groups that were asked. One that was too old is asked anew, as another."""

    asked: int = 0
    trained: int = 0
    silent: int = 0
    stale: int = 0


@dataclass
class Simulation:
    """A run of ``config`` with ``workload`` and ``costs``; ``run`` gives its steps.

    Args:
        config: of the run; its ``steps`` are simulated.
        workload: what is sampled and trained.
        costs: seconds.
        seed: of lengths and signal.
        learner: another's, in its place.
        fold: how many runs like this one go on side by side as one; see ``predict.folded``.
    """

    config: RunConfig
    workload: Workload
    costs: Costs
    seed: int = 0
    learner: LearnerSpec = OURS
    fold: int = 1
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.processors = Processors(self.clock, self.costs.processors, self.costs.background)
        self.engines = Engines(self.clock, self.processors, self.config, self.costs)
        self.prompts = Prompts(self.config, self.workload, self.seed)
        self.gate = Turns(self.clock)
        self.closed = self.config.transfer.when == "between_batches"
        self.version = 0
        self._begun: deque[Event] = deque()
        self._making = Turns(self.clock)
        self._phases: dict[str, float] = {}
        self._all: list[StepTimes] = []

    def run(self) -> list[StepTimes]:
        """The steps. Counts of groups are then in ``counts``."""
        self.clock.run(self.clock.start(self._controller()))
        self.counts.asked = self.prompts.asked
        return self._all

    def _controller(self) -> Process:
        """``Controller.run``, with ``do`` and ``learn``."""
        yield from self._broadcast()
        self._phases.clear()
        for number in range(1, self.config.steps + 1):
            began, busy = self.clock.now, self.engines.busy
            batches: list[Batch] = []
            kept: list[Group] = []
            waited, stale, ages = 0.0, 0, []
            while not batches or not batches[-1].ends_step:
                self._fill()
                asked = self.clock.now
                batch: Batch = yield self._begun.popleft()
                waited += self.clock.now - asked
                fresh = self._fresh(batch)
                stale += len(batch.groups) - len(fresh)
                ages += [self.version - g.version for g in fresh if g.version is not None]
                kept += fresh
                yield from self._learn(batch, fresh)
                batches.append(batch)
            yield from self._work("bookkeeping", self.costs.bookkeeping())
            self._record(number, began, busy, batches, kept, waited, stale, ages)
            yield from self._save_when_due(number)

    def _record(  # noqa: PLR0917 (what a step was)
        self,
        number: int,
        began: float,
        busy: float,
        batches: Sequence[Batch],
        kept: Sequence[Group],
        waited: float,
        stale: int,
        ages: Sequence[int],
    ) -> None:
        seconds = max(self.clock.now - began, 1e-12)
        generating = sum(batch.sampling for batch in batches)
        phases, self._phases = self._phases | {"generate": generating}, {}
        self._all.append(
            StepTimes(
                number=number,
                seconds=seconds,
                phases=phases,
                idle={
                    "learner": min(1.0, waited / seconds),
                    "generators": max(0.0, 1 - generating / seconds),
                },
                sampling=min(1.0, (self.engines.busy - busy) / seconds),
                tokens=self.fold * sum(sum(group.lengths) for group in kept),
                groups=self.fold * len(kept),
                trained=self.fold * len(self._of_use(kept)),
                stale=self.fold * stale,
                ages=tuple(ages),
            )
        )

    def _fill(self) -> None:
        """``Ahead.fill``: begin all batches that may be begun at this version."""
        last = self.config.steps * self.config.batches_per_step
        upto = min(last, self.version + 1 + self.config.max_staleness)
        for number in range(self.version + 1 + len(self._begun), upto + 1):
            self._begun.append(self.clock.start(self._make(number)))

    def _make(self, number: int) -> Process:
        """``BatchMaker.make``, on one thread: batches are made one after the other."""
        yield self._making.take()
        halves = self.config.batches_per_step
        step = (number + halves - 1) // halves
        judging = halves == 2 and number % 2 == 0
        began_with: list[Group] = []
        seconds = 0.0
        if not judging:
            began_with += self.prompts.tasks(self.prompts.tasks_per_step)
        groups = began_with + self.prompts.waiting()
        if groups:
            seconds += yield from self._rollout(groups)
        solved = [group for group in groups if group.objective is Objective.SOLVE]
        while not judging and (count := self.prompts.missing(solved)) > 0:
            more = self.prompts.tasks(count)
            seconds += yield from self._rollout(more)
            groups += more
            solved += more
        if not judging:
            self.prompts.recycle()
            yield from self._work("recycle", self.costs.recycling())
        self._making.give()
        return Batch(number, step, number % halves == 0, groups, seconds)

    def _rollout(self, groups: Sequence[Group]) -> Process:
        """``Rollouts.sample``: graded as they come. The seconds until the last one came."""
        if self.closed:
            yield self.gate.take()
        began = self.clock.now
        completions = sum(len(group.lengths) for group in groups)
        routing = self.processors.work(self.costs.routing(completions * self.fold))
        yield self.engines.sample(groups)
        seconds = self.clock.now - began
        graded = self.clock.now
        yield self.clock.all([routing])
        yield from self._work(None, self.costs.grading())
        self._add("grade", self.clock.now - graded)
        if self.closed:
            self.gate.give()
        return seconds

    def _fresh(self, batch: Batch) -> list[Group]:
        """The groups that are young enough; the others are asked again."""
        young = []
        for group in batch.groups:
            assert group.version is not None
            if self.version - group.version > self.config.max_staleness:
                self.prompts.returned.append(group)
                self.counts.stale += 1
            else:
                young.append(group)
        return young

    def _of_use(self, groups: Sequence[Group]) -> list[Group]:
        if self.config.learner.silent_groups == "train":
            return list(groups)
        return [group for group in groups if group.signal]

    def _learn(self, batch: Batch, fresh: Sequence[Group]) -> Process:
        """Train on what is of use, then send the new weights to every generator."""
        groups = self._of_use(fresh)
        self.counts.trained += len(groups)
        self.counts.silent += len(fresh) - len(groups)
        learner = self.config.learner
        began = self.clock.now
        for part in self._split(groups):
            seconds = self.costs.update(self._loads(part))
            yield self.processors.work(seconds, self.costs.rank_demand * learner.ranks)
        self._add("update", self.clock.now - began)
        self.version = batch.number
        yield from self._broadcast()

    def _split(self, groups: Sequence[Group]) -> list[list[Group]]:
        """``split_groups``: dealt over the updates of a step; one without groups is not made."""
        count = self.config.learner.updates_per_step
        shuffled = list(groups)
        random.Random(derive_seed(self.seed, "split", self.version)).shuffle(shuffled)
        ordered = sorted(shuffled, key=lambda group: group.objective)
        return [part for start in range(count) if (part := ordered[start::count])]

    def _loads(self, groups: Sequence[Group]) -> list[Load]:
        """What each rank forwards: spread as ``actors.learner_group`` spreads groups."""
        whole = self.learner.unit == "group"
        shared = whole and self.config.learner.shared_prefix != "off"
        rows = [
            (group.prompt, lengths)
            for group in groups
            for lengths in ([group.lengths] if whole else [[one] for one in group.lengths])
        ]
        costs = [float(prompt + sum(lengths)) for prompt, lengths in rows]
        loads = []
        places = max(1, self.config.learner.ranks // self.learner.sequence_parallel)
        for share in balance(costs, places):
            load = Load()
            for index in share:
                load.add(*rows[index], shared=shared)
            loads.append(load)
        return loads

    def _broadcast(self) -> Process:
        """Sampling stops, or has ended, while weights are sent."""
        began = self.clock.now
        if self.closed:
            yield self.gate.take()
        self.engines.pause()
        yield self.processors.work(self.costs.broadcast(self.config.generators.count * self.fold))
        self.engines.resume(self.version)
        self._add("broadcast", self.clock.now - began)
        if self.closed:
            self.gate.give()

    def _save_when_due(self, number: int) -> Process:
        """``Controller.save_when_due``: what is sampled meanwhile goes on."""
        every = self.config.checkpoints.every
        if every and (number % every == 0 or number == self.config.steps):
            ranks = self.config.learner.ranks * self.fold
            yield from self._work("checkpoint", self.costs.checkpoint(ranks))

    def _work(self, phase: str | None, seconds: float) -> Process:
        if seconds <= 0:
            return
        began = self.clock.now
        yield self.processors.work(seconds)
        if phase is not None:
            self._add(phase, self.clock.now - began)

    def _add(self, phase: str, seconds: float) -> None:
        self._phases[phase] = self._phases.get(phase, 0.0) + seconds
