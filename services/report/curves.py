"""Which charts a report has, and what they show. ``held_out`` takes one run, or several."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from contracts.types import Objective, Reason
from services.records import EvaluationRecord, StepMetrics
from services.report.charts import Chart, Curve
from services.report.wording import OBJECTIVES, REASONS, SCORE_TITLES
from services.run_folder import Run

COLOURS = {
    Objective.SOLVE: "#0b6bcb",
    Objective.POINTWISE: "#d9480f",
    Objective.PAIRWISE: "#0c8f6a",
    Objective.REFLECT: "#8a3ffc",
}

SCORE_COLOURS = {
    "policy_accuracy": COLOURS[Objective.SOLVE],
    "judge_accuracy": COLOURS[Objective.POINTWISE],
    "judge_yes_rate": "#a15c00",
    "pairwise_accuracy": COLOURS[Objective.PAIRWISE],
    "reflection_fix_rate": COLOURS[Objective.REFLECT],
    "reflection_keep_rate": "#b4439c",
}

RUN_COLOURS = ("#0b6bcb", "#d9480f", "#0c8f6a", "#8a3ffc", "#a15c00", "#b4439c", "#495057")

PHASE_COLOURS = {
    "generate": "#0b6bcb",
    "grade": "#6cb2f0",
    "recycle": "#8a3ffc",
    "update": "#d9480f",
    "broadcast": "#f5a66b",
    "check": "#c8b6a6",
    "checkpoint": "#868e96",
    "evaluate": "#0c8f6a",
}

CHANCE = {"judge_accuracy": 0.5, "pairwise_accuracy": 0.5, "judge_yes_rate": 0.5}


def held_out(runs: Sequence[Run]) -> list[Chart]:
    """A chart for each held-out score over the steps, with 95 % bands."""
    return [chart for name in SCORE_TITLES if not (chart := _score_chart(runs, name)).is_empty]


def training(run: Run) -> list[Chart]:
    """What the training batches looked like, step by step."""
    charts = [
        _by_objective(
            run, "reward", "Reward in training", "mean reward", lambda m: m.reward, unit="share"
        ),
        _yes_rate(run),
        _share_dropped(run),
        _recycled(run),
        _ungraded(run),
        _by_objective(run, "entropy", "Entropy", "nats per token", _reported("entropy")),
        _one(
            run, "norm", "Gradient norm", "before clipping", lambda m: _update(m, "gradient_norm")
        ),
        _by_objective(
            run,
            "norms",
            "Gradient norm by objective",
            "before clipping",
            lambda m: m.update.gradient_norms if m.update else {},
            note="Of each objective's part of the gradient, its weight in it, where measured.",
        ),
        _by_objective(
            run,
            "gap",
            "Gap between sampler and learner",
            "mean |difference of log p|",
            _reported("gap"),
            note="How far the engine's log-probabilities are from the learner's. Rounding alone "
            "should remain.",
        ),
        _reference(run),
        _one(run, "rate", "Learning rate", "learning rate", lambda m: _update(m, "learning_rate")),
    ]
    return [chart for chart in charts if not chart.is_empty]


def clock(run: Run) -> list[Chart]:
    """Where the time went."""
    steps = tuple(float(timing.step) for timing in run.timing)
    names = [name for name in PHASE_COLOURS if any(name in t.phases for t in run.timing)]
    phases = tuple(
        Curve(name, steps, tuple(t.phases.get(name, 0.0) for t in run.timing), PHASE_COLOURS[name])
        for name in names
    )
    speeds = [timing for timing in run.timing if math.isfinite(timing.tokens_per_second)]
    speed = Curve(
        "completion tokens",
        tuple(float(timing.step) for timing in speeds),
        tuple(timing.tokens_per_second for timing in speeds),
        COLOURS[Objective.SOLVE],
        smooth=True,
    )
    charts = [
        Chart("phases", "Time by phase", "step", "seconds per step", phases, stacked=True),
        Chart(
            "speed",
            "Speed",
            "step",
            "tokens per second",
            (speed,),
            note="Completion tokens of a step over the seconds of the whole step.",
        ),
    ]
    return [chart for chart in charts if not chart.is_empty]


def _score_chart(runs: Sequence[Run], name: str) -> Chart:
    alone = len(runs) == 1
    curves: list[Curve] = []
    for run, run_colour in zip(runs, _cycle(len(runs)), strict=True):
        colour = SCORE_COLOURS[name] if alone else run_colour
        curves.append(_score_curve(run, name, "sampled", "sampled" if alone else run.name, colour))
        if alone:
            curves.append(_score_curve(run, name, "greedy", "greedy", "#6b7280"))
    return Chart(
        id=name,
        title=SCORE_TITLES[name],
        x_label="step",
        y_label="held out",
        curves=tuple(curve for curve in curves if curve.x),
        unit="share",
        level=CHANCE.get(name),
    )


def _score_curve(run: Run, name: str, mode: str, label: str, colour: str) -> Curve:
    def has(evaluation: EvaluationRecord) -> bool:
        score = evaluation.scores.get(name)
        return evaluation.mode == mode and score is not None and score.value is not None

    kept = [evaluation for evaluation in run.evaluations if has(evaluation)]
    scores = [evaluation.scores[name] for evaluation in kept]
    return Curve(
        label=label,
        x=tuple(float(evaluation.step) for evaluation in kept),
        y=tuple(_number(score.value) for score in scores),
        low=tuple(_number(score.low) for score in scores),
        high=tuple(_number(score.high) for score in scores),
        colour=colour,
        dash="solid" if mode == "sampled" else "dotted",
        intervals="band" if mode == "sampled" else "bars",
        points=True,
    )


def _by_objective(
    run: Run,
    chart: str,
    title: str,
    y_label: str,
    values: Callable[[StepMetrics], dict[Objective, float]],
    *,
    unit: Literal["share", "number"] = "number",
    note: str = "",
) -> Chart:
    curves = []
    for objective in Objective:
        all_points = [(m.step, values(m).get(objective, math.nan)) for m in run.metrics]
        points = [(step, value) for step, value in all_points if math.isfinite(value)]
        curves.append(
            Curve(
                label=OBJECTIVES[objective],
                x=tuple(float(step) for step, _ in points),
                y=tuple(value for _, value in points),
                colour=COLOURS[objective],
                smooth=True,
            )
        )
    return Chart(
        id=chart,
        title=title,
        x_label="step",
        y_label=y_label,
        curves=tuple(curve for curve in curves if curve.x),
        unit=unit,
        note=note,
    )


def _reported(name: str) -> Callable[[StepMetrics], dict[Objective, float]]:
    """A field of the learner's report on each objective."""

    def values(metrics: StepMetrics) -> dict[Objective, float]:
        parts = metrics.update.objectives if metrics.update else {}
        return {objective: getattr(part, name) for objective, part in parts.items()}

    return values


