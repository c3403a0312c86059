"""The report as a page: gathers what is shown, and fills the template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from contracts.types import Objective
from services.records import EvaluationRecord, ExampleRecord, RolloutRecord
from services.report import curves, judging, wording
from services.report.charts import Chart, draw
from services.run_folder import REPORT, Run, read_run, write_atomically
from services.statistics import Score

HERE = Path(__file__).parent

LONGEST_TEXT = 3000
"""Characters of a prompt or completion that are shown."""

EXAMPLES_EACH = 6
"""Examples of each objective that are shown."""

ROLLOUT_STEPS = 3
"""Steps whose rollouts are shown: the first, the last, and those in between."""

ROLLOUTS_EACH = 12
"""Rollouts of each of these steps."""


@dataclass(frozen=True)
class Picture:
    """A chart, drawn. ``legend`` holds the curves where there are several."""

    chart: Chart
    svg: Markup

    @property
    def has_legend(self) -> bool:
        """Whether curves have to be told apart."""
        return len(self.chart.curves) > 1


@dataclass(frozen=True)
class Ends:
    """A held-out score at both ends of a run."""

    before: Score | None
    after: Score | None

    @property
    def change(self) -> str:
        """In points, signed."""
        return wording.change(self.before, self.after)

    @property
    def moved(self) -> str:
        """``rose``, ``fell`` or ``unclear``."""
        return wording.moved(self.before, self.after)


@dataclass(frozen=True)
class ScoreRow:
    """A line of the table of scores."""

    title: str
    meaning: str
    sampled: Ends
    greedy: Ends | None


@dataclass(frozen=True)
class Pair:
    """One held-out prompt, answered before and after training."""

    before: ExampleRecord | None
    after: ExampleRecord | None

    @property
    def either(self) -> ExampleRecord:
        """The one that is there, for prompt and label."""
        found = self.before or self.after
        assert found is not None, "a pair is made of at least one example"
        return found


def write_report(run_folder: Path) -> Path:
    """Write ``report.html`` into a run folder, of an interrupted run too, and return its path.

    Raises:
        UserError: ``run_folder`` is no run folder, or a file of it cannot be read.
    """
    path = run_folder / REPORT
    write_atomically(path, page(read_run(run_folder)))
    return path


def page(run: Run) -> str:
    """The report of a run, as HTML that needs no other file."""
    first, last = _ends(run, "sampled")
    greedy = _ends(run, "greedy")
    return template("report.html").render(
        run=run,
        status=run.summary.status if run.summary else "cut off",
        facts=facts(run),
        first=first,
        last=last,
        findings=wording.findings(first.scores if first else {}, last.scores if last else {}),
        rows=score_rows((first, last), greedy),
        held_out=[picture(chart) for chart in curves.held_out([run])],
        judge_rows=judging.judge_rows((first, last)),
        judge=[picture(c) for c in judging.judge_charts(run.evaluations, (first, last))],
        training=[picture(chart) for chart in curves.training(run)],
        clock=[picture(chart) for chart in curves.clock(run)],
        examples=example_pairs(run.examples),
        rollouts=chosen_rollouts(run.rollouts),
        css=Markup((HERE / "style.css").read_text(encoding="utf-8")),
    )


def picture(chart: Chart) -> Picture:
    """Draw a chart."""
    return Picture(chart, Markup(draw(chart)))


def facts(run: Run) -> list[tuple[str, str]]:
    """Names and values for the head of the page."""
    tokens = sum(metrics.completion_tokens for metrics in run.metrics)
    found = [
        ("steps", f"{len(run.metrics):,}"),
        ("completion tokens", f"{tokens:,}"),
    ]
    if summary := run.summary:
        found = [
            ("model", f"{summary.model.name}, {summary.model.parameters:,} parameters"),
            *found,
            ("time", wording.duration(summary.seconds)),
            ("seed", str(summary.seed)),
        ]
    return found


def score_rows(
    sampled: tuple[EvaluationRecord | None, EvaluationRecord | None],
    greedy: tuple[EvaluationRecord | None, EvaluationRecord | None],
) -> list[ScoreRow]:
    """The table of scores; empty if nothing was evaluated."""
    known = {name for evaluation in sampled if evaluation for name in evaluation.scores}
    return [
        ScoreRow(
            title=title,
            meaning=wording.SCORE_MEANINGS[name],
            sampled=Ends(*(_score(evaluation, name) for evaluation in sampled)),
            greedy=Ends(*(_score(evaluation, name) for evaluation in greedy))
            if greedy[0]
            else None,
        )
        for name, title in wording.SCORE_TITLES.items()
        if name in known
    ]


def example_pairs(examples: Iterable[ExampleRecord]) -> dict[str, list[Pair]]:
    """Examples by objective, each prompt's answers before and after side by side."""
    answers: dict[tuple[Objective, str], dict[str, ExampleRecord]] = {}
    for example in examples:
        answers.setdefault((example.objective, example.prompt_id), {})[example.when] = example
    pairs: dict[str, list[Pair]] = {}
    for objective in Objective:
        ours = [found for (of, _), found in answers.items() if of is objective]
        if ours:
            pairs[wording.OBJECTIVES[objective]] = [
                Pair(found.get("before"), found.get("after")) for found in ours[:EXAMPLES_EACH]
            ]
    return pairs


def chosen_rollouts(rollouts: Sequence[RolloutRecord]) -> dict[int, list[RolloutRecord]]:
    """Rollouts of a few steps spread over the run, the first and the last among them."""
    by_step: dict[int, list[RolloutRecord]] = {}
    for rollout in rollouts:
        by_step.setdefault(rollout.step, []).append(rollout)
    steps = sorted(by_step)
    parts = min(ROLLOUT_STEPS, len(steps))
    chosen = [steps[round(i * (len(steps) - 1) / max(1, parts - 1))] for i in range(parts)]
    return {step: by_step[step][:ROLLOUTS_EACH] for step in chosen}


def shortened(text: str) -> str:
    """``text``, its middle left out where it is too long for a page."""
    if len(text) <= LONGEST_TEXT:
        return text
    half = LONGEST_TEXT // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} characters left out …]\n{text[-half:]}"


def _ends(
    run: Run, mode: Literal["sampled", "greedy"]
) -> tuple[EvaluationRecord | None, EvaluationRecord | None]:
    """The first evaluation of a run and its last one, if that is another."""
    ours = [evaluation for evaluation in run.evaluations if evaluation.mode == mode]
    if not ours:
        return None, None
    return ours[0], ours[-1] if len(ours) > 1 else None


def _score(evaluation: EvaluationRecord | None, name: str) -> Score | None:
    return evaluation.scores.get(name) if evaluation else None


def template(name: str) -> Template:
    """A template of this folder, which escapes all that it is given."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "per_cent": wording.per_cent,
        "interval": wording.interval,
        "shortened": shortened,
        "objective": wording.OBJECTIVES.__getitem__,
        "reason": wording.REASONS.__getitem__,
    }
    return environment.get_template(name)
