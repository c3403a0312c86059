"""How far the judge can be relied on: a table by the set of answers, and plots of reliability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.records import EvaluationRecord, JudgedSet, JudgeRecord
from services.report import wording
from services.report.charts import Chart, Curve
from services.statistics import Score

SETS: tuple[JudgedSet, ...] = ("fixed", "own")
BEFORE, AFTER = "#7b8794", "#0b6bcb"
SET_COLOURS: dict[JudgedSet, str] = {"fixed": "#0b6bcb", "own": "#d9480f"}
SET_TITLES: dict[JudgedSet, str] = {"fixed": "fixed set", "own": "its own answers"}
CALIBRATION = "calibration_error"

Ends = tuple[EvaluationRecord | None, EvaluationRecord | None]
"""The first evaluation of a run and its last one, if that is another."""


@dataclass(frozen=True)
class JudgeRow:
    """A line of the table. ``cells``: heading of each cell, and the score in it."""

    title: str
    meaning: str
    cells: tuple[tuple[str, Score | None], ...]


def judge_rows(ends: Ends) -> list[JudgeRow]:
    """Every figure of judging that was measured, on both sets, at both ends of a run."""
    rows = []
    for name, (title, meaning) in wording.JUDGE_FIGURES.items():
        cells = tuple(
            (f"{SET_TITLES[judged]}, {when}", judge_score(evaluation, judged, name))
            for judged in SETS
            for when, evaluation in zip(("before", "after"), ends, strict=True)
        )
        if any(score is not None and score.value is not None for _, score in cells):
            rows.append(JudgeRow(title, meaning, cells))
    return rows


def judge_score(evaluation: EvaluationRecord | None, judged: JudgedSet, name: str) -> Score | None:
    """One figure of an evaluation; None where judging was not measured on that set."""
    record = evaluation.judge.get(judged) if evaluation else None
    if record is None:
        return None
    if name == CALIBRATION:
        return Score(record.calibration_error, None, None, record.candidates)
    found: Score = getattr(record, name)
    return found


def judge_charts(evaluations: Sequence[EvaluationRecord], ends: Ends) -> list[Chart]:
    """Judging over a run on both sets, and the reliability of its verdicts at both ends."""
    sampled = [evaluation for evaluation in evaluations if evaluation.mode == "sampled"]
    charts = [
        _over_steps(
            sampled,
            "balanced_accuracy",
            "Judging, by set of answers",
            "balanced accuracy",
            "A better judge rises on both sets. A rise on its own answers alone says that these "
            "became easier to judge.",
        ),
        _over_steps(
            sampled,
            "yes_rate",
            "Share of “yes”, by set of answers",
            "verdicts",
            f"Half of the fixed set is right: near {wording.HALF}. Of its own answers, as many as "
            "are right.",
        ),
        reliability_chart(
            [
                (when, colour, evaluation.judge["fixed"])
                for when, colour, evaluation in zip(
                    ("before", "after"), (BEFORE, AFTER), ends, strict=True
                )
                if evaluation is not None and "fixed" in evaluation.judge
            ]
        ),
    ]
    return [chart for chart in charts if not chart.is_empty]


def reliability_chart(judges: Sequence[tuple[str, str, JudgeRecord]]) -> Chart:
    """How often answers are right over the share of yes they got: a curve for each judge.

    Args:
        judges: name, colour, and what was measured.
    """
    return Chart(
        id="reliability",
        title="Reliability of repeated verdicts",
        x_label="share of yes among the verdicts",
        y_label="share that is right",
        curves=tuple(curve for judge in judges if (curve := _reliability(*judge)).x),
        unit="share",
        x_unit="share",
        diagonal=True,
        note="On the dashed line the share of yes says how likely an answer is right.",
    )


def _reliability(name: str, colour: str, record: JudgeRecord) -> Curve:
    bins = [(one.confidence, *_numbers(one.accuracy)) for one in record.reliability]
    found = [(x, y, low, high) for x, y, low, high in bins if y is not None]
    return Curve(
        label=name,
        x=tuple(x for x, *_ in found),
        y=tuple(y for _, y, *_ in found),
        low=tuple(y if low is None else low for _, y, low, _ in found),
        high=tuple(y if high is None else high for _, y, _, high in found),
        colour=colour,
        intervals="bars",
        points=True,
    )


def _over_steps(
    evaluations: Sequence[EvaluationRecord], name: str, title: str, label: str, note: str
) -> Chart:
    curves = []
    for judged in SETS:
        scores = [(e.step, judge_score(e, judged, name)) for e in evaluations]
        known = [(s, *_numbers(score)) for s, score in scores if score is not None]
        found = [(s, y, low, high) for s, y, low, high in known if y is not None]
        curves.append(
            Curve(
                label=SET_TITLES[judged],
                x=tuple(float(step) for step, *_ in found),
                y=tuple(y for _, y, *_ in found),
                low=tuple(y if low is None else low for _, y, low, _ in found),
                high=tuple(y if high is None else high for _, y, _, high in found),
                colour=SET_COLOURS[judged],
                points=True,
            )
        )
    return Chart(
        id=f"judge-{name}",
        title=title,
        x_label="step",
        y_label=label,
        curves=tuple(curve for curve in curves if curve.x),
        unit="share",
        level=0.5,
        note=note,
    )


def _numbers(score: Score) -> tuple[float | None, float | None, float | None]:
    return score.value, score.low, score.high
