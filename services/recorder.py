"""Everything that is kept or shown of a run goes through here: folder, live view, metrics."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from textwrap import shorten

from actors.faults import Fault
from actors.transfer.report import TransferReport
from contracts.types import Group, Objective, Prompt
from services.budget import Spending
from services.evaluation import verdicts
from services.guards import Finding
from services.live import LiveView
from services.metrics import Metrics
from services.records import (
    EvaluationRecord,
    ExampleRecord,
    FaultRecord,
    LedgerRecord,
    Recycled,
    RecycledRecord,
    RolloutRecord,
    Staleness,
    StepMetrics,
    StepTiming,
    Update,
)
from services.run_folder import Run, RunFolder
from services.step import Step
from services.step_figures import advantage_spread, judge_rates, means, reflection_rates

FAULT_LETTERS = 160
"""Of a fault in the live view; the whole is in ``faults.jsonl``."""


class Recorder:
    """Writes the run folder, moves the live view, and feeds the metrics.

    Args:
        folder, view, metrics: where everything goes.
        advantage: the learner's estimator, for the spread of advantages.
        answered: whether recycled prompts are answered by this run; if not, they are kept.
    """

    def __init__(
        self,
        folder: RunFolder,
        view: LiveView,
        metrics: Metrics,
        advantage: str = "group_normalised",
        *,
        answered: bool = True,
    ) -> None:
        self._folder, self._view, self._metrics = folder, view, metrics
        self._advantage, self._answered = advantage, answered
        self._clock = time.monotonic()
        self._lock = threading.Lock()
        self.spending = Spending()
        self.history: tuple[StepMetrics, ...] = ()
        """Steps of an earlier part of the run."""
        self.evaluations: list[EvaluationRecord] = []

    @property
    def steps(self) -> int:
        """Steps that are done."""
        return self.spending.steps

    def resume(self, run: Run) -> None:
        """Take in what an earlier part of the run has kept already; nothing else."""
        self.evaluations, self.history = [], run.metrics
        self.spending = Spending.of(run.metrics, run.timing)
        for metrics, timing in zip(run.metrics, run.timing, strict=True):
            self._view.resume(metrics, timing)
        for evaluation in run.evaluations:
            self._view.evaluation(evaluation)
            self.evaluations.append(evaluation)
        self._metrics.resume(run.metrics, run.timing, run.evaluations)

    def fault(self, fault: Fault) -> None:
        """Keep a fault that is being mended. Called from any thread."""
        record = FaultRecord(
            at=time.time(),
            step=self.steps,
            kind=fault.kind,
            name=fault.name,
            cause=str(fault.cause),
        )
        with self._lock:
            self._folder.append_fault(record)
            self._metrics.fault(fault)
        self.note(shorten(str(fault.cause).splitlines()[0], FAULT_LETTERS, placeholder=" ..."))

    def restart_clock(self) -> None:
        """The next step begins now."""
        self._clock = time.monotonic()

    def note(self, text: str) -> None:
        """Tell something a person should know."""
        self._view.note(text)

    def guard(self, finding: Finding) -> None:
        """A guard found its signature."""
        self._metrics.guard(finding.guard)
        self.note(f"{finding.guard}: {finding.why}")

    def weights(self, weights: Mapping[Objective, float]) -> None:
        """The objectives have these weights in the loss from now on."""
        self._metrics.weights(weights)

    def phase(self, name: str) -> None:
        """Say what the run is doing now."""
        self._view.phase(name)
        self._metrics.activity(name)

    def sync(self, report: TransferReport) -> None:
        """New weights are with every generator."""
        self._metrics.sync(report)

    def checkpoint(self, step: int, seconds: float) -> None:
        """A checkpoint is whole that was written after ``step`` in ``seconds``."""
        self._metrics.checkpoint(step, seconds)

    def step(
        self, step: Step, version: int, phases: dict[str, float], read: Sequence[Group]
    ) -> StepMetrics:
        """Keep a step: metrics, times by phase in seconds, and the first rollouts of ``read``.

        Args:
            step: what was done.
            version: of the weights after it.
            phases: seconds of the learner's side; those of the batches are in ``step``.
            read: groups to be read by people.
        """
        metrics = step_metrics(step, version, self._advantage)
        now = time.monotonic()
        seconds, self._clock = now - self._clock, now
        timing = step_timing(step, phases, seconds, metrics.completion_tokens)
        # Before the metrics: a step that is counted is in the ledger.
        self._folder.append_ledger(ledger(step))
        if not self._answered:
            self._folder.append_recycled(
                RecycledRecord(step=step.number, prompt=prompt) for prompt in step.recycled
            )
        self._folder.append_metrics(metrics)
        self._folder.append_timing(timing)
        self._folder.append_rollouts(
            RolloutRecord.of(step.number, group.rollouts[0]) for group in read
        )
        self._metrics.step(metrics, timing)
        self._view.step(metrics, timing)
        self.spending.add(metrics, timing)
        return metrics

    def evaluation(self, evaluation: EvaluationRecord) -> None:
        """Keep held-out scores. Their time does not count as the next step's."""
        self._folder.append_evaluation(evaluation)
        self._metrics.evaluation(evaluation)
        self._view.evaluation(evaluation)
        self.evaluations.append(evaluation)
        self.restart_clock()

    def examples(self, examples: Sequence[ExampleRecord]) -> None:
        """Keep completions of held-out prompts, to be read."""
        self._folder.append_examples(examples)
        self.restart_clock()


