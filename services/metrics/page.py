"""docs/metrics.md, out of the catalogue: ``python -m services.metrics.page``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from services.metrics.catalogue import THEMES, Measure

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"

HEAD = """\
# Metrics

<!-- Written by `python -m services.metrics.page` from services/metrics/catalogue.py. -->

The driver of a run serves these on one port of its own: `metrics.port` of the configuration, on
loopback unless `metrics.host` says otherwise. Every metric carries the label `run`, the name of the
run; labels have no other values than those listed. Names and units follow Prometheus: seconds,
bytes, `_ratio` for shares of 0 to 1, `_total` for counters.

Counters are kept in `counters.json` of the run folder, and go on when a run is resumed: work that
had to be done again counts again. Gauges keep their value when there is nothing new to say; a step
without reflections leaves `coevolve_reflection_ratio` as it was.

The same figures go to TensorBoard and to Weights & Biases with `metrics.sinks=[tensorboard,wandb]`,
by their names here without `coevolve_`, and label values after a slash: `reward_mean/solve`. Both
write into the run folder; `metrics.wandb_mode=online` sends to Weights & Biases as it goes.

The figures of the inference engines and of the machines come from Ray's own agents, port 8080 on
every node of a cluster ([cluster.md](cluster.md)).
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_themes()])


def _themes() -> Iterator[str]:
    for theme, measures in THEMES.items():
        yield f"## {theme}\n"
        yield "| metric | kind | labels | what it is |\n|---|---|---|---|"
        for measure in measures:
            yield f"| `{measure.exposed}` | {measure.kind} | {_labels(measure)} | {measure.text} |"
        yield ""


def _labels(measure: Measure) -> str:
    return "; ".join(f"`{label}`: {', '.join(values)}" for label, values in measure.labels.items())


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")
