"""Tables and results of a study, of one that is not done too."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from made_studies import STEPS, make_runs, session, study

from services.run_folder import read_run
from services.study.results import results_of, spread
from services.study.session import Session, write_figures
from services.study.table import Row, collect

ARMS = {"a": {"about": "first"}, "b": {"take": {"solving": "a"}}}


@pytest.fixture
def made(tmp_path: Path) -> Session:
    return session(study(arms=ARMS, axes={"sampling.completions": [4, 8]}), tmp_path)


def rows(made: Session, name: str) -> list[Row]:
    found = collect(made.study, made.planned, made.place)
    return [row for row in found.rows if f"{row.configuration}--{row.seed}" == name]


def test_every_value_is_a_row_of_both_tables(made: Session) -> None:
    make_runs(made, only="a--completions-4")
    found = collect(made.study, made.planned, made.place)
    write_figures(found, made.place)
    table = pyarrow.parquet.read_table(made.place.root / "table.parquet").to_pylist()
    with (made.place.root / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(table) == len(lines) == len(found.rows)
    assert list(table[0]) == list(lines[0])
    assert {row["sampling.completions"] for row in table} == {4.0}
    assert {row["when"] for row in table} == {"start", "between", "end", "run"}
    one = next(r for r in table if r["measure"] == "solving" and r["when"] == "end")
    run = read_run(made.place.runs / f"{one['configuration']}--{one['seed']}")
    assert one["value"] == run.evaluations[-2].scores["policy_accuracy"].value


def test_a_measure_may_be_another_arm_s(made: Session) -> None:
    make_runs(made, only="a--completions-8--1")
    make_runs(made, only="b--completions-8--1")
    ours, theirs = rows(made, "b--completions-8--1"), rows(made, "a--completions-8--1")

    def of(found: list[Row], measure: str) -> list[float]:
        return [row.value for row in found if row.measure == measure]

    assert of(ours, "solving") == of(theirs, "solving")
    assert len(of(ours, "solving")) == 3
    assert of(ours, "judging") != of(theirs, "judging")


def test_results_hold_the_spread_over_finished_seeds(made: Session) -> None:
    make_runs(made, only="a--completions-4")
    make_runs(made, only="b--completions-4--1", status="interrupted")
    found = collect(made.study, made.planned, made.place)
    results = {r.configuration: r for r in results_of(found, ["a machine"])}
    whole, none = results["a--completions-4"], results["b--completions-4"]
    assert (whole.seeds, whole.missing) == ((0, 1), ())
    assert (none.seeds, none.missing) == ((), (0, 1))
    assert none.measures == {}
    values = list(found.by_seed("a--completions-4", "judging", "end").values())
    judged = whole.measures["judging"]["end"]
    assert judged.mean == pytest.approx(np.mean(values))
    assert judged.sd == pytest.approx(np.std(values, ddof=1))
    assert (judged.min, judged.max, judged.n) == (min(values), max(values), 2)
    assert whole.versions == {"torch": "2.13.0", "ray": "2.60.0"}
    assert whole.machines == ("a machine",)
    assert whole.about == "first"
    assert none.taken == {"solving": "a"}
    assert whole.measures["steps"]["run"].mean == STEPS


def test_results_of_configurations_that_are_gone_go(made: Session) -> None:
    make_runs(made, only="a--completions-4--0")
    made.place.results.mkdir(parents=True)
    (made.place.results / "old.json").write_text("{}")
    write_figures(collect(made.study, made.planned, made.place), made.place)
    names = sorted(file.stem for file in made.place.results.iterdir())
    assert names == ["a--completions-4", "a--completions-8", "b--completions-4", "b--completions-8"]
    read = json.loads((made.place.results / "b--completions-8.json").read_text())
    assert read["changes"] == {"steps": STEPS, "sampling.completions": 8}


def test_a_run_that_cannot_be_read_is_noted_and_left_out(made: Session) -> None:
    make_runs(made, only="a--completions-4--0")
    broken = made.place.runs / "a--completions-4--0"
    (broken / "timing.jsonl").write_text('{"step": "one"}\n')
    found = collect(made.study, made.planned, made.place)
    assert broken.name not in found.runs
    assert any("timing.jsonl, line 1" in note for note in found.notes)


def test_one_value_has_no_spread_and_no_interval() -> None:
    found = spread([0.5], "share")
    assert (found.mean, found.n) == (0.5, 1)
    assert found.sd is found.low is found.high is None


@pytest.mark.parametrize(
    ("unit", "low", "high"),
    [("share", 0.0, 1.0), ("s", 0.0, 6.9), ("", -5.9, 6.9), ("difference", -1.0, 1.0)],
)
def test_an_interval_does_not_leave_what_can_be(unit: str, low: float, high: float) -> None:
    found = spread([0.0, 1.0], unit)
    assert (found.low, found.high) == (
        pytest.approx(low, abs=0.1),
        pytest.approx(high, abs=0.1),
    )
