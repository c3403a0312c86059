"""Real generators and a real learner of so many ranks, measured part by part and as a whole.

Everything is alive at once and takes turns in rounds: what else the machine does in a minute
falls on parts and on runs alike. For a process of its own (``services.bench.processes``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import psutil

from actors.broadcaster import Broadcaster
from actors.faults import Fault, RestartBudget
from actors.generator_pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.recycler_actor import Recycler
from actors.refs import GroupRef
from actors.runtime import ray_session
from actors.verifier_pool import VerifierPool
from contracts.config import RunConfig
from contracts.types import Objective, Prompt
from learner.leaning import leans_of
from services.batches import BatchMaker
from services.bench.processes import Turns
from services.bench.variants.loop import some_steps
from services.clock import PhaseClock
from services.controller import Actors, Controller
from services.evaluation import Evaluator
from services.gate import Gate
from services.plan.measured import (
    RunSeen,
    SampleSeen,
    SendSeen,
    SessionWork,
    StepSeen,
    UpdateSeen,
    Usage,
    seen,
    write_seen,
)
from services.rollouts import Rollouts
from services.run_folder import read_run
from services.signals import StopRequest
from services.tasks import TaskSplit, load_tasks
from services.tasks.stream import TaskStream
from services.training import Prepared, opened
from services.weight_checks import WeightChecks

SHARES = (0.2, 0.45, 1.0)
"""Of the groups of a batch, for updates of several sizes."""
SENDS = 3
"""Broadcasts of which the first, over a new group, does not count."""


def run(work: SessionWork, turns: Turns) -> None:
    """Start everything, and measure a round a turn. The first is not to be counted."""
    with Session.open(work) as session:
        number = 0
        while True:
            turns.begin()
            session.round(number)
            turns.end()
            number += 1


@dataclass
class Session:
    """The running parts. ``controllers``: of the whole loop; these and ``rollouts`` by number of
    generators. ``short``: one generator, one token of each completion."""

    work: SessionWork
    pools: dict[int, GeneratorPool]
    learner: LearnerGroup
    controllers: dict[int, Controller]
    recycler: Recycler
    rollouts: dict[int, Rollouts]
    short: Rollouts
    maker: BatchMaker
    watch: Watch
    version: int = 0
    number: int = 0
    asked: int = 0

    @classmethod
    @contextmanager
    def open(cls, work: SessionWork) -> Iterator[Session]:
        """Start the actors; all end with the block."""
        config = work.config
        tasks = load_tasks(config.tasks, config.recycle.style)
        with ExitStack() as stack:
            prepared = {
                count: stack.enter_context(opened(named(config, count), tasks, "replace"))
                for count in work.generators
            }
            first, _ = prepared[work.generators[0]]
            logs = first.folder.logs
            stack.enter_context(ray_session(logs))
            verifiers = VerifierPool.start(config, logs)
            stack.callback(verifiers.stop)
            recycler = Recycler.start(config, logs)
            stack.callback(recycler.stop)
            pool = GeneratorPool.launch(config, first.model.folder, logs)
            stack.callback(pool.stop)
            learner = LearnerGroup.start(config, first.model.folder, logs)
            stack.callback(learner.stop)
            pool.wait_until_started()
            pools = {count: part(pool, named(config, count)) for count in work.generators}
            controllers = {}
            for count, (ready, recorder) in prepared.items():
                rollouts = Rollouts(pools[count], verifiers, ready.config)
                controllers[count] = Controller(
                    ready.config,
                    actors=Actors(pools[count], learner, sender(ready.config, learner, pools)),
                    maker=_maker(ready, rollouts, recycler),
                    checks=WeightChecks(ready.config, pools[count], learner, []),
                    evaluator=Evaluator(rollouts, ready.tasks.held_out, ready.config),
                    recorder=recorder,
                    stop=StopRequest(),
                )
            sampling = {n: Rollouts(pool, verifiers, config) for n, pool in pools.items()}
            yield cls(
                work=work,
                pools=pools,
                learner=learner,
                controllers=controllers,
                recycler=recycler,
                rollouts=sampling,
                short=Rollouts(pools[min(pools)], verifiers, shortened(config)),
                maker=_maker(first, sampling[min(pools)], recycler),
                watch=Watch.of_this_process(),
            )

    def round(self, number: int) -> None:
        """Every part, then every run; each round begins with another run."""
        self.number = number
        groups = self._samples()
        self._updates(groups)
        self._sends()
        points = self.work.points
        first = number % len(points)
        for generators, staleness in points[first:] + points[:first]:
            self._run(generators, staleness, steps=2 if number == 0 else self.work.steps)

    def _samples(self) -> list[GroupRef]:
        """One generator samples batches of several sizes, each with what the one before gave; the
        last one all numbers of generators."""
        least, *more = sorted(self.pools)
        self._send(least)
        found: list[GroupRef] = []
        judging: list[Prompt] = []
        for size in self.work.sizes:
            solving = self.maker.solve_prompts(self.number, size, first=self.asked)
            self.asked += size
            asked = [*solving, *judging]
            found = self._sample(asked, self.rollouts[least], least)
            for prompts in (solving, judging):
                if prompts:
                    self._sample(prompts, self.short, least)
            solved = [g.ref for g in found if g.summary.objective is Objective.SOLVE]
            judging = self.recycler.recycle(solved, self.number)
        for generators in more:
            self._send(generators)
            self._sample(asked, self.rollouts[generators], generators)
        return found

    def _sample(
        self, prompts: Sequence[Prompt], rollouts: Rollouts, generators: int
    ) -> list[GroupRef]:
        """What ``short`` samples shows what prompts take."""
        clock = PhaseClock()
        with self.watch.over() as watched:
            groups = rollouts.sample(
                prompts,
                completions=self.work.config.sampling.completions,
                temperature=self.work.config.sampling.temperature,
                seed=self.number,
                clock=clock,
            )
        seconds = clock.take()["generate"]
        write_seen(
            self.work.file,
            SampleSeen(
                round=self.number,
                groups=seen(groups),
                seconds=seconds,
                usage=watched.usage,
                generators=generators,
                whole=rollouts is not self.short,
            ),
        )
        return groups

    def _updates(self, groups: Sequence[GroupRef]) -> None:
        """Updates of several sizes on groups that were just sampled."""
        useful = [group for group in groups if group.summary.has_signal]
        for share in SHARES:
            some = useful[:: max(1, round(1 / share))]
            leans = leans_of([group.summary for group in some], self.work.config.learner)
            with self.watch.over() as watched:
                self.learner.update([some], leans)
            write_seen(
                self.work.file,
                UpdateSeen(
                    round=self.number,
                    ranks=self.work.config.learner.ranks,
                    groups=seen(some),
                    seconds=watched.usage.wall,
                    usage=watched.usage,
                ),
            )

    def _sends(self) -> None:
        """Broadcasts to each number of generators."""
        for count in self.pools:
            broadcaster = sender(named(self.work.config, count), self.learner, self.pools)
            for turn in range(SENDS):
                self.version += 1
                began = time.perf_counter()
                broadcaster.send(self.version)
                seconds = time.perf_counter() - began
                if turn:
                    write_seen(
                        self.work.file,
                        SendSeen(
                            round=self.number,
                            ranks=self.work.config.learner.ranks,
                            receivers=count,
                            seconds=seconds,
                        ),
                    )

    def _send(self, count: int) -> None:
        self.version += 1
        sender(named(self.work.config, count), self.learner, self.pools).send(self.version)

    def _run(self, generators: int, staleness: int, steps: int) -> None:
        """Some steps of the whole loop."""
        controller = self.controllers[generators]
        # The learner's way to the generators is another's by now.
        way = sender(controller.config, self.learner, self.pools)
        controller.actors = replace(controller.actors, broadcaster=way)
        controller.broadcast()
        controller.clock.take()
        before = controller.step
        with self.watch.over() as watched:
            some_steps(controller, steps, staleness)
        write_seen(
            self.work.file,
            RunSeen(
                round=self.number,
                ranks=self.work.config.learner.ranks,
                generators=generators,
                staleness=staleness,
                steps=_steps_of(controller.config, before),
                usage=watched.usage,
            ),
        )


def named(config: RunConfig, generators: int) -> RunConfig:
    """The run on so many of the generators, in a folder of its own."""
    fewer = config.generators.model_copy(update={"count": generators})
    return config.model_copy(update={"generators": fewer, "name": f"{config.name}-{generators}"})


def shortened(config: RunConfig) -> RunConfig:
    """The run with completions of one token."""
    one = config.sampling.model_copy(update={"max_tokens": 1})
    return config.model_copy(update={"sampling": one})


def part(pool: GeneratorPool, config: RunConfig) -> GeneratorPool:
    """The first generators of ``pool``, as many as ``config`` says. They stay ``pool``'s."""
    members = pool._members[: config.generators.count]
    return GeneratorPool(config, members, RestartBudget("generators", config.faults, untold))


