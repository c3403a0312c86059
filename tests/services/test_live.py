import io
from dataclasses import dataclass

import numpy as np
import pytest
import synthetic_run as synthetic
from rich.console import Console

from contracts.config import RunConfig
from contracts.types import Objective
from services.live import LiveView, Smoothed, score_text
from services.records import SCORES, EvaluationRecord
from services.statistics import Score, proportion


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def console(terminal: bool) -> Console:
    return Console(
        file=io.StringIO(),
        width=80,
        force_terminal=terminal,
        color_system=None,
        legacy_windows=False,
    )


def text_of(view: LiveView) -> str:
    """The table as it is now, as plain text, 80 columns wide."""
    sheet = Console(file=io.StringIO(), width=80, color_system=None, legacy_windows=False)
    sheet.print(view.render())
    return sheet.file.getvalue()


def output(sheet: Console) -> str:
    assert isinstance(sheet.file, io.StringIO)
    return sheet.file.getvalue()


def full_evaluation(step: int, mode: str) -> EvaluationRecord:
    score = proportion(512, 512)
    return EvaluationRecord(step=step, mode=mode, tasks=512, scores=dict.fromkeys(SCORES, score))


def test_table_shows_the_run_within_80_columns() -> None:
    draw, clock = np.random.default_rng(0), Clock()
    with LiveView(
        RunConfig(name="demo"), "tiny, 0.3 M parameters", console=console(True), clock=clock
    ) as view:
        view.evaluation(synthetic.evaluation(draw, 0, 0.0, "sampled", 512))
        view.evaluation(full_evaluation(0, "greedy"))
        for step in range(1, 5):
            clock.now += 10
            view.step(synthetic.metrics(draw, step, 100), synthetic.timing(draw, step))
        view.evaluation(full_evaluation(1000, "sampled"))
        view.evaluation(full_evaluation(1000, "greedy"))
        view.phase("training")
        clock.now += 7
        view.note("verifier 0 was restarted")
        shown = text_of(view)
    assert max(len(line) for line in shown.splitlines()) == 80
    assert "…" not in shown, "a cell was cut"
    for words in (
        "demo  ·  tiny, 0.3 M parameters",
        "training  7 s",
        "4/100 steps 0:00:47 to go 0:16:00",
        "weights v4",
        "step 1000",
        "1000 greedy",
        "100 (99–100)",
        "verifier 0 was restarted",
        *HEADS_SHOWN,
    ):
        assert words in shown, words


HEADS_SHOWN = (*Objective, "solving", "judging", "fixes", "keeps", "without signal", "yes-rate")


def test_an_empty_table_can_be_drawn() -> None:
    view = LiveView(RunConfig(), "a model", console=console(True), clock=Clock())
    assert "starting" in text_of(view)
    assert "0/100" in text_of(view)


def test_a_log_file_gets_one_plain_line_per_event() -> None:
    draw, sheet = np.random.default_rng(0), console(False)
    with LiveView(RunConfig(name="demo"), "tiny [x]", console=sheet, clock=Clock()) as view:
        view.phase("generating")
        view.evaluation(synthetic.evaluation(draw, 0, 0.0, "sampled", 512))
        view.step(synthetic.metrics(draw, 1, 100), synthetic.timing(draw, 1))
        view.note("a note with [brackets]")
    lines = output(sheet).splitlines()
    assert len(lines) == 4
    assert lines[0] == "demo  ·  tiny [x]"
    assert lines[1].startswith("held out after step 0, sampled, 512 tasks | solving ")
    assert lines[2].startswith("step 1/100 | reward solve 0.")
    assert lines[2].endswith("weights v1")
    assert lines[3] == "a note with [brackets]"
    assert "\x1b" not in output(sheet)


def test_an_error_passes_through_and_leaves_the_terminal_in_order() -> None:
    sheet = console(True)
    with (
        pytest.raises(RuntimeError, match="engine died"),
        LiveView(RunConfig(), "a model", console=sheet, clock=Clock()),
    ):
        raise RuntimeError("engine died")
    assert "stopped" in output(sheet)
    assert output(sheet).rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def test_smoothing_is_unbiased_from_the_first_value_on() -> None:
    smoothed = Smoothed()
    assert smoothed.value is None
    smoothed.add(0.4)
    assert smoothed.value == pytest.approx(0.4)
    smoothed.add(float("nan"))
    assert smoothed.value == pytest.approx(0.4)
    smoothed.add(0.6)
    assert smoothed.value == pytest.approx((0.09 * 0.4 + 0.1 * 0.6) / 0.19)


def test_a_score_that_was_not_measured_is_a_dash() -> None:
    assert score_text(Score.nothing()) == "–"
    assert score_text(None) == "–"
    assert score_text(Score(0.5, 0.25, 0.756, 8)) == "50 (25–76)"
