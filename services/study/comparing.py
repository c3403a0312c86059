"""What a study says: arms against the baseline, power laws, efficiencies, curves over seeds."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from services.statistics import (
    Difference,
    PowerLaw,
    Score,
    mean_over_runs,
    power_law,
    runs_difference,
)
from services.study.expand import Planned, configuration_name, run_name
from services.study.measures import MEASURES, Measure, When
from services.study.spec import AxisSpec, Study, is_number
from services.study.table import Collected, Row

LAST = sys.maxsize
"""Stands for the last step of a run, whichever it is."""

THROUGHPUT = "tokens_per_second"
"""The measure that efficiencies are of."""


def last_of(measure: Measure) -> When:
    """When a measure's final value was taken."""
    return "end" if measure.kind == "score" else "run"


@dataclass(frozen=True, slots=True)
class Against:
    """A measure of a configuration against the baseline's, over the seeds of both."""

    configuration: str
    baseline: str
    measure: Measure
    difference: Difference

    @property
    def verdict(self) -> str:
        """``rose`` or ``fell``, for the better or the worse, where the interval leaves out 0."""
        low, high, better = self.difference.low, self.difference.high, self.measure.better
        if low is None or high is None or better == "neither" or low <= 0 <= high:
            return ""
        return "rose" if (low > 0) == (better == "higher") else "fell"


def against_baseline(found: Collected) -> list[Against]:
    """Every configuration against its baseline: the same axes' values, the same seeds."""
    study = found.study
    if study.baseline is None:
        return []
    compared = []
    for run in found.configurations:
        base = study.baseline
        if study.arms:
            base = configuration_name(study, study.baseline, run.point)
        if base == run.configuration:
            continue
        for name in study.measure:
            measure = MEASURES[name]
            ours, theirs = _paired(found, run.configuration, base, measure)
            if ours:
                difference = runs_difference(theirs, ours)
                compared.append(Against(run.configuration, base, measure, difference))
    return compared


def _paired(
    found: Collected, first: str, second: str, measure: Measure
) -> tuple[list[float], list[float]]:
    """Values of both by the seeds that both have."""
    ours = found.by_seed(first, measure.name, last_of(measure))
    theirs = found.by_seed(second, measure.name, last_of(measure))
    seeds = [seed for seed in ours if seed in theirs]
    return [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]


