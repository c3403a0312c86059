"""Processes of a run are killed and frozen at random moments; it goes on by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos_run import DEEDS, STEPS, chaos_config, run

from services.run_folder import Run
from services.statistics import Score

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3000)]


def solving(result: Run, step: int) -> Score:
    return next(e.scores["policy_accuracy"] for e in result.evaluations if e.step == step)


def test_a_run_survives_twelve_faults_and_learns_as_without_them(tmp_path: Path) -> None:
    whole, _ = run(chaos_config(tmp_path, "undisturbed", 0), tmp_path, faults=False)
    broken, held = run(chaos_config(tmp_path, "disturbed", 0), tmp_path, faults=True)
    assert {(one.kind, one.how) for one in held} == set(DEEDS)
    assert len(held) >= 12
    ours, other = solving(broken, STEPS), solving(whole, STEPS)
    assert ours.low is not None and other.low is not None
    assert ours.high is not None and other.high is not None
    # Both learned: what they end with is apart from what they began with.
    before = solving(whole, 0)
    assert before.high is not None and before.high < min(ours.low, other.low)
    # And they learned the same, as far as 256 tasks can tell.
    assert ours.low <= other.high and other.low <= ours.high
