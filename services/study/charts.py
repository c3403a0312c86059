"""The plots of a study: each is drawn once, and kept as PNG and as SVG for the page."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from services.report.charts import DASHES, INK, SIZE, STYLE, svg_of
from services.report.curves import PHASE_COLOURS, RUN_COLOURS
from services.statistics import mean_over_runs
from services.study.comparing import (
    Efficiency,
    Line,
    Point,
    along,
    efficiencies,
    last_of,
    numeric_axes,
    over_steps,
    within_unit,
)
from services.study.expand import Planned
from services.study.measures import MEASURES, PHASES, Measure
from services.study.spec import AxisSpec
from services.study.table import Collected

DOTS_PER_INCH = 150
LABEL_LETTERS = 26
"""Longest line of a label."""
SOFT = "#9aa5b1"
MOST_BANDS = 4
"""With more lines than this the bands of their intervals are faint."""
MOST_MARKS = 12
"""Lines of more points than this are drawn without marks."""
UNITS = {"s": "seconds", "tokens/s": "tokens per second"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a legend."""

    label: str
    colour: str
    dash: str = "solid"


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture: how it is drawn, and what has to be said beside it."""

    id: str
    title: str
    draw: Callable[[Axes], None]
    entries: tuple[Entry, ...] = ()
    note: str = ""
    height: float = SIZE[1]

    def save(self, folder: Path) -> str:
        """Write ``ID.png`` into ``folder``, with its title and legend; returns the bare SVG."""
        with matplotlib.rc_context({**STYLE, "svg.hashsalt": self.id}):
            figure = self._figure()
            svg = svg_of(figure, self.title)
        with matplotlib.rc_context(STYLE):
            figure = self._figure(legend=True)
            figure.savefig(
                folder / f"{self.id}.png",
                dpi=DOTS_PER_INCH,
                facecolor="white",
                metadata={"Software": None},
            )
        return svg

    def _figure(self, *, legend: bool = False) -> Figure:
        rows = (len(self.entries) + 1) // 2 if legend and len(self.entries) > 1 else 0
        extra = 0.3 + 0.2 * rows if legend else 0.0
        figure = Figure(figsize=(SIZE[0], self.height + extra), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        self.draw(axes)
        if legend:
            axes.set_title(self.title, fontsize=10, color=INK)
        if rows:
            handles = [
                axes.plot([], [], color=e.colour, linestyle=DASHES[e.dash], linewidth=2)[0]
                for e in self.entries
            ]
            figure.legend(
                handles,
                [entry.label for entry in self.entries],
                loc="outside lower center",
                ncols=2,
                frameon=False,
                fontsize=7.5,
            )
        return figure


def title_of(run: Planned) -> str:
    """A configuration in words: ``spark, completions 4``."""
    parts = [run.arm] if run.arm else []
    parts += [f"{field.rpartition('.')[2]} {value}" for field, value in run.point]
    return ", ".join(parts) or "all"


def colour_of(place: int) -> Entry:
    """Colour and dash of the line at ``place``; the label is left empty."""
    dashes = ("solid", "dashed", "dotted")
    return Entry(
        "", RUN_COLOURS[place % len(RUN_COLOURS)], dashes[(place // len(RUN_COLOURS)) % len(dashes)]
    )


def plots_of(found: Collected) -> dict[str, list[Plot]]:
    """All plots, by the section of the page they belong to."""
    scores = [MEASURES[name] for name in found.study.measure if MEASURES[name].kind == "score"]
    return {
        "ends": [plot for measure in scores if (plot := end_plot(found, measure))],
        "steps": [plot for measure in scores if (plot := step_plot(found, measure))],
        "axes": list(axis_plots(found)),
        "scaling": list(efficiency_plots(found)),
        "time": [plot for plot in [time_plot(found)] if plot],
    }


def end_plot(found: Collected, measure: Measure) -> Plot | None:
    """A score at the end, a line for each configuration; hollow marks are at the start."""
    rows: list[tuple[str, Point, float | None, Entry]] = []
    for place, run in enumerate(found.configurations):
        end = list(found.by_seed(run.configuration, measure.name, "end").values())
        start = list(found.by_seed(run.configuration, measure.name, "start").values())
        if end:
            before = sum(start) / len(start) if start else None
            score = within_unit(mean_over_runs(end), measure.unit)
            point = Point(0.0, score, tuple(end))
            rows.append((title_of(run), point, before, colour_of(place)))
    if not rows:
        return None

    def draw(axes: Axes) -> None:
        for height, (_, point, before, entry) in enumerate(reversed(rows)):
            _dot(axes, height, point, entry.colour)
            if before is not None:
                axes.plot(before, height, "o", mfc="none", mec=SOFT, markersize=4.5, zorder=2)
        if measure.chance is not None:
            axes.axvline(measure.chance, color=SOFT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        names = ["\n".join(textwrap.wrap(row[0], LABEL_LETTERS)) for row in reversed(rows)]
        axes.set_yticks(range(len(rows)), names, fontsize=8)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="x")

    return Plot(f"end-{measure.name}", measure.title, draw, height=0.65 + 0.3 * len(rows))


def step_plot(found: Collected, measure: Measure) -> Plot | None:
    """A score over the steps."""
    lines = over_steps(found, measure)
    if not any(len(line.points) > 2 for line in lines):
        return None
    by_tokens = "sampled_tokens" in found.study.hold
    places = {run.configuration: place for place, run in enumerate(found.configurations)}
    titles = {run.configuration: title_of(run) for run in found.configurations}
    entries = tuple(
        Entry(titles[line.label], (look := colour_of(places[line.label])).colour, look.dash)
        for line in lines
    )

    def draw(axes: Axes) -> None:
        for line, entry in zip(lines, entries, strict=True):
            _curve(axes, line, entry, band=0.14 if len(lines) <= MOST_BANDS else 0.05)
        if measure.chance is not None:
            axes.axhline(measure.chance, color=SOFT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.set_xlabel("completion tokens sampled" if by_tokens else "step")
        axes.xaxis.set_major_locator(MaxNLocator(4 if by_tokens else 6, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(_number))
        _value_axis(axes, measure)

    return Plot(f"steps-{measure.name}", measure.title, draw, entries)


def axis_plots(found: Collected) -> Iterator[Plot]:
    """Every measure along every numeric axis."""
    for field, axis in numeric_axes(found.study).items():
        for name in found.study.measure:
            measure = MEASURES[name]
            if not _tells(measure, axis):
                continue
            if lines := along(found, field, measure):
                yield _axis_plot(field, axis.title or field, measure, lines, axis.kind != "setting")


def _tells(measure: Measure, axis: AxisSpec) -> bool:
    """Whether a plot of ``measure`` along ``axis`` is worth its place."""
    if measure.kind == "score":
        return True
    if measure.name.startswith("seconds_"):
        return False
    return axis.kind != "setting" or measure.better != "neither"


def _axis_plot(
    field: str, title: str, measure: Measure, lines: Sequence[Line], logarithmic: bool
) -> Plot:
    entries = tuple(
        Entry(line.label or measure.title, (look := colour_of(place)).colour, look.dash)
        for place, line in enumerate(lines)
    )
    logarithmic = logarithmic and measure.kind == "figure"
    values = [point.score.value or 0.0 for line in lines for point in line.points]
    shown = logarithmic and min(values) > 0

    def draw(axes: Axes) -> None:
        for place, (line, entry) in enumerate(zip(lines, entries, strict=True)):
            xs = [point.x for point in line.points]
            _curve(axes, line, entry, xs=_aside(xs, place, len(lines), ratio=shown))
            if line.law is not None:
                ends = np.geomspace(xs[0], xs[-1], 30)
                axes.plot(
                    ends,
                    [line.law.at(x) for x in ends],
                    color=entry.colour,
                    linewidth=1,
                    linestyle=(0, (5, 3)),
                )
        axes.set_xlabel(title)
        _value_axis(axes, measure, from_zero=not shown)
        if shown:
            _logarithmic(axes)
        axes.set_xticks(sorted({p.x for line in lines for p in line.points}))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))

    laws = [f"{n.label}: {law_text(n)}".lstrip(": ") for n in lines if n.law is not None]
    note = f"Fitted y = a·x^b. {'; '.join(laws)}." if laws else ""
    name = f"axis-{field.rpartition('.')[2]}-{measure.name}"
    return Plot(name, measure.title, draw, entries, note)


def law_text(line: Line) -> str:
    """A power law's exponent in words."""
    law = line.law
    if law is None:
        return ""
    if law.low is None or law.high is None:
        return f"b = {law.exponent:.2f}".replace("-", "−")
    interval = f"{law.low:.2f} to {law.high:.2f}".replace("-", "−")
    return f"b = {law.exponent:.2f}".replace("-", "−") + f" ({interval}, n = {law.n})"


