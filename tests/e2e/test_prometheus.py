"""A real Prometheus watches a real run on a real Ray node: every panel and every rule has data."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus import PROMETHEUS, Prometheus, free_port, prometheus
from ray_head import ray_head
from small_runs import tiny_run

from contracts.loading import dump_config
from services.dashboards.alerts import ALERTS
from services.dashboards.export import DEPLOY
from services.dashboards.grafana import DASHBOARDS
from services.dashboards.panels import VARIABLES
from services.run_folder import read_run

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(
        PROMETHEUS is None, reason="prometheus is not here: Debian's package of that name has it"
    ),
]

STEPS = 12
RUN_SECONDS = 600
MINUTE = 61
PANELS = [(spec.uid, panel) for spec in DASHBOARDS for panel in spec.panels]


@dataclass
class Watched:
    """A run that is over, and the Prometheus that watched it from ``start`` to ``end``."""

    prometheus: Prometheus
    folder: Path
    start: float
    end: float

    def values(self, expr: str) -> list[float]:
        for name in VARIABLES:
            expr = expr.replace(f"${name}", ".*")
        expr = expr.replace("$__rate_interval", "15s")
        # Rules look back at whole minutes: there is one after the run at the latest.
        found = self.prometheus.values(expr, self.start, self.end + MINUTE)
        return [value for value in found if not math.isnan(value)]


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    port = free_port()
    with ray_head(dashboard=False) as head:
        config = tiny_run(
            head.folder / "runs",
            "watched",
            steps=STEPS,
            cache_dir=str(Path(".cache/models").resolve()),
            metrics={"port": port},
            checkpoints={"every": 4},
            evaluation={"tasks": 24, "tasks_between": 8, "candidates": 4, "every": 4},
        )
        file = head.folder / "run.yaml"
        file.write_text(dump_config(config))
        targets = {"driver": [f"127.0.0.1:{port}"], "ray": [f"127.0.0.1:{head.metrics}"]}
        with prometheus(head.folder, targets, DEPLOY / "prometheus" / "rules.yaml") as server:
            start = time.time()
            done = subprocess.run(
                [sys.executable, "-m", "services.cli", "train", str(file)],
                env=head.environment,
                capture_output=True,
                text=True,
                timeout=RUN_SECONDS,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            yield Watched(server, head.folder, start, time.time())


def test_prometheus_saw_what_the_run_wrote_down(watched):
    run = read_run(watched.folder / "runs" / "watched")
    assert max(watched.values("coevolve_step")) >= STEPS - 1
    seen = set(watched.values('coevolve_reward_mean{objective="solve"}'))
    written = {m.reward["solve"] for m in run.metrics}
    assert seen <= written
    assert len(seen) >= 2
    tokens = sum(m.completion_tokens for m in run.metrics)
    assert tokens / 2 < max(watched.values("coevolve_completion_tokens_total")) <= tokens


@pytest.mark.parametrize(("uid", "panel"), PANELS, ids=[f"{u}: {p.title}" for u, p in PANELS])
def test_every_panel_has_data(watched, uid, panel):
    if panel.needs:
        pytest.skip(f"needs: {panel.needs}; tested with recorded series")
    for query in panel.queries:
        assert watched.values(query.expr), query.expr


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_both_sides_of_every_condition_have_data(watched, alert):
    for case in alert.cases:
        for condition in case:
            assert watched.values(condition.left), condition.left
            assert watched.values(condition.right), condition.right


def test_the_rules_are_evaluated_and_none_fires_on_a_healthy_run(watched):
    (group,) = watched.prometheus.ask("rules")["groups"]
    assert [rule["name"] for rule in group["rules"]] == [alert.name for alert in ALERTS]
    assert {rule["health"] for rule in group["rules"]} == {"ok"}
    assert watched.values('ALERTS{alertstate="firing"}') == []


def test_no_label_has_a_value_that_is_not_in_the_catalogue(watched):
    for label in ("phase", "activity", "kind", "reason", "objective"):
        values = watched.prometheus.ask(f"label/{label}/values", **{"match[]": "{run='watched'}"})
        assert values
        assert "other" not in values