def sender(
    config: RunConfig, learner: LearnerGroup, pools: dict[int, GeneratorPool]
) -> Broadcaster:
    """A way for weights from ``learner`` to the generators of ``config``."""
    return Broadcaster(config, learner, pools[config.generators.count], untold)


def untold(fault: Fault) -> None:
    """A fault in a measurement spoils it.

    Raises:
        CoevolveError: the fault.
    """
    raise fault.cause


def _maker(prepared: Prepared, rollouts: Rollouts, recycler: Recycler) -> BatchMaker:
    tasks: TaskSplit = prepared.tasks
    config = prepared.config
    return BatchMaker(
        config,
        tasks=TaskStream(tasks.train, config.tasks.seed),
        rollouts=rollouts,
        recycler=recycler,
        gate=Gate(closed=config.transfer.when == "between_batches"),
    )


def _steps_of(config: RunConfig, before: int) -> tuple[StepSeen, ...]:
    """The steps that a run has written down after the first ``before``."""
    found = read_run(config.folder)
    return tuple(
        StepSeen(
            seconds=timing.seconds,
            phases=timing.phases,
            idle={str(side): share for side, share in timing.idle.items()},
            tokens=metrics.completion_tokens,
            groups=metrics.groups,
        )
        for metrics, timing in zip(found.metrics[before:], found.timing[before:], strict=True)
    )