def efficiency_plots(found: Collected) -> Iterator[Plot]:
    """Efficiency over size, a plot for every axis of kind strong or weak."""
    table = efficiencies(found)
    for field in dict.fromkeys(row.field for row in table):
        yield _efficiency_plot(found, field, [row for row in table if row.field == field])


def _efficiency_plot(found: Collected, field: str, rows: Sequence[Efficiency]) -> Plot:
    axis = found.study.axes[field]
    labels = list(dict.fromkeys(row.label for row in rows))
    entries = tuple(
        Entry(label or f"{axis.kind} scaling", colour_of(place).colour)
        for place, label in enumerate(labels)
    )

    def draw(axes: Axes) -> None:
        axes.axhline(1.0, color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
        for label, entry in zip(labels, entries, strict=True):
            ours = [row for row in rows if row.label == label]
            points = tuple(Point(row.size, row.efficiency, ()) for row in ours)
            _curve(axes, Line(label, points), entry)
        axes.set_xlabel(axis.title or field)
        axes.set_ylabel("efficiency")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({row.size for row in rows}))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.grid(axis="y")

    kind = f"{axis.kind.capitalize()} scaling"
    note = "Tokens per second over those at the smallest size, over the ratio of sizes."
    return Plot(
        f"efficiency-{field.rpartition('.')[2]}", f"{kind}: efficiency", draw, entries, note
    )


