"""Costs measured on this machine by ``coevolve bench plan``, and predictions from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from contracts.config import CPU_BLOCK, RunConfig
from contracts.errors import UserError
from services.bench.records import Record
from services.plan.answer import Answer, layout_of
from services.plan.costs import Load
from services.plan.inputs import PlanFile
from services.plan.predict import Prediction, laid_out, simulated, summed_up
from services.plan.workload import Workload

LEAST = 0.2
"""Processors that are left at the least, whatever others do."""


class GeneratorFit(Record):
    """Seconds of a generator that is alone: of a sequence, an engine step, and a token.

    ``prompt``: of a token that is not sampled. ``error``: median relative error of the fit.
    """

    sequence: float
    step: float
    token: float
    prompt: float
    error: float


class UpdateFit(Record):
    """Seconds of a rank's update where so many have a processor each: its own, and a token's."""

    fixed: float
    token: float
    error: float


class Calibration(Record):
    """All that the simulation needs of a machine.

    ``crowd``: by generators that sample at once, what each costs over one alone, which
    ``generator`` is of. ``updates``: by ranks; ``broadcasts``: seconds by receivers.
    ``routing``: seconds of one processor for a completion, beside sampling; ``grading``,
    ``recycling``, ``bookkeeping``: a batch, a batch, a step. ``run``: the configuration it was
    measured with. ``load``: processors that others kept busy meanwhile; ``yields``: whether they
    went first (``nice``), or shared.
    """

    machine: str
    versions: dict[str, str]
    model: str
    cores: int
    load: float
    yields: bool
    generator: GeneratorFit
    crowd: dict[int, float]
    updates: dict[int, UpdateFit]
    broadcasts: dict[int, float]
    routing: float
    grading: float
    recycling: float
    bookkeeping: float
    workload: Workload
    run: RunConfig


def read_calibration(file: Path) -> Calibration:
    """A calibration as ``coevolve bench plan --json`` writes it.

    Raises:
        UserError: there is none.
    """
    try:
        return Calibration.model_validate_json(file.read_text())
    except (OSError, ValidationError) as error:
        raise UserError(
            "no calibration that can be read",
            where=str(file),
            remedy="coevolve bench plan --json FILE writes one.",
        ) from error


@dataclass(frozen=True)
class Measured:
    """Costs of ``calibration``; between numbers of generators, ranks and receivers that were
    measured, on a straight line over their logarithm. ``load``: processors that others keep busy.
    """

    calibration: Calibration
    generators: int
    ranks: int
    load: float
    slots: int = 1_000_000
    block: int = CPU_BLOCK

    @property
    def processors(self) -> float:
        """All cores; or what others leave, where they go first."""
        cores = float(self.calibration.cores)
        return max(LEAST, cores - self.load) if self.calibration.yields else cores

    @property
    def crowd(self) -> float:
        """Cost of a generator over that of one alone."""
        return between(self.calibration.crowd, self.generators)

    @property
    def background(self) -> float:
        """Demand of others, where they share."""
        return 0.0 if self.calibration.yields else self.load

    @property
    def generator_demand(self) -> float:
        """A thread."""
        return 1.0

    @property
    def rank_demand(self) -> float:
        """A thread."""
        return 1.0

    def batch(self, sequences: int) -> float:
        """Of a generator."""
        return self.crowd * self.calibration.generator.sequence * sequences

    def prefill(self, sequences: int, tokens: int, pairs: float) -> float:  # noqa: ARG002
        """By tokens."""
        return self.crowd * self.calibration.generator.prompt * tokens

    def decode(self, running: int, context: float) -> float:  # noqa: ARG002
        """By sequences; contexts are short."""
        fit = self.calibration.generator
        return self.crowd * (fit.step + fit.token * running)

    def update(self, loads: Sequence[Load]) -> float:
        """By the tokens of the rank that has most."""
        most = max(load.tokens for load in loads)
        return self._update("fixed") + self._update("token") * most

    def broadcast(self, receivers: int) -> float:
        """By receivers."""
        return between(self.calibration.broadcasts, receivers)

    def routing(self, completions: int) -> float:
        """By completions."""
        return self.calibration.routing * completions

    def grading(self) -> float:
        """Of a batch."""
        return self.calibration.grading

    def recycling(self) -> float:
        """Of a batch."""
        return self.calibration.recycling

    def bookkeeping(self) -> float:
        """Of a step."""
        return self.calibration.bookkeeping

    def checkpoint(self, ranks: int) -> float:  # noqa: ARG002
        """Not measured: a plan on measured costs is made without checkpoints."""
        return 0.0

    def _update(self, field: str) -> float:
        found = {ranks: getattr(fit, field) for ranks, fit in self.calibration.updates.items()}
        return between(found, self.ranks)


def between(values: Mapping[int, float], place: int) -> float:
    """The value at ``place``: on a line over the logarithm; beyond the ends, that of the end."""
    places = sorted(values)
    return float(
        np.interp(math.log(place), [math.log(p) for p in places], [values[p] for p in places])
    )


def predict_measured(
    calibration: Calibration, config: RunConfig, *, steps: int, seed: int, load: float = 0.0
) -> Prediction:
    """A step of ``config`` on the machine of ``calibration``, where others cause ``load``."""
    costs = Measured(calibration, config.generators.count, config.learner.ranks, load)
    without = config.model_copy(
        update={"checkpoints": config.checkpoints.model_copy(update={"every": 0})}
    )
    found = simulated(without, calibration.workload, costs, steps=steps, seed=seed)
    layout = layout_of(config, config.generators.count, config.learner.ranks)
    return summed_up(layout, found, {}, fits=True)


def answer_measured(
    plan: PlanFile, calibration: Calibration, layouts: Sequence[tuple[int, int]]
) -> Answer:
    """Predictions for ``layouts``: numbers of generators and of learner ranks; none: as measured.

    The run is the one that was measured, with what ``run`` of the plan says on top.
    """
    config = calibration.run if not plan.run else _changed(calibration.run, plan)
    pairs = layouts or [(config.generators.count, config.learner.ranks)]
    chosen = []
    for generators, ranks in pairs:
        laid = laid_out(config, layout_of(config, generators, ranks))
        chosen.append(predict_measured(calibration, laid, steps=plan.steps, seed=plan.seed))
    return Answer(
        title=plan.title,
        costs=f"measured on {calibration.machine}",
        model=calibration.model,
        parameters=0.0,
        chosen=tuple(chosen),
        tried=(),
        assumed=(
            f"costs are those of {calibration.model}, a thread each, on {calibration.cores} cores "
            "that all processes share evenly, and nobody else",
            "lengths are drawn from those that were measured, independent of each other",
            "not simulated: evaluations, checkpoints, faults, checks of weights, start-up",
        ),
    )


def _changed(run: RunConfig, plan: PlanFile) -> RunConfig:
    from contracts.loading import load_config

    base = run.model_dump(mode="json")
    return load_config(None, [], base=_over(base, plan.run))


def _over(low: Mapping[str, object], high: Mapping[str, object]) -> dict[str, object]:
    result = dict(low)
    for key, value in high.items():
        old = result.get(key)
        inside = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = _over(dict(old), dict(value)) if inside else value  # type: ignore[call-overload]
    return result