def _update(metrics: StepMetrics, name: str) -> float:
    return math.nan if metrics.update is None else float(getattr(metrics.update, name))


def _one(
    run: Run, chart: str, title: str, y_label: str, value: Callable[[StepMetrics], float]
) -> Chart:
    """A chart of one number per step; steps that do not have it are left out."""
    points = [(m.step, value(m)) for m in run.metrics if math.isfinite(value(m))]
    curve = Curve(
        label=title.lower(),
        x=tuple(float(step) for step, _ in points),
        y=tuple(number for _, number in points),
        colour="#495057",
        smooth=chart != "rate",
    )
    return Chart(chart, title, "step", y_label, (curve,))


def _yes_rate(run: Run) -> Chart:
    """The share of yes: both ends are absorbing, no group there has any signal."""
    points = [(m.step, m.yes_rate) for m in run.metrics if m.yes_rate is not None]
    trained = Curve(
        label="in training",
        x=tuple(float(step) for step, _ in points),
        y=tuple(rate for _, rate in points),
        colour=COLOURS[Objective.POINTWISE],
        smooth=True,
    )
    return Chart(
        id="yes",
        title="Share of “yes” in training",
        x_label="step",
        y_label="pointwise verdicts",
        curves=(trained,) if points else (),
        unit="share",
        level=0.5,
        note="Half of the cases are right. Near 0 % or 100 % the judge no longer looks.",
    )


def _share_dropped(run: Run) -> Chart:
    def share(metrics: StepMetrics) -> dict[Objective, float]:
        groups = metrics.groups.items()
        return {name: metrics.dropped.get(name, 0) / n for name, n in groups if n}

    return _by_objective(
        run,
        "dropped",
        "Groups without signal",
        "share of groups",
        share,
        unit="share",
        note="All completions of the prompt earned the same, so there was nothing to learn.",
    )


def _recycled(run: Run) -> Chart:
    """Recycled prompts by label: six layers, each objective in its colour, light and dark."""
    steps = tuple(float(m.step) for m in run.metrics)
    layers = (
        ("is right (yes)", "pointwise", "yes", "#d9480f"),
        ("is wrong (no)", "pointwise", "no", "#f5a66b"),
        ("first is right (A)", "pairwise", "A", "#0c8f6a"),
        ("second is right (B)", "pairwise", "B", "#7fd1b9"),
        ("reflect on a wrong one", "reflect", "wrong", "#8a3ffc"),
        ("reflect on a right one", "reflect", "right", "#c9a6ff"),
    )
    curves = tuple(
        Curve(
            label,
            steps,
            tuple(float(getattr(m.recycled, kind).get(key, 0)) for m in run.metrics),
            colour,
        )
        for label, kind, key, colour in layers
    )
    some = tuple(curve for curve in curves if any(curve.y))
    return Chart("recycled", "Recycled prompts by label", "step", "prompts", some, stacked=True)


def _ungraded(run: Run) -> Chart:
    """Completions that earned nothing because there was nothing to grade, by reason."""
    steps = tuple(float(m.step) for m in run.metrics)
    colours = {
        Reason.NO_ANSWER: "#0b6bcb",
        Reason.TRUNCATED: "#d9480f",
        Reason.TIMEOUT: "#8a3ffc",
        Reason.ERROR: "#b4439c",
    }
    curves = tuple(
        Curve(REASONS[reason], steps, tuple(_part(m, reason) for m in run.metrics), colour)
        for reason, colour in colours.items()
    )
    some = tuple(curve for curve in curves if any(curve.y))
    return Chart(
        "ungraded",
        "Completions without an answer",
        "step",
        "share",
        some,
        unit="percent",
        stacked=True,
    )


def _part(metrics: StepMetrics, reason: Reason) -> float:
    total = sum(metrics.reasons.values())
    return metrics.reasons.get(reason, 0) / total if total else 0.0


def _reference(run: Run) -> Chart:
    """KL to the reference; empty where there was no reference."""
    chart = _by_objective(
        run, "kl", "KL to the initial model", "nats per token", _reported("kl_reference")
    )
    there = any(value for curve in chart.curves for value in curve.y)
    return chart if there else Chart(chart.id, chart.title, "step", "", ())


def _cycle(n: int) -> list[str]:
    return [RUN_COLOURS[index % len(RUN_COLOURS)] for index in range(n)]


def _number(value: float | None) -> float:
    return math.nan if value is None else value
