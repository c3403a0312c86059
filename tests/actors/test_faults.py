"""How many faults a run puts up with."""

from __future__ import annotations

import pytest

from actors.faults import BudgetSpentError, Fault, RestartBudget
from contracts.config import FaultConfig
from contracts.errors import CoevolveError


def test_faults_are_told_until_the_budget_is_spent_and_forgotten_after_the_window() -> None:
    told: list[Fault] = []
    times = iter([0.0, 60.0, 60.0, 100.0])
    budget = RestartBudget(
        "generators", FaultConfig(restarts=2, window=100), told.append, clock=lambda: next(times)
    )
    cause = CoevolveError("generator 1 failed: out of memory\n  its log is here")
    for _ in range(2):
        budget.spend("generator 1", cause)
    with pytest.raises(BudgetSpentError) as caught:
        budget.spend("generator 1", cause)
    text = str(caught.value)
    assert "fault 3 of the generators within 100 s" in text
    assert "faults.restarts=2" in text
    assert "its log is here" in text
    budget.spend("generator 0", cause)
    assert [(fault.kind, fault.name) for fault in told] == [
        ("generators", "generator 1"),
        ("generators", "generator 1"),
        ("generators", "generator 0"),
    ]
    assert told[0].cause is cause


def test_no_budget_is_no_restart() -> None:
    budget = RestartBudget("recycler", FaultConfig(restarts=0), lambda _: None)
    with pytest.raises(BudgetSpentError, match="fault 1 of the recycler"):
        budget.spend("recycler", CoevolveError("gone"))
