"""What is read out of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_studies import STEPS, make

from services.run_folder import Run, read_run
from services.study.measures import MEASURES

TEXT = "name: x\n"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    make(tmp_path / "x", TEXT, seed=0)
    return read_run(tmp_path / "x")


def values(run: Run, name: str) -> dict[tuple[str, int], float]:
    return {(v.when, v.step): v.value for v in MEASURES[name].values(run)}


def test_a_score_is_read_at_start_in_between_and_at_the_end(run: Run) -> None:
    sampled = [e for e in run.evaluations if e.mode == "sampled"]
    assert values(run, "solving") == {
        ("start", 0): sampled[0].scores["policy_accuracy"].value,
        ("between", STEPS // 2): sampled[1].scores["policy_accuracy"].value,
        ("end", STEPS): sampled[2].scores["policy_accuracy"].value,
    }
    assert list(values(run, "solving_greedy")) == [("start", 0), ("end", STEPS)]


def test_a_run_that_was_cut_off_has_no_end(tmp_path: Path) -> None:
    make(tmp_path / "x", TEXT, seed=0, status="interrupted")
    assert ("end", STEPS) not in values(read_run(tmp_path / "x"), "solving")


def test_speed_leaves_out_the_first_step(run: Run) -> None:
    tokens = sum(m.completion_tokens for m in run.metrics[1:])
    seconds = sum(t.seconds for t in run.timing[1:])
    (found,) = values(run, "tokens_per_second").values()
    assert found == pytest.approx(tokens / seconds)
    (mean,) = values(run, "step_seconds").values()
    assert mean == pytest.approx(seconds / (STEPS - 1))


def test_tokens_and_time_are_those_of_all_steps(run: Run) -> None:
    assert list(values(run, "sampled_tokens").values()) == [
        sum(m.completion_tokens for m in run.metrics)
    ]
    assert list(values(run, "trained_tokens").values()) == [16_000 * STEPS]
    assert list(values(run, "seconds").values()) == [sum(t.seconds for t in run.timing)]


def test_figures_of_training_are_those_of_its_last_tenth(run: Run) -> None:
    assert list(values(run, "yes_rate_training").values()) == [run.metrics[-1].yes_rate]


def test_what_was_not_measured_is_left_out(run: Run) -> None:
    assert values(run, "idle_learner") == {}
    assert values(run, "judging_own")["end", STEPS] == pytest.approx(
        run.evaluations[-2].judge["own"].balanced_accuracy.value
    )


def test_every_measure_reads_a_run_without_steps(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(TEXT)
    run = read_run(tmp_path)
    for measure in MEASURES.values():
        assert measure.values(run) == []
        assert measure.title
        assert measure.meaning
