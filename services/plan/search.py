"""The best use of so many GPUs: split, staleness, batch and tensor parallelism, by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from contracts.config import RunConfig
from contracts.errors import UserError
from services.plan.inputs import PlanFile
from services.plan.predict import Layout, Prediction, predict
from services.plan.shape import ModelShape

FIRST = 9
"""Splits that are looked at first, evenly from few learner ranks to many."""
GRAINS = 64
"""Of more GPUs than this, ranks are a multiple of their 64th part."""
ROUNDS = 2
"""How often the neighbourhood of the best split is looked at more closely."""

Say = Callable[[str], None]


@dataclass
class Search:
    """The search for one number of GPUs. ``found``: all that was simulated."""

    plan: PlanFile
    config: RunConfig
    model: ModelShape
    gpus: int
    say: Say = lambda _: None
    found: dict[Layout, Prediction] = field(default_factory=dict)

    def split(self, ways: int, staleness: int, tasks: int) -> None:
        """Look for the best split: a coarse grid, then between the neighbours of the best."""
        layout = Layout(
            gpus=self.gpus,
            generators=self.gpus,
            tensor_parallel=ways,
            ranks=self.gpus,
            staleness=staleness,
            tasks=tasks,
            shared=self.config.placement == "shared",
        )
        if layout.shared:
            self.found[layout] = self._predict(layout)
            return
        fixed = self.plan.learner_gpus
        ranks = list(_grid(self.gpus, ways)) if fixed is None else [fixed]
        tried: dict[int, Prediction] = {}
        for _ in range(1 + ROUNDS):
            for count in ranks:
                generators = (self.gpus - count) // ways
                if generators >= 1 and count not in tried:
                    one = layout.model_copy(update={"ranks": count, "generators": generators})
                    tried[count] = self.found[one] = self._predict(one)
            ranks = _between(tried, self.gpus, ways) if fixed is None else []

    def _predict(self, layout: Layout) -> Prediction:
        generators = f"{layout.generators} generators of {layout.tensor_parallel}"
        self.say(f"{self.gpus} GPUs: {generators}, {layout.ranks} learner ranks")
        steps = self.plan.search.steps
        return predict(self.plan, self.config, self.model, layout, steps)


def propose(
    plan: PlanFile,
    config: RunConfig,
    model: ModelShape,
    gpus: int,
    say: Say = lambda _: None,
) -> tuple[Prediction, list[Prediction]]:
    """The layout to use for ``gpus`` GPUs, and all that were simulated, by learner ranks.

    The most tokens a second that fit into memory; among those within ``search.slack`` of it the
    least stale one, then the one of fewest tasks a step.

    Raises:
        UserError: there is no layout of so many GPUs, or none fits into memory.
    """
    search = Search(plan, config, model, gpus, say)
    for staleness in _staleness(plan, config):
        for tasks in plan.search.batches or (config.tasks_per_step,):
            for ways in plan.search.tensor_parallel or (config.generators.tensor_parallel,):
                search.split(ways, staleness, tasks)
    found = list(search.found.values())
    good = [one for one in found if one.fits]
    if not found:
        raise UserError(
            f"{gpus} GPUs cannot be split between generators and learner",
            where="--gpus",
            remedy="Give more GPUs, fewer GPUs a generator, or run.placement=shared.",
        )
    if not good:
        raise UserError(_too_big(found), where="--gpus", remedy=REMEDY)
    chosen = best(good, plan.search.slack).layout
    return predict(plan, config, model, chosen), sorted(found, key=lambda one: one.layout.ranks)


REMEDY = (
    "Give more GPUs, run.generators.tensor_parallel, run.learner.gradient_checkpointing=true, or "
    "a smaller run.learner.token_budget."
)


def best(good: Sequence[Prediction], slack: float) -> Prediction:
    """The least stale, then smallest, of those that are within ``slack`` of the fastest."""
    most = max(one.tokens_per_second for one in good)
    near = [one for one in good if one.tokens_per_second >= (1 - slack) * most]
    return min(near, key=lambda o: (o.layout.staleness, o.layout.tasks, -o.tokens_per_second))


def _too_big(found: Sequence[Prediction]) -> str:
    least = min(found, key=lambda one: max(one.memory["rank"], one.memory["generator"]))
    need = ", ".join(f"a {who} {least.memory[who]:.0f} GB" for who in ("rank", "generator"))
    return f"nothing fits into {least.memory['limit']:.0f} GB of a GPU: {need}"


def _staleness(plan: PlanFile, config: RunConfig) -> Iterable[int]:
    if config.placement == "shared":
        return (0,)
    most = plan.search.staleness
    return (config.max_staleness,) if most is None else range(most + 1)


def _grid(gpus: int, ways: int) -> Iterator[int]:
    """Numbers of learner ranks to look at first, all that leave room for a generator."""
    most = gpus - ways
    if most < 1:
        return
    counts = (_even(1 + place * (most - 1) / (FIRST - 1), gpus) for place in range(FIRST))
    yield from dict.fromkeys(min(count, most) for count in counts)


def _even(count: float, gpus: int) -> int:
    """``count`` rounded: of many GPUs, to a number that divides into equal parts."""
    unit = max(1, gpus // GRAINS)
    return max(unit, round(count / unit) * unit)


def _between(tried: dict[int, Prediction], gpus: int, ways: int) -> list[int]:
    """Two numbers of ranks on either side of the best, half way and closer to its neighbours."""
    good = {count: one for count, one in tried.items() if one.fits}
    if len(tried) < 2 or not good:
        return []
    top = max(good, key=lambda count: good[count].tokens_per_second)
    lower = max((c for c in tried if c < top), default=0)
    upper = min((c for c in tried if c > top), default=gpus - ways + 1)
    steps = (
        top - math.ceil((top - lower) / 3),
        top - math.ceil(2 * (top - lower) / 3),
        top + math.ceil((upper - top) / 3),
        top + math.ceil(2 * (upper - top) / 3),
    )
    even = dict.fromkeys(_even(count, gpus) for count in steps)
    return [count for count in even if lower < count < upper and count not in tried]
