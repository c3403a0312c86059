"""Arms against the baseline, power laws and efficiencies, on runs whose figures are known."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_studies import STEPS, make, session, study

from contracts.loading import dump_config
from services.statistics import runs_difference
from services.study.comparing import (
    against_baseline,
    along,
    efficiencies,
    numeric_axes,
    over_steps,
)
from services.study.measures import MEASURES
from services.study.session import Session
from services.study.table import Collected, collect


def scaled(tmp_path: Path, kind: str, speeds: dict[int, float], seeds: int = 2) -> Collected:
    """A study over generators; the runs of a seed are the same but for their speed."""
    axes = {"generators.count": {"values": list(speeds), "kind": kind}}
    made = session(study(axes=axes, seeds=seeds), tmp_path)
    for run in made.planned:
        config = made.configs[run.name]
        speed = speeds[config.generators.count]
        make(config.folder, dump_config(config), seed=run.seed, speed=speed)
    return collect(made.study, made.planned, made.place)


def made(tmp_path: Path, **changes: object) -> Session:
    found = session(study(**{"arms": {"a": {}, "b": {}}, "baseline": "a", **changes}), tmp_path)
    for place, run in enumerate(found.planned):
        make(found.configs[run.name].folder, dump_config(found.configs[run.name]), seed=place)
    return found


def test_efficiency_is_speed_over_size(tmp_path: Path) -> None:
    found = efficiencies(scaled(tmp_path, "strong", {1: 1.0, 2: 1.6, 4: 2.0}))
    assert [row.size for row in found] == [1, 2, 4]
    assert [row.speedup.value for row in found] == pytest.approx([1.0, 1.6, 2.0])
    assert [row.efficiency.value for row in found] == pytest.approx([1.0, 0.8, 0.5])
    assert {row.efficiency.n for row in found} == {2}
    # Seed by seed: what differs between seeds is no spread of the ratio.
    assert found[1].efficiency.low == pytest.approx(0.8)


def test_a_power_law_is_found_again(tmp_path: Path) -> None:
    found = scaled(tmp_path, "size", {1: 1.0, 2: 2**0.5, 4: 2.0, 8: 8**0.5}, seeds=1)
    (line,) = along(found, "generators.count", MEASURES["tokens_per_second"])
    assert [point.x for point in line.points] == [1, 2, 4, 8]
    assert line.law is not None
    assert line.law.n == 4
    assert line.law.exponent == pytest.approx(0.5, abs=1e-6)
    assert line.law.low is not None
    assert line.law.high is not None
    assert (line.law.low, line.law.high) == (pytest.approx(0.5), pytest.approx(0.5))
    (scores,) = along(found, "generators.count", MEASURES["solving"])
    assert scores.law is None


def test_axes_that_are_no_numbers_are_no_sizes() -> None:
    axes = {"steps": [1, 2], "schedule": ["merged", "sequential"], "recycle.enabled": [True, False]}
    assert list(numeric_axes(study(axes=axes))) == ["steps"]


def test_each_arm_is_compared_with_the_baseline_seed_by_seed(tmp_path: Path) -> None:
    ours = made(tmp_path, axes={"sampling.completions": [4, 8]})
    found = collect(ours.study, ours.planned, ours.place)
    compared = [c for c in against_baseline(found) if c.measure.name == "judging"]
    assert [(c.configuration, c.baseline) for c in compared] == [
        ("b--completions-4", "a--completions-4"),
        ("b--completions-8", "a--completions-8"),
    ]
    values = [
        list(found.by_seed(name, "judging", "end").values())
        for name in ("a--completions-4", "b--completions-4")
    ]
    assert compared[0].difference == runs_difference(*values)
    assert compared[0].difference.n == 2


def test_seeds_that_only_one_has_are_left_out(tmp_path: Path) -> None:
    ours = made(tmp_path)
    (ours.place.runs / "a--1" / "summary.json").unlink()
    found = collect(ours.study, ours.planned, ours.place)
    assert {c.difference.n for c in against_baseline(found)} == {1}


def test_without_a_baseline_nothing_is_compared(tmp_path: Path) -> None:
    ours = made(tmp_path, baseline=None)
    assert against_baseline(collect(ours.study, ours.planned, ours.place)) == []


def test_a_score_over_the_steps_is_a_mean_over_the_seeds(tmp_path: Path) -> None:
    ours = made(tmp_path)
    found = collect(ours.study, ours.planned, ours.place)
    lines = over_steps(found, MEASURES["solving"])
    assert [line.label for line in lines] == ["a", "b"]
    assert [point.x for point in lines[0].points] == [0, STEPS // 2, STEPS]
    last = list(found.by_seed("a", "solving", "end").values())
    assert lines[0].points[-1].values == tuple(last)
    assert lines[0].points[-1].score.value == pytest.approx(sum(last) / 2)


def test_the_course_of_training_is_in_tokens_where_these_are_equal(tmp_path: Path) -> None:
    ours = made(
        tmp_path,
        hold={"sampled_tokens": 100_000},
        arms={"a": {}, "b": {"take": {"solving": "a"}}},
    )
    (ours.place.runs / "b--1" / "summary.json").unlink()
    found = collect(ours.study, ours.planned, ours.place)
    lines = {line.label: line for line in over_steps(found, MEASURES["solving"])}
    tokens = [sum(m.completion_tokens for m in found.runs[f"a--{seed}"].metrics) for seed in (0, 1)]
    assert lines["a"].points[0].x == 0
    assert lines["a"].points[-1].x == pytest.approx(sum(tokens) / 2)
    # What is taken from another arm is drawn over that arm's tokens.
    assert lines["b"].points == lines["a"].points
    judging = {line.label: line for line in over_steps(found, MEASURES["judging"])}
    # Of b one seed is not finished, and is left out.
    assert [len(point.values) for point in judging["b"].points] == [1, 1, 1]
    assert [len(point.values) for point in judging["a"].points] == [2, 2, 2]