def step_metrics(step: Step, version: int, advantage: str = "group_normalised") -> StepMetrics:
    """What a step did, free of the clock. ``version`` is the one after it."""
    summaries = [group.summary for group in step.groups]
    said_yes = verdicts(summaries)
    dropped = [summary for summary in summaries if not summary.has_signal]
    ages, report = step.ages, step.report
    return StepMetrics(
        step=step.number,
        version=version,
        epoch=step.batches[-1].tasks.epoch,
        groups=Counter(summary.objective for summary in summaries),
        dropped=Counter(s.objective for s in dropped),
        all_right=Counter(s.objective for s in dropped if all(s.correct)),
        all_wrong=Counter(s.objective for s in dropped if not any(s.correct)),
        stale=Counter(group.summary.objective for group in step.stale),
        reward=means(summaries, lambda summary: summary.rewards),
        accuracy=means(summaries, lambda summary: summary.correct),
        advantage=advantage_spread(summaries, advantage),
        judge=judge_rates(summaries),
        reflection=reflection_rates(summaries),
        yes_rate=sum(said_yes) / len(said_yes) if said_yes else None,
        reasons=Counter(reason for summary in summaries for reason in summary.reasons),
        recycled=_recycled(step.recycled),
        completion_tokens=sum(sum(summary.completion_tokens) for summary in summaries),
        prompt_tokens=sum(summary.prompt_tokens for summary in summaries),
        staleness=Staleness(mean=sum(ages) / max(1, len(ages)), max=max(ages, default=0)),
        update=Update.of(report) if report is not None and report.updates else None,
    )


def ledger(step: Step) -> Iterator[LedgerRecord]:
    """The groups of a step that were young enough, with what they were asked."""
    for batch, group in step.fresh:
        asked = batch.prompts[group.summary.prompt_id]
        yield LedgerRecord.of(step.number, batch.number, asked, group.summary)


def step_timing(step: Step, phases: dict[str, float], seconds: float, tokens: int) -> StepTiming:
    """The clock of a step that took ``seconds`` and sampled ``tokens``."""
    generating = step.phases.get("generate", 0.0)
    return StepTiming(
        step=step.number,
        seconds=seconds,
        phases=step.phases | phases,
        tokens_per_second=tokens / seconds,
        idle={
            "learner": min(1.0, step.waited / seconds),
            "generators": max(0.0, 1 - generating / seconds),
        },
        queued=step.queued,
    )


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
