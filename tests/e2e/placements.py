"""Configurations of runs on GPUs."""

from __future__ import annotations

from typing import Any

from contracts.config import RunConfig


def placed(placement: str = "separate", group: str = "", **changes: Any) -> RunConfig:
    """Two generators and two learner ranks on GPUs; ``group``: of their nodes."""
    values: dict[str, Any] = {
        "placement": placement,
        "generators": {"count": 2, "device": "cuda", "node_group": group},
        "learner": {"ranks": 2, "device": "cuda", "node_group": group},
        "deadlines": {"start": 3.0},
    }
    for section, fields in changes.items():
        values[section] |= fields
    return RunConfig.model_validate(values)
