"""Write dashboards and rules to where Grafana, Prometheus and kustomize read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from services.dashboards.alerts import prometheus_rule, rules
from services.dashboards.grafana import DASHBOARDS, dashboard_json

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
NOTE = "# Written by `coevolve dashboards export` from services/dashboards/alerts.py.\n"


def files() -> dict[Path, str]:
    """What is generated, by path below deploy/."""
    found = {Path("grafana", f"{spec.uid}.json"): dashboard_json(spec) for spec in DASHBOARDS}
    monitoring = Path("kuberay", "components", "monitoring")
    return found | {
        Path("prometheus", "rules.yaml"): NOTE + _yaml(rules()),
        monitoring / "prometheus-rule.yaml": NOTE + _yaml(prometheus_rule()),
    }


def export(folder: Path = DEPLOY) -> list[Path]:
    """Write all files below ``folder``; their paths."""
    written = []
    for path, text in files().items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(target)
    return written


class _Dumper(yaml.SafeDumper):
    """Text of several lines as a block, as people write it."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _yaml(data: dict[str, Any]) -> str:
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=100)
    return text
