"""Panels that show nothing without GPUs or a cluster: asked of recorded series instead."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml

from services.dashboards.grafana import DASHBOARDS
from services.dashboards.panels import VARIABLES

PROMTOOL = shutil.which("promtool")
TARGET = 'cluster="c",job="j"'
GPU = f'GpuIndex="0",ip="10.0.0.2",{TARGET}'

RECORDED = {
    "GPU utilisation": (
        {f"ray_node_gpus_utilization{{{GPU}}}": "80x10"},
        {f"ray_node_gpus_utilization{{{GPU}}}": 80},
    ),
    "GPU memory": ({f"ray_node_gram_used{{{GPU}}}": "500x10"}, {f"{{{GPU}}}": 500 * 1024**2}),
    "Nodes of the Ray cluster": (
        {
            f'ray_cluster_active_nodes{{node_type="worker",ip="a",{TARGET}}}': "3x10",
            f'ray_cluster_active_nodes{{node_type="head",ip="a",{TARGET}}}': "1x10",
        },
        {'{node_type="worker"}': 3, '{node_type="head"}': 1},
    ),
    "Nodes that failed": (
        {f'ray_cluster_failed_nodes{{node_type="worker",ip="a",{TARGET}}}': "2x10"},
        {'{node_type="worker"}': 2},
    ),
}
"""Series that are there, and what the panel's query makes of them, by the panel's title."""

NEEDY = {panel.title: panel for spec in DASHBOARDS for panel in spec.panels if panel.needs}


def test_every_panel_that_needs_more_than_a_run_is_recorded():
    assert set(RECORDED) == set(NEEDY)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not here: Debian's prometheus has it")
@pytest.mark.parametrize("title", RECORDED)
def test_the_panel_shows_what_was_recorded(title, tmp_path):
    series, expected = RECORDED[title]
    (query,) = NEEDY[title].queries
    expr = query.expr
    for name in VARIABLES:
        expr = expr.replace(f"${name}", ".*")
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": expr,
                "eval_time": "5m",
                "exp_samples": [{"labels": k, "value": v} for k, v in expected.items()],
            }
        ],
    }
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": [], "tests": [test]}))
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", str(tmp_path / "tests.yaml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