def time_plot(found: Collected) -> Plot | None:
    """Where the time of a step went, a bar for each configuration."""
    phases = [phase for phase in PHASES if f"seconds_{phase}" in found.study.measure]
    bars: list[tuple[str, list[float], float]] = []
    for run in found.configurations:
        spent = [_average(found, run, f"seconds_{phase}") for phase in phases]
        if any(spent):
            bars.append((title_of(run), spent, _average(found, run, "step_seconds")))
    if not bars:
        return None

    def draw(axes: Axes) -> None:
        for height, (_, spent, whole) in enumerate(reversed(bars)):
            left = 0.0
            for phase, seconds in zip(phases, spent, strict=True):
                axes.barh(height, seconds, left=left, height=0.62, color=PHASE_COLOURS[phase])
                left += seconds
            if whole:
                axes.plot([whole, whole], [height - 0.4, height + 0.4], color=INK, linewidth=1.4)
        names = ["\n".join(textwrap.wrap(bar[0], LABEL_LETTERS)) for bar in reversed(bars)]
        axes.set_yticks(range(len(bars)), names, fontsize=8)
        axes.set_ylim(-0.6, len(bars) - 0.4)
        axes.set_xlabel("seconds a step")
        axes.grid(axis="x")

    entries = tuple(Entry(phase, PHASE_COLOURS[phase]) for phase in phases)
    note = (
        "Means over steps, the first left out, and seeds. The mark is the whole step: where it "
        "stands left of a bar's end, phases overlap."
    )
    height = 0.75 + 0.32 * len(bars)
    return Plot("time", "Where the time of a step goes", draw, entries, note, height)


def _average(found: Collected, run: Planned, measure: str) -> float:
    values = list(found.by_seed(run.configuration, measure, last_of(MEASURES[measure])).values())
    return sum(values) / len(values) if values else 0.0


def _dot(axes: Axes, height: int, point: Point, colour: str) -> None:
    """A mean with its interval, and the seeds' values, faint."""
    axes.plot(
        point.values, [height] * len(point.values), "|", color=colour, alpha=0.55, markersize=7
    )
    if point.score.low is not None and point.score.high is not None:
        axes.hlines(height, point.score.low, point.score.high, color=colour, linewidth=1.6)
    axes.plot(point.score.value or 0.0, height, "o", color=colour, markersize=5.5, zorder=3)


def _aside(xs: Sequence[float], place: int, lines: int, *, ratio: bool) -> list[float]:
    """``xs`` of the line at ``place``, a little aside, so that intervals do not hide each other."""
    shift = 0.012 * (place - (lines - 1) / 2)
    if ratio:
        return [x * (max(xs) / min(xs)) ** shift for x in xs]
    return [x + (max(xs) - min(xs)) * shift for x in xs]


def _curve(
    axes: Axes, line: Line, entry: Entry, *, band: float = 0.0, xs: Sequence[float] | None = None
) -> None:
    """A line with its intervals: a band of opacity ``band``, or bars. ``xs``: where, if moved."""
    points = line.points
    x = [point.x for point in points] if xs is None else list(xs)
    y = [point.score.value or 0.0 for point in points]
    low = [h if p.score.low is None else p.score.low for p, h in zip(points, y, strict=True)]
    high = [h if p.score.high is None else p.score.high for p, h in zip(points, y, strict=True)]
    if band:
        axes.fill_between(x, low, high, color=entry.colour, alpha=band, linewidth=0)
    else:
        axes.vlines(x, low, high, color=entry.colour, linewidth=1.4)
    axes.plot(
        x,
        y,
        color=entry.colour,
        linewidth=1.7,
        linestyle=DASHES[entry.dash],
        marker="o" if len(x) <= MOST_MARKS else "",
        markersize=3.5,
    )


def _value_axis(axes: Axes, measure: Measure, *, from_zero: bool = True) -> None:
    if measure.unit in ("share", "difference"):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    else:
        axes.set_ylabel(UNITS.get(measure.unit, measure.unit))
        axes.set_ylim(bottom=0 if from_zero else None)
        axes.yaxis.set_major_formatter(FuncFormatter(_number))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(axis="y")


def _logarithmic(axes: Axes) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_number))


def _number(value: float, _: int) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
