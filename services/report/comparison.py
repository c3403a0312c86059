"""Several runs side by side: which solves and judges better, and where each spent its time."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import yaml
from markupsafe import Markup

from contracts.errors import UserError
from contracts.nested import flat
from services.records import EvaluationRecord, JudgedSet, RolloutRecord, StepMetrics
from services.report import curves, judging, wording
from services.report.charts import Chart, Curve
from services.report.page import HERE, chosen_rollouts, facts, picture, template
from services.run_folder import Run, read_run, write_atomically
from services.statistics import Score

MOST_RUNS = len(curves.RUN_COLOURS)

PLACES = ("name", "runs_dir", "cache_dir")
"""Fields that say where a run is, which is no difference between runs."""

JUDGE_TITLES = {
    "judge_accuracy": "Judging one answer",
    "judge_true_positive_rate": "Right answers called right",
    "judge_true_negative_rate": "Wrong answers called wrong",
    "judge_yes_rate": "Share of “yes”",
    "pairwise_accuracy": "Judging two answers",
}
"""Held-out scores that say how far the judge can be relied on."""

MORE_JUDGING: tuple[tuple[JudgedSet, str], ...] = (
    ("own", "balanced_accuracy"),
    ("fixed", judging.CALIBRATION),
    ("fixed", "pairwise_consistency"),
    ("fixed", "reflection_break"),
)
"""What else of judging is compared, and the set of answers that it was measured on."""


@dataclass(frozen=True)
class Column:
    """A run of the comparison, with its colour."""

    run: Run
    name: str
    colour: str
    facts: dict[str, str]
    last: EvaluationRecord | None

    def score(self, name: str) -> Score | None:
        """A score of its last evaluation."""
        return self.last.scores.get(name) if self.last else None


@dataclass(frozen=True)
class Row:
    """A score in every run. ``best``: the column that is apart from all others, if one is."""

    title: str
    meaning: str
    scores: tuple[Score | None, ...]
    best: int | None


@dataclass(frozen=True)
class Spent:
    """Where a step's time went in a run: mean seconds, and the shares of its phases."""

    column: Column
    seconds: float
    tokens_per_second: float
    parts: tuple[tuple[str, float, str], ...]
    """Phase, mean seconds, colour."""

    @property
    def whole(self) -> float:
        """What the parts add up to, which overlap where batches are made ahead."""
        return max(self.seconds, sum(seconds for _, seconds, _ in self.parts))


def write_comparison(folders: Sequence[Path], path: Path) -> Path:
    """Write a page that compares the runs in ``folders``, in that order, to ``path``.

    Raises:
        UserError: there are too many, one is named twice, or one is no run folder.
    """
    if len(folders) > MOST_RUNS:
        raise UserError(f"{len(folders)} runs are more than {MOST_RUNS}, which can be told apart")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError("one run is given twice", where=", ".join(map(str, folders)))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, comparison([read_run(folder) for folder in folders]))
    return path


