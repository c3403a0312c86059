"""Dashboards as Grafana wants them, through Grafana's foundation SDK."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard

from services.dashboards.coevolution import COEVOLUTION
from services.dashboards.panels import VARIABLES, Dashboard, Panel
from services.dashboards.reliability import RELIABILITY
from services.dashboards.throughput import THROUGHPUT

DASHBOARDS = (COEVOLUTION, THROUGHPUT, RELIABILITY)
TAG = "coevolve"
HEIGHT = 8
SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
SCOPES = {"cluster": "", "job": 'cluster=~"$cluster"', "run": 'cluster=~"$cluster",job=~"$job"'}
"""What each variable offers: label values among series of what is chosen before it."""

Drawn = timeseries.Panel | stat.Panel | statetimeline.Panel


def dashboard_json(spec: Dashboard) -> str:
    """A dashboard as Grafana imports it, as indented JSON with a line end."""
    model = json.loads(json.dumps(_built(spec), cls=JSONEncoder))
    return json.dumps(_plain(model), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def dashboard_model(spec: Dashboard) -> dict[str, Any]:
    """The same as the object that Grafana's HTTP API takes."""
    model: dict[str, Any] = json.loads(dashboard_json(spec))
    return model


def _plain(node: Any) -> Any:
    """Floats that are whole as integers: Grafana writes them so."""
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    return int(node) if isinstance(node, float) and node.is_integer() else node


def _built(spec: Dashboard) -> dashboard.Dashboard:
    builder = (
        builders.Dashboard(spec.title)
        .uid(spec.uid)
        .description(spec.description)
        .tags([TAG])
        .readonly()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .time("now-3h", "now")
        .timezone("browser")
        .refresh("30s")
        .link(
            builders.DashboardLink("Coevolve")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(
            builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
    )
    for name in VARIABLES:
        builder = builder.with_variable(_variable(name))
    numbers = count(1)
    for title, panels in spec.rows.items():
        builder = builder.with_row(builders.Row(title).id(next(numbers)))
        for panel in panels:
            builder = builder.with_panel(_panel(panel, next(numbers)))
    return builder.build()


def _variable(name: str) -> builders.QueryVariable:
    scope = SCOPES[name]
    series = f"coevolve_step{{{scope}}}" if scope else "coevolve_step"
    return (
        builders.QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query(f"label_values({series}, {name})")
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        # What has no such label, as a run that is not on a cluster, is of All too.
        .all_value(".*")
        .current(dashboard.VariableOption(text=["All"], value=["$__all"], selected=True))
    )


def _panel(spec: Panel, number: int) -> Drawn:
    panel = _drawn(spec).id(number).title(spec.title).description(spec.good).datasource(SOURCE)
    panel = panel.unit(spec.unit).height(HEIGHT).span(spec.width)
    if spec.low is not None:
        panel = panel.min(spec.low)
    if spec.high is not None:
        panel = panel.max(spec.high)
    if spec.needs:
        panel = panel.no_value(f"Nothing (needs: {spec.needs})")
    for letter, query in zip("ABCDEF", spec.queries, strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(query.expr).datasource(SOURCE)
        target = target.legend_format(query.legend)
        panel = panel.with_target(target.instant() if spec.kind == "figure" else target.range())
    return panel


def _drawn(spec: Panel) -> Drawn:
    """The kind of panel, with what belongs to the kind."""
    if spec.kind == "figure":
        limit = [dashboard.Threshold(value=None, color="green")]
        if spec.red_above is not None:
            limit.append(dashboard.Threshold(value=spec.red_above, color="red"))
        return (
            stat.Panel()
            .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
            .graph_mode(common.BigValueGraphMode.NONE)
            .thresholds(
                builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(limit)
            )
        )
    if spec.kind == "states":
        return (
            statetimeline.Panel()
            .show_value(common.VisibilityMode.NEVER)
            .merge_values(True)
            .line_width(0)
            .fill_opacity(70)
        )
    panel = (
        timeseries.Panel()
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
        .line_width(2)
        .show_points(common.VisibilityMode.AUTO)
    )
    if spec.kind == "stacked":
        panel = panel.fill_opacity(30).stacking(
            common_builders.StackingConfig().mode(common.StackingMode.NORMAL)
        )
    if spec.logarithmic:
        panel = panel.scale_distribution(
            common_builders.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10)
        )
    return panel
