"""From what was measured of parts to the constants of a calibration.

Every cost is a sum of counts times constants that are not negative. They are fitted by non-
negative least squares of relative errors (scipy), on the counts that the simulation would make of
the very same lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from contracts.config import CPU_BLOCK, RunConfig
from contracts.types import Objective
from services.plan.calibrated import Calibration, GeneratorFit, UpdateFit
from services.plan.costs import Load
from services.plan.decoding import Sampled, Schedule
from services.plan.engines import dealt
from services.plan.measured import (
    GroupSeen,
    MachineSeen,
    RunSeen,
    SampleSeen,
    Seen,
    SendSeen,
    StepSeen,
    UpdateSeen,
)
from services.plan.workload import Lengths, ObjectiveWork, Workload

TICKS = 0.1
"""Seconds of a processor below which its clock, of 10 ms, is too coarse."""
QUANTILES = 41
"""Of measured lengths."""
PHASES = ("generate", "grade", "recycle", "update", "broadcast", "check")
"""Of a step; what is left is bookkeeping."""


@dataclass(frozen=True, slots=True)
class Counting:
    """Costs by which a schedule counts something instead of seconds."""

    step: float = 0.0
    token: float = 0.0
    prompt: float = 0.0
    block: int = CPU_BLOCK

    def prefill(self, sequences: int, tokens: int, pairs: float) -> float:  # noqa: ARG002
        """Prompt tokens."""
        return self.prompt * tokens

    def decode(self, running: int, context: float) -> float:  # noqa: ARG002
        """Engine steps, or tokens."""
        return self.step + self.token * running


def calibrate(found: Sequence[Seen], config: RunConfig) -> Calibration:
    """The constants that ``found`` comes to; the first round of each session does not count.

    Of whole runs, only the steps of one generator and one rank that take turns are used, for what
    no part shows: recycling, grading at the end, bookkeeping, and groups a step.

    Raises:
        ValueError: something was not measured.
    """
    places = [one for one in found if isinstance(one, MachineSeen)]
    counted = [one for one in found if not isinstance(one, MachineSeen) and one.round]
    samples = [one for one in counted if isinstance(one, SampleSeen)]
    updates = [one for one in counted if isinstance(one, UpdateSeen)]
    sends = [one for one in counted if isinstance(one, SendSeen)]
    steps = [
        step
        for one in counted
        if isinstance(one, RunSeen) and one.point == (1, 1, 0)
        for step in one.steady
    ]
    alone = [one for one in samples if one.generators == 1]
    if not (places and alone and updates and sends and steps):
        raise ValueError("machine, samples, updates, broadcasts and a run of 1 and 1 are needed")
    place = places[0]
    used = [one.usage for one in samples] + [one.usage for one in updates]
    load = median([usage.others / usage.wall for usage in used])
    generator = fit_generator(alone, config)
    return Calibration(
        machine=place.machine,
        versions=place.versions,
        model=config.model.name,
        cores=place.cores,
        load=load,
        yields=place.yields,
        generator=generator,
        crowd={1: 1.0}
        | {
            count: fit_crowd([o for o in samples if o.generators == count], generator, config)
            for count in sorted({one.generators for one in samples} - {1})
        },
        updates={
            ranks: fit_update([one for one in updates if one.ranks == ranks], config)
            for ranks in sorted({one.ranks for one in updates})
        },
        broadcasts={
            receivers: median([one.seconds for one in sends if one.receivers == receivers])
            for receivers in sorted({one.receivers for one in sends})
        },
        routing=median([one.usage.driver / _completions(one.groups) for one in alone if one.whole]),
        grading=_phase(steps, "grade"),
        recycling=_phase(steps, "recycle"),
        bookkeeping=median([s.seconds - sum(s.phases.get(p, 0.0) for p in PHASES) for s in steps]),
        workload=workload_of([g for one in alone if one.whole for g in one.groups], steps),
        run=config,
    )


def _phase(steps: Sequence[StepSeen], name: str) -> float:
    return median([step.phases.get(name, 0.0) for step in steps])


def _completions(groups: Sequence[GroupSeen]) -> int:
    return sum(len(group.lengths) for group in groups)


def fit_generator(samples: Sequence[SampleSeen], config: RunConfig) -> GeneratorFit:
    """Seconds of a sequence, an engine step, a token, and one that is not sampled.

    Of its processors' seconds, not of the wall clock: others may have been in the way.
    """
    rows = np.array([_counts(one.groups, config) for one in samples])
    (sequence, step, token, prompt), error = _fit(rows, [one.usage.generators for one in samples])
    return GeneratorFit(sequence=sequence, step=step, token=token, prompt=prompt, error=error)


def fit_crowd(samples: Sequence[SampleSeen], fit: GeneratorFit, config: RunConfig) -> float:
    """Seconds of generators that sample at once over what ``fit`` says of each of them alone.

    Processes beside each other cost each other something (caches, memory).
    """
    costs = np.array([fit.sequence, fit.step, fit.token, fit.prompt])
    ratios = []
    for one in samples:
        places = dealt([group.prompt for group in one.groups], one.generators, config)
        shares = [[one.groups[index] for index in place] for place in places]
        said = sum(float(np.dot(_counts(share, config), costs)) for share in shares if share)
        ratios.append(one.usage.generators / said)
    return median(ratios)


def _counts(groups: Sequence[GroupSeen], config: RunConfig) -> list[float]:
    def count(costs: Counting) -> float:
        sequences = [
            Sampled(number, group.prompt, length)
            for number, group in enumerate(groups)
            for length in group.lengths
        ]
        return Schedule(sequences, config.generators.max_sequences, costs).seconds

    return [
        float(_completions(groups)),
        count(Counting(step=1.0)),
        count(Counting(token=1.0)),
        count(Counting(prompt=1.0)),
    ]


def fit_update(updates: Sequence[UpdateSeen], config: RunConfig) -> UpdateFit:
    """Seconds of a rank's update, and of a token that it forwards, of its processor's seconds."""
    rows = np.array([[float(one.ranks), _tokens(one, config)] for one in updates])
    (fixed, token), error = _fit(rows, [one.usage.learner for one in updates])
    return UpdateFit(fixed=fixed, token=token, error=error)


def _tokens(one: UpdateSeen, config: RunConfig) -> float:
    """Forwarded on all ranks together."""
    load = Load()
    for group in one.groups:
        load.add(group.prompt, group.lengths, shared=config.learner.shared_prefix != "off")
    return float(load.tokens)


def _fit(rows: NDArray[np.float64], seconds: Sequence[float]) -> tuple[list[float], float]:
    """Constants, none negative, and the median relative error.

    Least squares of relative errors; what takes a few ticks of the processors' clock is held to
    as many ticks.
    """
    values = np.array(seconds)
    scale = np.maximum(values, TICKS)
    constants, _ = nnls(rows / scale[:, None], values / scale)
    errors = np.abs(rows @ constants - values) / scale
    return [float(value) for value in constants], float(np.median(errors))


def workload_of(groups: Sequence[GroupSeen], steps: Sequence[StepSeen]) -> Workload:
    """Lengths and signal by objective, and the groups of each a step."""
    made = {}
    for objective in Objective:
        ours = [group for group in groups if group.objective is objective]
        count = round(sum(s.groups.get(objective, 0) for s in steps) / len(steps))
        if not ours:
            continue
        lengths = [length for group in ours for length in group.lengths]
        quantiles = np.quantile(lengths, np.linspace(0, 1, QUANTILES))
        made[objective.value] = ObjectiveWork(
            prompt=sum(group.prompt for group in ours) / len(ours),
            completion=Lengths(quantiles=tuple(float(value) for value in quantiles)),
            signal=sum(group.signal for group in ours) / len(ours),
            groups=count,
        )
    return Workload.model_validate(made)
