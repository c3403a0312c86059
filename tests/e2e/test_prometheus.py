"""A real Prometheus watches a real run on a real Ray node: every panel and every rule has data."""

from __future__ import annotations

import math
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from prometheus import PROMETHEUS, Prometheus, free_port, prometheus
from small_runs import tiny_run

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
RAY = Path(sys.executable).parent / "ray"
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
        found = self.prometheus.values(expr, self.start, self.end)
        return [value for value in found if not math.isnan(value)]


@contextmanager
def ray_node(folder: Path, environment: dict[str, str], metrics: int) -> Iterator[None]:
    """A Ray head whose agent serves metrics on a port that is known."""
    options = {
        "port": environment["RAY_ADDRESS"].rpartition(":")[2],
        "metrics-export-port": metrics,
        "include-dashboard": "false",
        "ray-client-server-port": free_port(),
        "num-cpus": 16,
        "temp-dir": folder,
        "node-ip-address": "127.0.0.1",
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    log = (folder / "ray.log").open("w")
    process = subprocess.Popen(
        [str(RAY), "start", "--head", "--block", *words],
        env=environment,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield
    finally:
        below = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
        for each in psutil.wait_procs(below, timeout=10)[1]:
            each.kill()
        log.close()


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    # Not pytest's folder: Ray's sockets have names, which must be short.
    folder = Path(tempfile.mkdtemp(prefix="watched-"))
    port, ray_port = free_port(), free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {
        "HOME": str(folder),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ADDRESS": f"127.0.0.1:{free_port()}",
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
    }
    config = tiny_run(
        folder / "runs",
        "watched",
        steps=STEPS,
        metrics={"port": port},
        checkpoints={"every": 4},
        evaluation={"tasks": 24, "tasks_between": 8, "candidates": 4, "every": 4},
    )
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    targets = {"driver": [f"127.0.0.1:{port}"], "ray": [f"127.0.0.1:{ray_port}"]}
    try:
        with (
            ray_node(folder, environment, ray_port),
            prometheus(folder, targets, DEPLOY / "prometheus" / "rules.yaml") as server,
        ):
            start = time.time()
            done = subprocess.run(
                [sys.executable, "-m", "services.cli", "train", str(file)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=RUN_SECONDS,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            yield Watched(server, folder, start, time.time())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_prometheus_saw_what_the_run_wrote_down(watched):
    run = read_run(watched.folder / "runs" / "watched")
    assert max(watched.values("coevolve_step")) >= STEPS - 1
    seen = set(watched.values('coevolve_reward_mean{objective="solve"}'))
    written = {m.reward["solve"] for m in run.metrics}
    assert seen <= {pytest.approx(value) for value in written} | seen & written
    assert len(seen) >= 2
    tokens = sum(m.completion_tokens for m in run.metrics)
    assert tokens / 2 < max(watched.values("coevolve_completion_tokens_total")) <= tokens
    assert watched.values('coevolve_other{x="y"}') == []


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