KINDS = {"ray::Generator": "generators", "ray::LearnerRank": "learner"}
"""How titles of processes begin; their children are of the same kind. All others: the driver."""


@dataclass
class Watch:
    """Processor time of this process and its children, by what they are."""

    processes: list[tuple[psutil.Process, str]]

    @classmethod
    def of_this_process(cls) -> Watch:
        """Of all that run now."""
        own = psutil.Process()
        found = {own.pid: (own, "driver")}
        for process in own.children(recursive=True):
            try:
                title, parent = " ".join(process.cmdline()), process.ppid()
            except psutil.NoSuchProcess:
                continue
            above = found[parent][1] if parent in found else "driver"
            kind = next((k for start, k in KINDS.items() if title.startswith(start)), above)
            found[process.pid] = (process, kind)
        return cls(list(found.values()))

    @contextmanager
    def over(self) -> Iterator[Watched]:
        """Processor time in the block; known at its end."""
        before, machine, began = self._seconds(), _busy(), time.perf_counter()
        watched = Watched()
        yield watched
        wall = time.perf_counter() - began
        used = {kind: seconds - before[kind] for kind, seconds in self._seconds().items()}
        others = max(0.0, _busy() - machine - sum(used.values()))
        watched.usage = Usage(wall=wall, others=others, **used)

    def _seconds(self) -> dict[str, float]:
        used = {"driver": 0.0, "generators": 0.0, "learner": 0.0}
        for process, kind in self.processes:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            used[kind] += times.user + times.system
        return used


@dataclass
class Watched:
    """What a block used."""

    usage: Usage = field(
        default_factory=lambda: Usage(wall=0, generators=0, learner=0, driver=0, others=0)
    )


def _busy() -> float:
    """Processor seconds that the machine was busy, since it started."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - times.guest)
