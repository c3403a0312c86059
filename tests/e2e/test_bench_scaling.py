"""Calibration and comparison on real generators and a real learner, in their short form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli import app
from services.plan.answer import Answer
from services.plan.calibrated import read_calibration
from services.plan.measured import read_seen
from services.plan.scaling import Comparison

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def coevolve(*arguments: str) -> str:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_runs_are_measured_beside_what_is_predicted(tmp_path: Path) -> None:
    file, lines = tmp_path / "scaling.json", tmp_path / "lines.jsonl"
    said = coevolve("bench", "scaling", "--short", "--json", str(file), "--lines", str(lines))
    assert "error of those that were not fitted: median" in said
    result = Comparison.model_validate_json(file.read_text())
    assert [one.point for one in result.points] == [(1, 1, 0), (1, 1, 1), (2, 1, 0), (2, 1, 1)]
    assert [one.calibrated for one in result.points] == [True, False, False, False]
    for one in result.points:
        assert one.measured > 0
        assert one.predicted > 0
    assert set(result.calibration.broadcasts) == {1, 2}
    assert {one.kind for one in read_seen(lines)} == {"machine", "sample", "update", "send", "run"}
    # What the run of one and one was calibrated on, it is predicted to take, give or take.
    alone = result.points[0]
    assert alone.predicted == pytest.approx(alone.measured, rel=0.5)


def test_a_plan_is_made_of_measured_costs(tmp_path: Path) -> None:
    file, plan = tmp_path / "calibration.json", tmp_path / "plan.json"
    coevolve("bench", "plan", "--short", "--json", str(file))
    calibration = read_calibration(file)
    assert calibration.generator.step + calibration.generator.token > 0
    said = coevolve(
        "plan", "--calibrate", str(file), "--layouts", "1:1,2:1", "--json", str(plan)
    )  # fmt: skip
    assert "measured on" in said
    answer = Answer.model_validate(json.loads(plan.read_text()))
    assert [one.layout.generators for one in answer.chosen] == [1, 2]
