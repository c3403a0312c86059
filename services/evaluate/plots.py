"""Accuracy against tokens, and reliability of verdicts, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from services.evaluate.records import DatasetResult, Results, StrategyResult
from services.report.charts import STYLE

COLOURS = {
    "single": "#495057",
    "majority": "#0b6bcb",
    "best-of": "#d9480f",
    "weighted": "#8a3ffc",
    "judge-reflect": "#0c8f6a",
}
NAMES = {
    "single": "single pass",
    "majority": "majority of k",
    "best-of": "best of k by own judge",
    "weighted": "majority of k, weighted by own judge",
    "judge-reflect": "judge-reflect loop",
}
MARKS = ("o", "s", "^", "D", "v", "P")
SET_COLOURS = {"own": "#d9480f", "fixed": "#0b6bcb"}
DOTS_PER_INCH = 150
MOST_SPREAD = 4.0
"""Tokens over more than this ratio are drawn on a logarithmic axis."""


def draw_accuracy(results: Results, dataset: str, path: Path) -> None:
    """Accuracy of every strategy over the tokens of a task, a panel for each model.

    Nothing is drawn where there are no strategies.
    """
    shown = [(name, found.strategies) for name, found in _of(results, dataset) if found.strategies]
    if not shown:
        return
    with matplotlib.rc_context(STYLE):
        # A scale for each panel: before and after training there is too much between them.
        figure, panels = _figure(len(shown), 4.6, 3.9, same_scale=False)
        for panel, (name, strategies) in zip(panels, shown, strict=True):
            _panel(panel, strategies)
            panel.set_title(f"{name}, {dataset}", fontsize=10)
        panels[0].set_ylabel("accuracy, with 95 % intervals")
        _legend(figure, panels)
        _save(figure, path)


def _panel(axes: Axes, strategies: Sequence[StrategyResult]) -> None:
    for place, kind in enumerate(dict.fromkeys(one.kind for one in strategies)):
        points = sorted((one for one in strategies if one.kind == kind), key=lambda o: o.tokens)
        points = [one for one in points if one.accuracy.value is not None]
        heights = [one.accuracy.value or 0.0 for one in points]
        below = [h - (one.accuracy.low or 0.0) for h, one in zip(heights, points, strict=True)]
        above = [(one.accuracy.high or 0.0) - h for h, one in zip(heights, points, strict=True)]
        axes.errorbar(
            [one.tokens for one in points],
            heights,
            yerr=[[max(0.0, b) for b in below], [max(0.0, a) for a in above]],
            label=NAMES[kind],
            color=COLOURS[kind],
            marker=MARKS[place % len(MARKS)],
            markersize=4.5,
            linewidth=1.6,
            elinewidth=1.0,
            capsize=2,
        )
    tokens = [one.tokens for one in strategies if one.tokens > 0]
    if tokens and max(tokens) > MOST_SPREAD * min(tokens):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("tokens per task, read and sampled")
    axes.grid(axis="y")


def draw_reliability(results: Results, dataset: str, path: Path) -> None:
    """How often candidates are right, over the share of yes they got; a panel for each model.

    Nothing is drawn where no calibration was measured.
    """
    shown = [
        (n, d) for n, d in _of(results, dataset) if any(r.reliability for r in d.judge.values())
    ]
    if not shown:
        return
    with matplotlib.rc_context(STYLE):
        figure, panels = _figure(len(shown), 3.6, 3.7, same_scale=True)
        for panel, (name, one) in zip(panels, shown, strict=True):
            _reliability(panel, one)
            panel.set_title(f"{name}, {dataset}", fontsize=10)
        panels[0].set_ylabel("share that is right")
        _legend(figure, panels)
        _save(figure, path)


def _reliability(axes: Axes, found: DatasetResult) -> None:
    axes.plot([0, 1], [0, 1], color="#9aa5b1", linewidth=1, linestyle=(0, (4, 3)))
    for name, record in found.judge.items():
        bins = [one for one in record.reliability if one.accuracy.value is not None]
        if not bins:
            continue
        heights = [one.accuracy.value or 0.0 for one in bins]
        low = [h - (b.accuracy.low or 0.0) for h, b in zip(heights, bins, strict=True)]
        high = [(b.accuracy.high or 0.0) - h for h, b in zip(heights, bins, strict=True)]
        axes.errorbar(
            [one.confidence for one in bins],
            heights,
            yerr=[[max(0.0, v) for v in low], [max(0.0, v) for v in high]],
            label=f"{name} answers",
            color=SET_COLOURS[name],
            marker="o",
            markersize=4,
            linewidth=1.4,
            elinewidth=1.0,
            capsize=2,
        )
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("share of yes among the verdicts")
    axes.grid()


def _of(results: Results, dataset: str) -> list[tuple[str, DatasetResult]]:
    """The results of each model on a data set."""
    return [
        (model.name, found)
        for model in results.models
        for found in model.datasets
        if found.name == dataset
    ]


def _figure(
    panels: int, width: float, height: float, *, same_scale: bool
) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width * panels + 0.3, height), layout="constrained")
    FigureCanvasAgg(figure)
    found = figure.subplots(1, panels, sharey=same_scale, squeeze=False)
    return figure, list(found[0])


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend below all panels."""
    entries = {
        label: handle
        for panel in panels
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=min(len(entries), 2 * len(panels)),
        frameon=False,
        fontsize=8,
    )


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=DOTS_PER_INCH, facecolor="white", metadata={"Software": None})