def comparison(runs: Sequence[Run]) -> str:
    """The page, as HTML that needs no other file."""
    columns = columns_of(runs)
    script = (HERE / "search.js").read_text(encoding="utf-8")
    return template("comparison.html").render(
        columns=columns,
        fact_names=list(dict.fromkeys(name for column in columns for name in column.facts)),
        rows=score_rows(columns, wording.SCORE_TITLES, wording.SCORE_MEANINGS),
        held_out=[picture(chart) for chart in curves.held_out(runs)],
        judge_rows=[*score_rows(columns, JUDGE_TITLES, {}), *judge_rows(columns)],
        judge=[picture(chart) for chart in judge_charts(columns)],
        training=[picture(chart) for chart in training_charts(columns)],
        spent=[spent(column) for column in columns if column.run.timing],
        clock=[picture(chart) for chart in clock_charts(columns)],
        differences=list(differences(columns)),
        rollouts=[(column, chosen(column.run)) for column in columns],
        css=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def columns_of(runs: Sequence[Run]) -> list[Column]:
    """The runs with names that tell them apart, and a colour each."""
    names = [run.name for run in runs]
    columns = []
    for index, run in enumerate(runs):
        evaluations = [e for e in run.evaluations if e.mode == "sampled"]
        columns.append(
            Column(
                run=run,
                name=run.name if names.count(run.name) == 1 else f"{run.name} ({index + 1})",
                colour=curves.RUN_COLOURS[index],
                facts={"status": run.summary.status if run.summary else "cut off"}
                | dict(facts(run)),
                last=evaluations[-1] if evaluations else None,
            )
        )
    return columns


def score_rows(
    columns: Sequence[Column], titles: dict[str, str], meanings: dict[str, str]
) -> list[Row]:
    """A row for each score that any run has."""
    rows = []
    for name, title in titles.items():
        scores = tuple(column.score(name) for column in columns)
        if any(score is not None for score in scores):
            best = None if name == "judge_yes_rate" else best_of(scores)
            rows.append(Row(title, meanings.get(name, ""), scores, best))
    return rows


def judge_rows(columns: Sequence[Column]) -> list[Row]:
    """Rows of what ``MORE_JUDGING`` names, where any run has it. None is set off as the best."""
    rows = []
    for judged, name in MORE_JUDGING:
        scores = tuple(judging.judge_score(column.last, judged, name) for column in columns)
        title, meaning = wording.JUDGE_FIGURES[name]
        if any(score is not None and score.value is not None for score in scores):
            where = "on its own answers; " if judged == "own" else ""
            rows.append(Row(title, where + meaning, scores, None))
    return rows


def best_of(scores: Sequence[Score | None]) -> int | None:
    """The place of the highest score, if its interval is apart from those of all others."""
    known = [
        (score.value, i) for i, score in enumerate(scores) if score and score.value is not None
    ]
    if len(known) < 2:
        return None
    best = max(known)[1]
    others = [scores[i] for _, i in known if i != best]
    highest = scores[best]
    assert highest is not None
    return best if all(other and highest.is_apart_from(other) for other in others) else None


def judge_charts(columns: Sequence[Column]) -> list[Chart]:
    """The judge in training, one curve a run."""

    def balanced(metrics: StepMetrics) -> float | None:
        right, wrong = metrics.judge.true_positive_rate, metrics.judge.false_positive_rate
        return None if right is None or wrong is None else (right + 1 - wrong) / 2

    charts = [
        _chart(
            columns,
            "balanced",
            "Judging one answer, in training",
            "balanced accuracy",
            balanced,
            share=True,
            level=0.5,
            note=f"The mean over right and over wrong answers. At {wording.HALF} the verdict "
            "does not depend on the answer.",
        ),
        _chart(
            columns,
            "yes",
            "Share of “yes” in training",
            "verdicts on one answer",
            lambda m: m.yes_rate,
            share=True,
            level=0.5,
            note="Half of the cases are right. Near 0 % or 100 % the judge no longer looks.",
        ),
        _chart(
            columns,
            "calibration",
            "Calibration error in training",
            "expected error",
            lambda m: m.judge.calibration_error,
            note="How far the share of yes in a group is from how often the answer is right.",
        ),
    ]
    judges = [
        (column.name, column.colour, column.last.judge["fixed"])
        for column in columns
        if column.last and "fixed" in column.last.judge
    ]
    charts.append(judging.reliability_chart(judges))
    return [chart for chart in charts if not chart.is_empty]


def training_charts(columns: Sequence[Column]) -> list[Chart]:
    """Reward, entropy and gradients, one curve a run."""
    charts = [
        _chart(
            columns,
            "reward",
            "Reward of solving in training",
            "mean reward",
            lambda m: m.reward.get("solve"),  # type: ignore[call-overload]
        ),
        _chart(
            columns,
            "dropped",
            "Groups without signal",
            "share of groups",
            lambda m: sum(m.dropped.values()) / max(1, sum(m.groups.values())),
            share=True,
        ),
        _chart(
            columns,
            "norm",
            "Gradient norm",
            "before clipping",
            lambda m: None if m.update is None else m.update.gradient_norm,
        ),
    ]
    return [chart for chart in charts if not chart.is_empty]


def clock_charts(columns: Sequence[Column]) -> list[Chart]:
    """Speed over the run, one curve a run."""
    lines = []
    for column in columns:
        timing = [t for t in column.run.timing if math.isfinite(t.tokens_per_second)]
        steps, speeds = [t.step for t in timing], [t.tokens_per_second for t in timing]
        lines.append(_curve(column, steps, speeds))
    found = tuple(line for line in lines if line.x)
    chart = Chart("speed", "Completion tokens per second", "step", "tokens per second", found)
    return [] if chart.is_empty else [chart]


def spent(column: Column) -> Spent:
    """Where the time of a mean step went."""
    timing = column.run.timing
    tokens = sum(metrics.completion_tokens for metrics in column.run.metrics)
    whole = sum(t.seconds for t in timing)
    parts = [
        (phase, fmean(t.phases.get(phase, 0.0) for t in timing), colour)
        for phase, colour in curves.PHASE_COLOURS.items()
    ]
    return Spent(
        column=column,
        seconds=whole / len(timing),
        tokens_per_second=tokens / whole if whole else math.nan,
        parts=tuple(part for part in parts if part[1]),
    )


def differences(columns: Sequence[Column]) -> Iterator[tuple[str, list[str]]]:
    """Fields of the configurations that are not the same in all runs, with their values."""
    fields = [flat(yaml.safe_load(column.run.config_text) or {}) for column in columns]
    for field in sorted({field for values in fields for field in values}):
        found = [json.dumps(v[field], ensure_ascii=False) if field in v else "" for v in fields]
        if len(set(found)) > 1 and field not in PLACES:
            yield field, found


def chosen(run: Run) -> list[RolloutRecord]:
    """Rollouts of a few steps, to read and to search."""
    return [rollout for found in chosen_rollouts(run.rollouts).values() for rollout in found]


def _chart(
    columns: Sequence[Column],
    chart: str,
    title: str,
    label: str,
    value: Callable[[StepMetrics], float | None],
    *,
    share: bool = False,
    level: float | None = None,
    note: str = "",
) -> Chart:
    """A chart with a curve for each run that has values."""
    lines = []
    for column in columns:
        points = [(m.step, found) for m in column.run.metrics if (found := value(m)) is not None]
        points = [(step, found) for step, found in points if math.isfinite(found)]
        lines.append(_curve(column, [s for s, _ in points], [v for _, v in points]))
    return Chart(
        id=chart,
        title=title,
        x_label="step",
        y_label=label,
        curves=tuple(line for line in lines if line.x),
        unit="share" if share else "number",
        level=level,
        note=note,
    )


def _curve(column: Column, steps: Sequence[int], values: Sequence[float]) -> Curve:
    return Curve(
        label=column.name,
        x=tuple(float(step) for step in steps),
        y=tuple(values),
        colour=column.colour,
        smooth=True,
    )
