"""The values behind the metrics: what Prometheus scrapes, and counters that survive a restart."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from services.metrics.catalogue import MEASURES, OTHER, PREFIX, Measure
from services.run_folder import write_atomically

Key = tuple[str, tuple[str, ...]]
"""Name of a metric without prefix, and its label values in order."""


class Series:
    """All metrics of one run, as a collector of its own registry. Safe to use from many threads.

    Counters start at 0 for every value of their labels: Prometheus cannot tell how much a
    counter rose that was not there before.

    Args:
        run: name of the run, a label of every metric.
        file: where counters are kept; written before a new value can be scraped, so that a run
            that is killed and resumed never shows a smaller one, which would look like a
            restart from zero. None: nowhere.
    """

    def __init__(self, run: str, file: Path | None) -> None:
        self._run, self._file = run, file
        self._lock = threading.Lock()
        self._gauges: dict[Key, float] = {}
        self._live: dict[Key, Callable[[], float]] = {}
        self._totals = dict.fromkeys(_counters(), 0.0)
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def restore(self) -> bool:
        """Take up the counters of an earlier part of the run; False: there are none."""
        if self._file is None or not self._file.is_file():
            return False
        for name, labels, value in json.loads(self._file.read_text()):
            measure = MEASURES.get(name)
            if measure is not None and len(labels) == len(measure.labels):
                self._totals[name, tuple(labels)] = float(value)
        return True

    def set(self, name: str, value: float | None, *labels: str) -> None:
        """Set a gauge; what could not be measured leaves it as it was."""
        if value is not None:
            with self._lock:
                self._gauges[_key(name, labels)] = value

    def follow(self, name: str, value: Callable[[], float], *labels: str) -> None:
        """Ask ``value`` for a gauge whenever it is looked at. Called from any thread."""
        self._live[_key(name, labels)] = value

    def count(self, amounts: Mapping[Key, float]) -> None:
        """Add to counters, all at once."""
        with self._lock:
            totals = dict(self._totals)
            for (name, labels), amount in amounts.items():
                key = _key(name, labels)
                totals[key] = totals.get(key, 0.0) + amount
            self._save(totals)
            self._totals = totals

    def values(self) -> dict[Key, float]:
        """Every value there is."""
        live = {key: value() for key, value in self._live.items()}
        with self._lock:
            return self._gauges | live | self._totals

    def collect(self) -> Iterator[Metric]:
        """What a scrape gets."""
        values = self.values()
        for name, measure in MEASURES.items():
            rows = {labels: value for (owner, labels), value in values.items() if owner == name}
            if rows:
                yield self._family(measure, rows)

    def _family(self, measure: Measure, rows: Mapping[tuple[str, ...], float]) -> Metric:
        kind = GaugeMetricFamily if measure.kind == "gauge" else CounterMetricFamily
        names = ("run", *measure.labels)
        family = kind(f"{PREFIX}{measure.name}", measure.text, labels=names)
        for labels, value in sorted(rows.items()):
            family.add_metric([self._run, *labels], value)
        return family

    def _save(self, totals: Mapping[Key, float]) -> None:
        if self._file is not None:
            rows = [[name, list(labels), value] for (name, labels), value in totals.items()]
            write_atomically(self._file, json.dumps(rows) + "\n")


def _counters() -> Iterator[Key]:
    """Every counter with every value of its labels."""
    for name, measure in MEASURES.items():
        if measure.kind == "counter":
            for labels in product(*measure.labels.values()):
                yield name, labels


def _key(name: str, labels: tuple[str, ...]) -> Key:
    """The key of a series; a label value that is not of the catalogue becomes ``other``."""
    known = MEASURES[name].labels.values()
    bounded = (v if v in values else OTHER for v, values in zip(labels, known, strict=True))
    return name, tuple(bounded)
