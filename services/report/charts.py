"""Charts as inline SVG: drawn by matplotlib, freed of everything a page does not need.

A chart is data (``Chart``, ``Curve``); ``draw`` makes the picture. The same data draws the same
bytes. Text stays text, in the fonts of the page, and the legend is left to the page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from scipy.ndimage import gaussian_filter1d

SIZE = (4.4, 2.7)
"""Inches. Small, so that the letters are still readable on a telephone."""

MARGINS = {"left": 0.17, "right": 0.96, "bottom": 0.17, "top": 0.955}
"""Shares of the size; the same in every chart, so that charts beside each other line up."""

MOST_POINTS = 400
"""Longer curves are drawn by the means of this many stretches."""

SMOOTHING = 0.025
"""Standard deviation of the smoothing, as a share of the length of the curve."""

MOST_MARKS = 30
"""Curves of more points than this are drawn without marks."""

DASHES = {"solid": "-", "dashed": (0, (4, 2)), "dotted": (0, (1, 2))}

INK, GRID = "#3b4252", "#e5e9f0"

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.edgecolor": "#9aa5b1",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Curve:
    """A line of a chart: ``y`` over ``x``, finite, with intervals ``low`` to ``high`` if given.

    ``intervals`` are drawn as a band, or as bars where the points stand far apart. ``points``
    draws the measured points too. ``smooth`` draws a mean over neighbouring steps, above a faint
    line of the values themselves.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    colour: str
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    dash: Literal["solid", "dashed", "dotted"] = "solid"
    intervals: Literal["band", "bars"] = "band"
    points: bool = False
    smooth: bool = False


@dataclass(frozen=True)
class Chart:
    """A picture to draw. ``stacked`` draws the curves as layers, from the first upwards.

    ``unit`` ``share`` shows 0..1 as per cent over the whole range, ``percent`` as per cent over
    the range that occurs; ``x_unit`` is that of the other axis. ``level`` is a dashed line for
    comparison, such as chance; ``diagonal`` draws it from corner to corner.
    """

    id: str
    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    unit: Literal["share", "percent", "number"] = "number"
    stacked: bool = False
    level: float | None = None
    note: str = ""
    x_unit: Literal["steps", "share"] = "steps"
    diagonal: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(curve.x for curve in self.curves)


def draw(chart: Chart) -> str:
    """The chart as an ``<svg>`` element, without fixed size, ids unique to the chart."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": chart.id}):
        figure = Figure(figsize=SIZE)
        figure.subplots_adjust(**MARGINS)
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        _layers(axes, chart) if chart.stacked else _lines(axes, chart)
        _finish(axes, chart)
        return svg_of(figure, chart.title)


def svg_of(figure: Figure, title: str) -> str:
    """A figure as an ``<svg>`` element; called within the ``rc_context`` that it was drawn in."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=nothing, transparent=True)
    return _embeddable(file.getvalue(), title)


def smoothed(values: Sequence[float]) -> list[float]:
    """Means over neighbouring values, as much before as after, so that nothing lags behind."""
    width = SMOOTHING * len(values)
    return [float(value) for value in gaussian_filter1d(values, width, mode="nearest")]


def thin(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """At most ``MOST_POINTS`` points: the means of stretches of equal length."""
    if len(x) <= MOST_POINTS:
        return list(x), list(y)
    parts = np.array_split(np.arange(len(x)), MOST_POINTS)
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    return [float(xs[p].mean()) for p in parts], [float(ys[p].mean()) for p in parts]


def _lines(axes: Axes, chart: Chart) -> None:
    guide: Any = {"color": "#9aa5b1", "linewidth": 1, "linestyle": (0, (4, 3)), "zorder": 1}
    if chart.level is not None:
        axes.axhline(chart.level, **guide)
    if chart.diagonal:
        axes.plot([0, 1], [0, 1], **guide)
    for curve in chart.curves:
        if curve.low:
            _intervals(axes, curve)
        x, y = thin(curve.x, curve.y)
        if curve.smooth:
            axes.plot(x, y, color=curve.colour, alpha=0.25, linewidth=0.8)
            y = smoothed(y)
        axes.plot(
            x,
            y,
            color=curve.colour,
            linewidth=1.8,
            linestyle=DASHES[curve.dash],
            marker="o" if len(x) == 1 or (curve.points and len(x) <= MOST_MARKS) else "",
            markersize=3.5,
        )


def _intervals(axes: Axes, curve: Curve) -> None:
    if curve.intervals == "bars":
        axes.vlines(curve.x, curve.low, curve.high, color=curve.colour, linewidth=1.4)
    else:
        axes.fill_between(
            curve.x, curve.low, curve.high, color=curve.colour, alpha=0.16, linewidth=0
        )


def _layers(axes: Axes, chart: Chart) -> None:
    """Curves on top of each other; all of them have the same ``x``."""
    x = thin(chart.curves[0].x, chart.curves[0].x)[0]
    heights = [thin(curve.x, curve.y)[1] for curve in chart.curves]
    colours = [curve.colour for curve in chart.curves]
    axes.stackplot(x, heights, colors=colours, alpha=0.85, linewidth=0)


def _finish(axes: Axes, chart: Chart) -> None:
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.grid(axis="y")
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=chart.x_unit == "steps"))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.set_ylim(bottom=0, top=1 if chart.unit == "share" else None)
    axes.yaxis.set_major_formatter(FuncFormatter(_number if chart.unit == "number" else _share))
    if chart.x_unit == "share":
        axes.xaxis.set_major_formatter(FuncFormatter(_share))
        # Marks at 0 and at 1 are whole.
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)


def _number(value: float, _: int) -> str:
    """A tick's number: ``0.25``, ``3,000``, ``2.0e-5``."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1e}".replace("e-0", "e-") if 0 < abs(value) < 1e-3 else f"{value:.3g}"


def _share(value: float, _: int) -> str:
    return f"{100 * value:.3g} %"


def _embeddable(svg: str, title: str) -> str:
    """An SVG file as an element of a page.

    Takes away the file's head, its size, name spaces, style sheet (it would reach the whole
    page) and every id that nothing refers to (they are the same in every file).
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", svg)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: m.group(0) if m.group(1) in used else "", svg)
    head, rest = svg.split(">", 1)
    view_box = re.search(r'viewBox="[^"]*"', head)
    assert view_box is not None, "matplotlib wrote an SVG without a view box"
    label = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    rest = re.sub(r"\n\s*", "\n", rest)
    return f'<svg {view_box.group(0)} role="img" aria-label="{label}">{rest}'.strip()
