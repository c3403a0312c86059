"""The simulated generators: prompts dealt as ``actors.generator_pool`` deals them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from contracts.config import RunConfig
from learner.packing import balance
from services.plan.batches import Group
from services.plan.costs import Costs
from services.plan.decoding import Sampled, Schedule
from services.plan.events import Clock, Event, Processors, Work


@dataclass(slots=True)
class Engine:
    """One generator, with what it works on. ``busy``: seconds it had something to sample."""

    index: int
    schedule: Schedule | None = None
    work: Work | None = None
    fixed: float = 0.0
    busy: float = 0.0
    since: float = 0.0
    ended: Event | None = None


@dataclass
class Engines:
    """All generators.

    New weights stop every one of them (``pause``); what ran goes on with the new weights and an
    empty cache (``resume``).

    Args:
        clock, processors: of the simulation.
        config: of the run.
        costs: of it.
    """

    clock: Clock
    processors: Processors
    config: RunConfig
    costs: Costs
    version: int = 0
    paused: bool = False
    _engines: list[Engine] = field(default_factory=list)
    _again: Event | None = None

    def __post_init__(self) -> None:
        self._engines = [Engine(index) for index in range(self.config.generators.count)]
        self._slots = min(self.config.generators.max_sequences, self.costs.slots)

    @property
    def busy(self) -> float:
        """Mean seconds that a generator had something to sample."""
        now = self.clock.now
        running = sum(now - e.since for e in self._engines if e.work is not None)
        return (sum(e.busy for e in self._engines) + running) / len(self._engines)

    def sample(self, groups: Sequence[Group]) -> Event:
        """Sample ``groups``; happens when the last one has come. One batch at a time."""
        by_number = {group.number: group for group in groups}
        ends = []
        places = dealt([group.prompt for group in groups], len(self._engines), self.config)
        for engine, place in zip(self._engines, places, strict=True):
            if not place:
                continue
            share = [groups[index] for index in place]
            sequences = [
                Sampled(group.number, group.prompt, length)
                for group in share
                for length in group.lengths
            ]
            engine.ended = Event(self.clock)
            ends.append(engine.ended)
            self._go(engine, sequences, self.costs.batch(len(sequences)), by_number)
        return self.clock.all(ends)

    def _go(
        self, engine: Engine, sequences: list[Sampled], fixed: float, groups: dict[int, Group]
    ) -> None:
        """Work ``sequences`` off, from now or from when the pause ends."""
        engine.schedule = Schedule(sequences, self._slots, self.costs)
        engine.fixed = fixed
        self._begin(engine, groups)

    def _begin(self, engine: Engine, groups: dict[int, Group]) -> None:
        """Start what was scheduled; after the pause, where there is one."""
        if self.paused and self._again is not None:
            self._again.then(lambda: self._begin(engine, groups))
            return
        assert engine.schedule is not None
        seconds = max(0.0, engine.fixed + engine.schedule.seconds)
        work = self.processors.work(seconds, self.costs.generator_demand)
        engine.work, engine.since = work, self.clock.now
        self._current = groups
        work.then(lambda: self._end(engine, work, groups))

    def _end(self, engine: Engine, work: Work, groups: dict[int, Group]) -> None:
        if engine.work is not work or engine.schedule is None or engine.ended is None:
            return
        engine.schedule.stamp(engine.schedule.seconds, self.version)
        take_versions(engine.schedule.sequences, groups)
        engine.busy += self.clock.now - engine.since
        engine.work = engine.schedule = None
        engine.ended.happen()

    def pause(self) -> None:
        """Stop sampling: new weights come."""
        self.paused = True
        self._again = Event(self.clock)
        for engine in self._engines:
            if engine.work is None or engine.schedule is None or engine.work.happened:
                continue
            done = max(0.0, engine.work.done - engine.fixed)
            left = max(0.0, engine.fixed - engine.work.done)
            engine.work.stop()
            engine.work = None
            engine.busy += self.clock.now - engine.since
            engine.schedule.stamp(done, self.version)
            take_versions(engine.schedule.sequences, self._current)
            # An engine ends the step that it is in before it stops.
            left -= engine.schedule.under_way(done)
            rest = engine.schedule.rest(done)
            if rest:
                self._go(engine, rest, left, self._current)
            elif engine.ended is not None:
                engine.schedule = None
                engine.ended.happen()

    def resume(self, version: int) -> None:
        """Go on with the weights ``version``."""
        self.version, self.paused = version, False
        if self._again is not None:
            self._again.happen()


def dealt(prompts: Sequence[int], generators: int, config: RunConfig) -> list[list[int]]:
    """Which of the groups, whose ``prompts`` have so many tokens, each generator is given: by the
    tokens that are expected of them."""
    each = config.sampling.completions * config.sampling.max_tokens
    return balance([prompt + each for prompt in prompts], generators)


def take_versions(sequences: Sequence[Sampled], groups: dict[int, Group]) -> None:
    """A group is as old as the oldest of its tokens."""
    for one in sequences:
        group = groups[one.group]
        if one.version is not None and (group.version is None or one.version < group.version):
            group.version = one.version