@dataclass(frozen=True, slots=True)
class Point:
    """A place on a curve: the mean over the seeds with its interval, and each seed's value."""

    x: float
    score: Score
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A measure along an axis, or over the steps. ``label``: what distinguishes it."""

    label: str
    points: tuple[Point, ...]
    law: PowerLaw | None = None


def within_unit(score: Score, unit: str) -> Score:
    """An interval cut at 0, a share's at 1 too: Student's t of a few seeds may reach beyond.

    A figure without a unit may be below 0, and is left as it is.
    """
    if not unit or score.low is None or score.high is None:
        return score
    low, high = {"share": (0.0, 1.0), "difference": (-1.0, 1.0)}.get(unit, (0.0, math.inf))
    return Score(score.value, max(low, score.low), min(high, score.high), score.n)


def over_steps(found: Collected, measure: Measure) -> list[Line]:
    """A held-out score in the course of training, mean over the finished seeds of each
    configuration; over all that have begun, where none is finished.

    ``x`` is steps, or sampled tokens where these are what is held equal. Runs that end by a budget
    end at steps of their own: the last point is at their mean.
    """
    lines = []
    for run in found.configurations:
        rows = [
            row
            for row in found.rows
            if (row.configuration, row.measure) == (run.configuration, measure.name)
        ]
        seeds = {row.seed for row in rows if row.when == "end"} or {row.seed for row in rows}
        at: dict[int, list[tuple[float, float]]] = {}
        for row in rows:
            if row.seed in seeds:
                key = LAST if row.when == "end" else row.step
                at.setdefault(key, []).append((_course(found, row), row.value))
        points = tuple(
            _point(fmean(x for x, _ in pairs), [value for _, value in pairs], measure.unit)
            for _, pairs in sorted(at.items())
            if len(pairs) == len(seeds)
        )
        if len(points) > 1:
            lines.append(Line(run.configuration, points))
    return lines


def _course(found: Collected, row: Row) -> float:
    """How far training was when ``row`` was measured: steps, or tokens sampled by then."""
    if "sampled_tokens" not in found.study.hold:
        return row.step
    arm = found.study.arms.get(row.arm)
    name = row.configuration
    if arm and row.measure in arm.take:
        name = configuration_name(found.study, arm.take[row.measure], row.point)
    steps = found.runs[run_name(name, row.seed)].metrics
    return sum(metrics.completion_tokens for metrics in steps if metrics.step <= row.step)


def along(found: Collected, field: str, measure: Measure) -> list[Line]:
    """A measure along a numeric axis: a line for every arm and every point of the other axes."""
    lines = []
    for label, runs in _along(found, field).items():
        points, xs, ys = [], list[float](), list[float]()
        for value, run in runs:
            values = list(found.by_seed(run.configuration, measure.name, last_of(measure)).values())
            if values:
                points.append(_point(value, values, measure.unit))
                xs += [value] * len(values)
                ys += values
        if len(points) > 1:
            law = power_law(xs, ys) if len(points) > 2 and measure.kind == "figure" else None
            lines.append(Line(label, tuple(points), law))
    return lines


def numeric_axes(study: Study) -> dict[str, AxisSpec]:
    """The axes whose values are numbers, several of them."""
    return {
        field: axis
        for field, axis in study.axes.items()
        if len(axis.values) > 1 and all(is_number(value) for value in axis.values)
    }


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Throughput at a size over that at the smallest, over the ratio of sizes; 1 is ideal."""

    label: str
    field: str
    size: float
    throughput: Score
    speedup: Score
    efficiency: Score


def efficiencies(found: Collected) -> list[Efficiency]:
    """Of every axis of kind ``strong`` or ``weak``, seed by seed against its smallest size."""
    table = []
    for field, axis in found.study.axes.items():
        if axis.kind not in ("strong", "weak"):
            continue
        for label, runs in _along(found, field).items():
            table += list(_efficiency(found, label, field, runs))
    return table


def _efficiency(
    found: Collected, label: str, field: str, runs: Sequence[tuple[float, Planned]]
) -> Iterator[Efficiency]:
    smallest, first = runs[0]
    base = found.by_seed(first.configuration, THROUGHPUT, "run")
    for size, run in runs:
        ours = found.by_seed(run.configuration, THROUGHPUT, "run")
        ratios = [ours[seed] / base[seed] for seed in ours if base.get(seed)]
        if ratios:
            scale = size / smallest
            yield Efficiency(
                label=label,
                field=field,
                size=size,
                throughput=mean_over_runs(list(ours.values())),
                speedup=mean_over_runs(ratios),
                efficiency=mean_over_runs([ratio / scale for ratio in ratios]),
            )


def _along(found: Collected, field: str) -> dict[str, list[tuple[float, Planned]]]:
    """Configurations along an axis, by what else distinguishes them, sorted by its values."""
    lines: dict[str, list[tuple[float, Planned]]] = {}
    for run in found.configurations:
        values: Mapping[str, Any] = dict(run.point)
        others = [f"{key.rpartition('.')[2]} {value}" for key, value in run.point if key != field]
        label = ", ".join([run.arm, *others] if run.arm else others)
        lines.setdefault(label, []).append((float(values[field]), run))
    return {label: sorted(runs, key=lambda pair: pair[0]) for label, runs in lines.items()}


def _point(x: float, values: Sequence[float], unit: str) -> Point:
    return Point(float(x), within_unit(mean_over_runs(values), unit), tuple(values))
