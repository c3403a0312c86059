"""The generated dashboards: up to date, of Grafana's schema, and made for people."""

from __future__ import annotations

import enum
import itertools
import json
import re
import shutil
import typing
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard as Model

from services.dashboards.coevolution import COEVOLUTION
from services.dashboards.export import DEPLOY, export, files
from services.dashboards.grafana import DASHBOARDS, dashboard_model
from services.dashboards.panels import CHOSEN_RUN, CHOSEN_TARGET, selector
from services.metrics.catalogue import MEASURES

SPECS = pytest.mark.parametrize("spec", DASHBOARDS, ids=lambda spec: spec.uid)


def test_what_is_committed_is_what_is_generated(tmp_path):
    for path, text in files().items():
        assert (DEPLOY / path).read_text() == text, "coevolve dashboards export"
    assert {path.relative_to(tmp_path) for path in export(tmp_path)} == set(files())


def faults(value: Any, kind: Any, path: str = "") -> list[str]:
    """Where ``value``, decoded by the SDK, is not of the type that Grafana's schema has there."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind is object or isinstance(kind, typing.TypeVar):
        return []
    if origin is typing.Union:
        return min((faults(value, each, path) for each in arguments), key=len)
    if origin is typing.Literal:
        return [] if value in arguments else [f"{path}: {value!r} is none of {arguments}"]
    if origin is list:
        if not isinstance(value, list):
            return [f"{path}: {value!r} is no list"]
        below = (faults(v, arguments[0], f"{path}[{n}]") for n, v in enumerate(value))
        return list(itertools.chain.from_iterable(below))
    if origin is dict:
        return [] if isinstance(value, dict) else [f"{path}: {value!r} is no mapping"]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        # Decoded, they are still the text or number that stands for them.
        known = [each.value for each in kind]
        return [] if value in known else [f"{path}: {value!r} is none of {known}"]
    wanted = (int, float) if kind is float else kind
    if not isinstance(value, wanted) or (kind in (int, float) and isinstance(value, bool)):
        return [f"{path}: {value!r} is no {kind}"]
    if value is None or isinstance(value, (str, int, float)):
        return []
    hints = typing.get_type_hints(type(value))
    below = (faults(v, hints[n], f"{path}.{n}") for n, v in vars(value).items() if v is not None)
    return list(itertools.chain.from_iterable(below))


def decoded(model: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Faults against the schema, and what of ``model`` it knows of."""
    # Without them, queries and options of panels are taken as they come.
    register_default_plugins()
    read = Model.from_json(model)
    return faults(read, Model), json.loads(json.dumps(read, cls=JSONEncoder))


@SPECS
def test_it_is_of_grafana_s_schema(spec):
    model = dashboard_model(spec)
    found, known = decoded(model)
    assert found == []
    assert known == model


def test_the_check_against_the_schema_finds_nonsense():
    def broken(**changes: Any) -> dict[str, Any]:
        return {**dashboard_model(COEVOLUTION), **changes}

    assert decoded(broken(title=7))[0]
    assert decoded(broken(tags="coevolve"))[0]
    nonsense = broken()
    nonsense["panels"][1]["gridPos"]["w"] = "wide"
    assert decoded(nonsense)[0]
    misspelt = broken(tittle="x")
    assert decoded(misspelt)[1] != misspelt


@SPECS
def test_panels_have_a_place_an_id_and_a_sentence(spec):
    model = dashboard_model(spec)
    assert len({panel["id"] for panel in model["panels"]}) == len(model["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in model["panels"]:
        place = panel["gridPos"]
        cells = set(
            itertools.product(
                range(place["x"], place["x"] + place["w"]),
                range(place["y"], place["y"] + place["h"]),
            )
        )
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    for panel in spec.panels:
        assert len(panel.good) > 4
        assert panel.good[0].isupper()
        assert panel.good.endswith(".")
        assert 1 <= len(panel.queries) <= 6
    assert len({panel.title for panel in spec.panels}) == len(spec.panels)


@SPECS
def test_cluster_job_and_run_can_be_chosen_and_every_query_obeys(spec):
    variables = {v["name"]: v for v in dashboard_model(spec)["templating"]["list"]}
    assert list(variables) == ["datasource", "cluster", "job", "run"]
    assert all(variables[name]["includeAll"] for name in ("cluster", "job", "run"))
    for panel in spec.panels:
        for query in panel.queries:
            selectors = re.findall(r"\{[^{}]*\}", query.expr)
            assert selectors
            for each in selectors:
                assert CHOSEN_TARGET in each, query.expr
            for name in re.findall(r"coevolve_\w+", query.expr):
                assert f"{name}{{{CHOSEN_RUN}" in query.expr


def test_every_metric_is_somewhere_to_be_seen():
    shown = " ".join(q.expr for spec in DASHBOARDS for p in spec.panels for q in p.queries)
    missing = {m.name for m in MEASURES.values() if f"{m.exposed}{{" not in shown}
    # The epoch says little, an update is a step, and the others are shown by their last value.
    assert missing == {"epoch", "updates", "syncs", "sync_seconds"}


def test_a_metric_that_is_not_there_cannot_be_asked_for():
    with pytest.raises(KeyError):
        selector("rewrad_mean")
    with pytest.raises(ValueError, match="no objective='solving'"):
        selector("reward_mean", objective="solving")


def test_exporting_elsewhere_leaves_the_checkout_alone(tmp_path):
    shutil.copytree(DEPLOY / "grafana", tmp_path / "before")
    export(tmp_path / "other")
    for path in (tmp_path / "before").glob("*.json"):
        assert (DEPLOY / "grafana" / path.name).read_text() == path.read_text()
        assert (tmp_path / "other" / "grafana" / path.name).is_file()
    assert isinstance(DEPLOY, Path)
