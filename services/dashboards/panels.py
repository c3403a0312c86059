"""What a dashboard is made of, before it is Grafana's: panels, queries, and how they are chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from services.metrics.catalogue import MEASURES

VARIABLES = ("cluster", "job", "run")
CHOSEN_TARGET = 'cluster=~"$cluster",job=~"$job"'
"""Series of the chosen scrape targets. A target without a label ``cluster`` matches All."""
CHOSEN_RUN = f'{CHOSEN_TARGET},run=~"$run"'

Needs = Literal["", "gpu", "cluster", "fault"]
"""What has to be there, or to happen, for a panel to show anything."""


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and the legend of its series."""

    expr: str
    legend: str = "{{run}}"


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel. ``good``: a sentence that says what good looks like; it becomes its description.

    ``unit`` is one of Grafana's. ``low`` and ``high`` fix the axis. ``red_above``: from there on
    a single figure is red.
    """

    title: str
    good: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: Literal["lines", "stacked", "figure", "states"] = "lines"
    low: float | None = None
    high: float | None = None
    logarithmic: bool = False
    red_above: float | None = None
    needs: Needs = ""
    width: int = 8


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard: rows of panels, each row under a title."""

    uid: str
    title: str
    description: str
    rows: dict[str, tuple[Panel, ...]] = field(default_factory=dict)

    @property
    def panels(self) -> list[Panel]:
        """All panels, row by row."""
        return [panel for panels in self.rows.values() for panel in panels]


def chosen(name: str, **labels: str) -> str:
    """The selector of a metric of the catalogue, for the chosen runs.

    Args:
        name: without prefix; a name that is not in the catalogue is a KeyError.
        labels: further labels and their values.
    """
    return selector(name, CHOSEN_RUN, **labels)


def selector(name: str, matchers: str = "", **labels: str) -> str:
    """The selector of a metric of the catalogue, with ``matchers`` and label values.

    Raises:
        KeyError: there is no such metric.
        ValueError: it has no such label, or the label no such value.
    """
    measure = MEASURES[name]
    for label, value in labels.items():
        if value not in measure.labels.get(label, ()):
            raise ValueError(f"{name} has no {label}={value!r}")
    parts = [matchers] if matchers else []
    parts += [f'{label}="{value}"' for label, value in labels.items()]
    inside = ",".join(parts)
    return f"{measure.exposed}{{{inside}}}" if inside else measure.exposed


def rate(name: str, **labels: str) -> str:
    """A counter's rise per second."""
    return f"rate({chosen(name, **labels)}[$__rate_interval])"
