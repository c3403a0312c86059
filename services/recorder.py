"""Everything that is kept or shown of a run goes through here: folder, live view, metrics."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

from contracts.types import Group, GroupSummary, Objective, Prompt, UpdateReport
from services.evaluation import verdicts
from services.live import LiveView
from services.metrics import Metrics
from services.records import (
    EvaluationRecord,
    ExampleRecord,
    Recycled,
    RolloutRecord,
    Staleness,
    StepMetrics,
    StepTiming,
    Update,
)
from services.run_folder import Run, RunFolder


class Recorder:
    """Writes the run folder, moves the live view, and feeds the metrics."""

    def __init__(self, folder: RunFolder, view: LiveView, metrics: Metrics) -> None:
        self._folder, self._view, self._metrics = folder, view, metrics
        self._clock = time.monotonic()
        self.steps = 0
        self.evaluations: list[EvaluationRecord] = []

    def resume(self, run: Run) -> None:
        """Take in what an earlier part of the run has kept already."""
        for metrics, timing in zip(run.metrics, run.timing, strict=True):
            self._view.resume(metrics, timing)
            self.steps = metrics.step
        for evaluation in run.evaluations:
            self._view.evaluation(evaluation)
            self.evaluations.append(evaluation)

    def phase(self, name: str) -> None:
        """Say what the run is doing now."""
        self._view.phase(name)

    def step(
        self,
        *,
        step: int,
        version: int,
        epoch: int,
        summaries: Sequence[GroupSummary],
        ages: Sequence[int],
        recycled: Sequence[Prompt],
        report: UpdateReport,
        phases: dict[str, float],
        read: Sequence[Group],
    ) -> None:
        """Keep a step: metrics, times by phase in seconds, and the first rollouts of ``read``."""
        metrics = step_metrics(
            step=step,
            version=version,
            epoch=epoch,
            summaries=summaries,
            ages=ages,
            recycled=recycled,
            report=report,
        )
        now = time.monotonic()
        seconds, self._clock = now - self._clock, now
        timing = StepTiming(
            step=step,
            seconds=seconds,
            phases=phases,
            tokens_per_second=metrics.completion_tokens / seconds,
        )
        self._folder.append_metrics(metrics)
        self._folder.append_timing(timing)
        self._folder.append_rollouts(RolloutRecord.of(step, group.rollouts[0]) for group in read)
        self._metrics.step(metrics, timing)
        self._view.step(metrics, timing)
        self.steps = step

    def evaluation(self, evaluation: EvaluationRecord) -> None:
        """Keep held-out scores. Their time does not count as the next step's."""
        self._folder.append_evaluation(evaluation)
        self._metrics.evaluation(evaluation)
        self._view.evaluation(evaluation)
        self.evaluations.append(evaluation)
        self._clock = time.monotonic()

    def examples(self, examples: Sequence[ExampleRecord]) -> None:
        """Keep completions of held-out prompts, to be read."""
        self._folder.append_examples(examples)
        self._clock = time.monotonic()


def step_metrics(
    *,
    step: int,
    version: int,
    epoch: int,
    summaries: Sequence[GroupSummary],
    ages: Sequence[int],
    recycled: Sequence[Prompt],
    report: UpdateReport,
) -> StepMetrics:
    """What a step did, free of the clock.

    ``version`` is the one after the step; ``ages`` are versions between sampling and training.
    """
    said_yes = verdicts(summaries)
    return StepMetrics(
        step=step,
        version=version,
        epoch=epoch,
        groups=Counter(summary.objective for summary in summaries),
        dropped=Counter(s.objective for s in summaries if not s.has_signal),
        reward=_means(summaries, lambda summary: summary.rewards),
        accuracy=_means(summaries, lambda summary: summary.correct),
        yes_rate=sum(said_yes) / len(said_yes) if said_yes else None,
        reasons=Counter(reason for summary in summaries for reason in summary.reasons),
        recycled=_recycled(recycled),
        completion_tokens=sum(sum(summary.completion_tokens) for summary in summaries),
        staleness=Staleness(mean=sum(ages) / len(ages), max=max(ages)),
        update=Update.of(report) if report.updates else None,
    )


def _means(
    summaries: Sequence[GroupSummary], values: Callable[[GroupSummary], Sequence[float]]
) -> dict[Objective, float]:
    """The mean over all completions of each objective that has any."""
    means = {}
    for objective in Objective:
        ours = [v for s in summaries if s.objective is objective for v in values(s)]
        if ours:
            means[objective] = sum(ours) / len(ours)
    return means


def _recycled(prompts: Sequence[Prompt]) -> Recycled:
    """Counts of recycled prompts by label; of reflections by the candidate shown."""
    counts: dict[Objective, Counter[str]] = {objective: Counter() for objective in Objective}
    for prompt in prompts:
        label = prompt.label
        if prompt.objective is Objective.REFLECT:
            label = "right" if prompt.shown_correct[0] else "wrong"
        counts[prompt.objective][label] += 1
    return Recycled.model_validate(
        {name: counts[Objective(name)] for name in ("pointwise", "pairwise", "reflect")}
    )
