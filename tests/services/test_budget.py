"""When a run has had all it may."""

from __future__ import annotations

from typing import Any

import pytest
from made_steps import step_of
from test_recorder import REPORT, SUMMARIES

from contracts.config import RunConfig
from services.budget import Spending
from services.recorder import step_metrics, step_timing

STEP = step_metrics(step_of(SUMMARIES, REPORT, 1), version=1)
CLOCK = step_timing(step_of(SUMMARIES, REPORT, 1), {}, 2.0, STEP.completion_tokens)


def test_spending_adds_up_over_the_steps() -> None:
    assert Spending.of([STEP] * 3, [CLOCK] * 3) == Spending(3, 72, 36, 6.0)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"steps": 4}, 4),
        ({"steps": 4, "budget": {"sampled_tokens": 1000}}, 4),
        ({"steps": 9, "budget": {"sampled_tokens": 48}}, 2),
        ({"steps": 9, "budget": {"sampled_tokens": 49}}, 3),
        ({"steps": 9, "budget": {"trained_tokens": 13}}, 2),
        ({"steps": 9, "budget": {"seconds": 5}}, 3),
        ({"steps": 9, "budget": {"seconds": 5, "trained_tokens": 12}}, 1),
    ],
)
def test_a_run_ends_with_the_step_that_reaches_a_limit(
    settings: dict[str, Any], steps: int
) -> None:
    config = RunConfig.model_validate(settings)
    spending = Spending()
    while not spending.is_all(config):
        spending.add(STEP, CLOCK)
    assert spending.steps == steps
