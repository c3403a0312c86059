"""From a layout of GPUs to what a step on it takes: simulate, and take the mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from contracts.config import RunConfig
from contracts.types import Objective
from services.bench.records import Record
from services.plan.batches import JUDGED
from services.plan.costs import Costs
from services.plan.inputs import OURS, LearnerSpec, PlanFile
from services.plan.memory import Memory, memory_of, slots_of
from services.plan.roofline import Roofline
from services.plan.shape import ModelShape
from services.plan.simulate import Simulation, StepTimes
from services.plan.workload import Workload

ENOUGH = 8192
"""Completions a step from which on a run is divided into equal parts, of which one is simulated."""
SETTLING = 2
"""Steps at the start that do not count, besides those in which batches get ahead."""


class Layout(Record):
    """How GPUs are used. ``shared``: generators and learner take turns on the same ones."""

    gpus: int
    generators: int
    tensor_parallel: int
    ranks: int
    staleness: int
    tasks: int
    shared: bool


class Prediction(Record):
    """What a step takes on average. Seconds, shares, tokens; memory in 10^9 bytes of a GPU.

    ``idle``: share of a step in which no batch is sampled, and in which the learner waits.
    ``sampling``: share in which a generator has something to sample, mean of all.
    ``cost``: dollars of a step; None where there is no price.
    """

    layout: Layout
    step: float
    least: float
    most: float
    phases: dict[str, float]
    idle: dict[str, float]
    sampling: float
    tokens: float
    tokens_per_second: float
    groups: float
    trained: float
    stale: float
    age: float
    memory: dict[str, float]
    fits: bool
    cost: float | None = None
    cost_per_million: float | None = None


@dataclass(frozen=True)
class Steps:
    """The steps of a simulation that count, and their means."""

    steps: Sequence[StepTimes]

    @property
    def seconds(self) -> float:
        """Mean seconds of a step."""
        return self.mean([step.seconds for step in self.steps])

    def mean(self, values: Sequence[float]) -> float:
        """Of so many values as there are steps."""
        return sum(values) / len(values)

    def phases(self) -> dict[str, float]:
        """Mean seconds of each phase."""
        names = sorted({name for step in self.steps for name in step.phases})
        return {n: self.mean([step.phases.get(n, 0.0) for step in self.steps]) for n in names}


def simulated(
    config: RunConfig,
    workload: Workload,
    costs: Costs,
    *,
    steps: int,
    seed: int,
    learner: LearnerSpec = OURS,
) -> Steps:
    """``steps`` steps from the midst of a run: those at its end have nothing ahead of them."""
    settling = SETTLING + config.max_staleness
    fold = folds(config, workload, learner) if math.isinf(costs.processors) else 1
    part, work = folded(config, workload, fold)
    whole = part.model_copy(update={"steps": settling + steps + config.max_staleness})
    found = Simulation(whole, work, costs, seed, learner, fold).run()
    return Steps(found[settling : settling + steps])


def folds(config: RunConfig, workload: Workload, learner: LearnerSpec) -> int:
    """Into how many equal parts a run can be divided that is larger than need be.

    Generators, ranks and groups must come out even, and enough completions be left for the
    longest of them to be about as long.
    """
    groups = _groups(config, workload)
    places = config.learner.ranks // learner.sequence_parallel
    even = math.gcd(config.generators.count, places, *groups)
    if config.learner.ranks % learner.sequence_parallel or config.learner.updates_per_step > 1:
        return 1
    most = sum(groups) * config.sampling.completions // ENOUGH
    return max((n for n in range(1, even + 1) if even % n == 0 and n <= most), default=1)


def _groups(config: RunConfig, workload: Workload) -> list[int]:
    """Groups of each objective a step, as far as there are any."""
    recycle, solve = config.recycle, workload.solve.groups
    counts = [config.tasks_per_step if solve is None else solve]
    if recycle.enabled:
        for name in JUDGED:
            given = workload.of(name).groups
            counts.append(getattr(recycle, name.value) if given is None else given)
    return [count for count in counts if count]


def folded(config: RunConfig, workload: Workload, fold: int) -> tuple[RunConfig, Workload]:
    """One of ``fold`` equal parts of a run: as many times fewer generators, ranks and groups.

    Costs stay those of the whole. What is lost: that the slowest of all is slower than the
    slowest of a part, by what the longest of ``fold`` times the completions is longer.
    """
    if fold == 1:
        return config, workload
    recycle = config.recycle
    part = config.model_copy(
        update={
            "tasks_per_step": config.tasks_per_step // fold,
            "recycle": recycle.model_copy(
                update={name.value: getattr(recycle, name.value) // fold for name in JUDGED}
            ),
            "generators": config.generators.model_copy(
                update={"count": config.generators.count // fold}
            ),
            "learner": config.learner.model_copy(update={"ranks": config.learner.ranks // fold}),
        }
    )
    works = {}
    for objective in Objective:
        work = workload.of(objective)
        count = None if work.groups is None else work.groups // fold
        works[objective.value] = work.model_copy(update={"groups": count})
    return part, workload.model_copy(update=works)


def predict(
    plan: PlanFile,
    config: RunConfig,
    model: ModelShape,
    layout: Layout,
    steps: int | None = None,
) -> Prediction:
    """What a step of ``config`` takes on ``layout``; where it does not fit, as if it did.

    Args:
        steps: to simulate; None: those of the plan.

    Raises:
        UserError: the layout and the configuration do not go together.
    """
    config = laid_out(config, layout)
    gpu = plan.gpu()
    memory = memory_of(model, gpu, plan.assume, config, plan.learner.shard)
    slots = slots_of(model, memory, config, plan.workload)
    fits = memory.fits(shared=layout.shared) and slots > 0
    costs = Roofline(model, gpu, plan.cluster, plan.assume, config, max(1, slots), plan.learner)
    count, seed = steps or plan.steps, plan.seed
    found = simulated(config, plan.workload, costs, steps=count, seed=seed, learner=plan.learner)
    dollars = found.seconds / 3600 * layout.gpus * gpu.price
    return summed_up(layout, found, _memory(memory), fits=fits, dollars=dollars)


def laid_out(config: RunConfig, layout: Layout) -> RunConfig:
    """``config`` with the counts of ``layout``."""
    generators = config.generators.model_copy(
        update={"count": layout.generators, "tensor_parallel": layout.tensor_parallel}
    )
    return config.model_copy(
        update={
            "generators": generators,
            "learner": config.learner.model_copy(update={"ranks": layout.ranks}),
            "max_staleness": layout.staleness,
            "tasks_per_step": layout.tasks,
            "placement": "shared" if layout.shared else "separate",
        }
    )


def summed_up(
    layout: Layout,
    found: Steps,
    memory: dict[str, float],
    *,
    fits: bool,
    dollars: float | None = None,
) -> Prediction:
    """The means of steps."""
    steps = found.steps
    tokens = found.mean([float(step.tokens) for step in steps])
    ages = [age for step in steps for age in step.ages]
    return Prediction(
        layout=layout,
        step=found.seconds,
        least=min(step.seconds for step in steps),
        most=max(step.seconds for step in steps),
        phases=found.phases(),
        idle={
            side: found.mean([step.idle[side] for step in steps])
            for side in ("generators", "learner")
        },
        sampling=found.mean([step.sampling for step in steps]),
        tokens=tokens,
        tokens_per_second=tokens / found.seconds,
        groups=found.mean([float(step.groups) for step in steps]),
        trained=found.mean([float(step.trained) for step in steps]),
        stale=found.mean([float(step.stale) for step in steps]),
        age=sum(ages) / max(1, len(ages)),
        memory=memory,
        fits=fits,
        cost=dollars,
        cost_per_million=None if dollars is None or not tokens else dollars / tokens * 1e6,
    )


def _memory(memory: Memory) -> dict[str, float]:
    return {
        "generator": memory.generator,
        "cache": memory.cache,
        "rank": memory.rank,
        "limit": memory.limit,
    }
