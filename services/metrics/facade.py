"""The façade: what happens in a run goes in, figures come out for everyone who looks."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from prometheus_client import CollectorRegistry, start_http_server

from actors.faults import Fault
from actors.transfer.report import TransferReport
from contracts.config import RunConfig
from contracts.errors import DeadlineError
from services.metrics.catalogue import ACTIVITIES, BUDGETS
from services.metrics.series import Key, Series
from services.metrics.sinks import Writer, writers
from services.records import JUDGE_SCORES, EvaluationRecord, StepMetrics, StepTiming, Update
from services.run_folder import COUNTERS

if TYPE_CHECKING:
    from threading import Thread
    from wsgiref.simple_server import WSGIServer

STOP_SECONDS = 5.0
"""Time for the server's thread to end."""


class Metrics:
    """Co-evolution metrics of a run. Serves them, and feeds the sinks, while its context is open.

    Args:
        config: of the run.
        folder: the run folder, for counters and sinks; None: nothing is kept, and no sink fed.
    """

    def __init__(self, config: RunConfig, folder: Path | None = None) -> None:
        self._config, self._folder = config, folder
        self._series = Series(config.name, None if folder is None else folder / COUNTERS)
        self._faults: dict[str, deque[float]] = {kind: deque() for kind in BUDGETS}
        self._server: tuple[WSGIServer, Thread] | None = None
        self._sinks: list[Writer] = []
        self._sinks_open = False
        self._step = 0
        self._settings()

    @property
    def registry(self) -> CollectorRegistry:
        """The registry of Prometheus' client that the port serves."""
        return self._series.registry

    def __enter__(self) -> Self:
        settings = self._config.metrics
        if settings.port:
            self._server = start_http_server(
                settings.port, addr=settings.host, registry=self._series.registry
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join(timeout=STOP_SECONDS)
        for sink in self._sinks:
            sink.close()

    def resume(
        self,
        metrics: Sequence[StepMetrics],
        timing: Sequence[StepTiming],
        evaluations: Sequence[EvaluationRecord],
    ) -> None:
        """Take up the figures of an earlier part of the run.

        Counters go on from where they were last seen, work that is to be done again included;
        where that was not kept, from what the steps that stay add up to.
        """
        if self._step == 0 and not self._series.restore():
            for done, clock in zip(metrics, timing, strict=True):
                self._series.count(_amounts(done, clock))
        if metrics:
            self._gauges(metrics[-1], timing[-1])
            self._series.set("checkpoint_step", metrics[-1].step)
        for evaluation in evaluations:
            self._scores(evaluation)

    def activity(self, name: str) -> None:
        """Say what the run does now. Only the first word counts."""
        word = name.split(" ", 1)[0]
        for activity in ACTIVITIES:
            self._series.set("activity", float(activity == word), activity)

    def step(self, metrics: StepMetrics, timing: StepTiming) -> None:
        """Take in one step."""
        self._series.count(_amounts(metrics, timing))
        self._gauges(metrics, timing)
        self._progress()
        self._feed(metrics.step)

    def evaluation(self, evaluation: EvaluationRecord) -> None:
        """Take in held-out scores."""
        self._scores(evaluation)
        self._progress()
        self._feed(evaluation.step)

    def sync(self, report: TransferReport) -> None:
        """Take in a broadcast of weights."""
        self._series.set("sync_bytes", report.bytes)
        self._series.set("sync_generators", report.generators or None)
        for phase, seconds in report.seconds.items():
            self._series.set("sync_phase_seconds", seconds, phase)
        amounts: dict[Key, float] = {
            ("sync_seconds", (phase,)): seconds for phase, seconds in report.seconds.items()
        }
        self._series.count(amounts | {("syncs", ()): 1.0})
        self._progress()

    def checkpoint(self, step: int, seconds: float) -> None:
        """Take in a checkpoint that is whole, written after ``step`` in ``seconds``."""
        self._series.set("checkpoint_step", step)
        self._series.set("checkpoint_seconds", seconds)
        self._series.set("checkpoint_timestamp_seconds", time.time())
        self._series.count({("checkpoints", ()): 1.0})
        self._progress()

    def fault(self, fault: Fault) -> None:
        """Take in a fault that is mended. Called from any thread."""
        if fault.kind in self._faults:
            self._faults[fault.kind].append(time.monotonic())
        late = isinstance(fault.cause, DeadlineError)
        self._series.count(
            {("faults", (fault.kind,)): 1.0, ("timeouts", (fault.kind,)): float(late)}
        )

    def guard(self, name: str) -> None:
        """A guard acted."""
        self._series.count({("guard_actions", (name,)): 1.0})

    def weights(self, weights: Mapping[Any, float]) -> None:
        """Take in the weights of the objectives, by name, in the loss."""
        for objective, weight in weights.items():
            self._series.set("objective_weight", weight, str(objective))

    def _settings(self) -> None:
        """What is known before the first step."""
        config, series = self._config, self._series
        series.set("step", 0)
        series.set("step_seconds", 0)
        series.set("planned_steps", config.steps)
        series.set("planned_generators", config.generators.count)
        series.set("staleness_limit_versions", config.max_staleness)
        series.set("checkpoint_interval_steps", config.checkpoints.every)
        if config.checkpoints.every:
            series.set("checkpoint_step", 0)
            series.set("checkpoint_timestamp_seconds", time.time())
        self._progress()
        self.weights(config.learner.weights)
        for kind in BUDGETS:
            series.follow("restart_budget_used_ratio", partial(self._used, kind), kind)

    def _used(self, kind: str) -> float:
        """Share of the restart budget of ``kind`` that is used up now."""
        settings = self._config.faults
        since = time.monotonic() - settings.window
        recent = sum(at > since for at in tuple(self._faults[kind]))
        return recent / max(1, settings.restarts)

    def _progress(self) -> None:
        self._series.set("progress_timestamp_seconds", time.time())

    def _feed(self, step: int) -> None:
        """Give the figures after ``step`` to the sinks, which are opened with the first."""
        if not self._config.metrics.sinks or self._folder is None:
            return
        if not self._sinks_open:
            before = max(0, step - 1)
            self._sinks = writers(self._config.metrics, self._config.name, self._folder, before)
            self._sinks_open = True
        values = self._series.values().items()
        figures = {"/".join((name, *labels)): value for (name, labels), value in values}
        for sink in self._sinks:
            sink.write(step, figures)

    def _gauges(self, metrics: StepMetrics, timing: StepTiming) -> None:
        series = self._series
        self._step = metrics.step
        series.set("step", metrics.step)
        series.set("epoch", metrics.epoch)
        series.set("weight_version", metrics.version)
        series.set("staleness_mean_versions", metrics.staleness.mean)
        series.set("staleness_max_versions", metrics.staleness.max)
        for name, values in (
            ("reward_mean", metrics.reward),
            ("accuracy_ratio", metrics.accuracy),
            ("advantage_stddev", metrics.advantage),
        ):
            for objective, value in values.items():
                series.set(name, value, objective)
        judge, reflection = metrics.judge, metrics.reflection
        series.set("judge_yes_ratio", metrics.yes_rate)
        series.set("judge_true_positive_ratio", judge.true_positive_rate)
        series.set("judge_false_positive_ratio", judge.false_positive_rate)
        series.set("judge_calibration_error_ratio", judge.calibration_error)
        series.set("reflection_ratio", reflection.fix, "fix")
        series.set("reflection_ratio", reflection.keep, "keep")
        series.set("reflection_ratio", reflection.broke, "break")
        self._clock(timing)
        if metrics.update is not None:
            self._update(metrics.update)

    def _clock(self, timing: StepTiming) -> None:
        series = self._series
        series.set("step_seconds", timing.seconds)
        series.set("generated_tokens_per_second", timing.tokens_per_second)
        series.set("queued_batches", timing.queued)
        for phase, seconds in timing.phases.items():
            series.set("step_phase_seconds", seconds, phase)
        for role, share in timing.idle.items():
            series.set("idle_ratio", share, role)

    def _update(self, update: Update) -> None:
        series = self._series
        series.set("gradient_norm", update.gradient_norm)
        series.set("learning_rate", update.learning_rate)
        for objective, norm in update.gradient_norms.items():
            series.set("objective_gradient_norm", norm, objective)
        for objective, report in update.objectives.items():
            for name, value in (
                ("loss", report.loss),
                ("policy_ratio", report.ratio),
                ("clip_ratio", report.clip_fraction),
                ("sampler_kl_nats", report.kl_sampler),
                ("sampler_gap_nats", report.gap),
                ("reference_kl_nats", report.kl_reference),
                ("entropy_nats", report.entropy),
            ):
                series.set(name, value, objective)

    def _scores(self, evaluation: EvaluationRecord) -> None:
        for name, score in evaluation.scores.items():
            self._series.set("held_out_ratio", score.value, evaluation.mode, name)
        for judged, record in evaluation.judge.items():
            for name in JUDGE_SCORES:
                value = getattr(record, name).value
                self._series.set("held_out_judge_ratio", value, evaluation.mode, name, judged)
            error = record.calibration_error
            self._series.set("held_out_calibration_error_ratio", error, judged)


def _amounts(metrics: StepMetrics, timing: StepTiming) -> dict[Key, float]:
    """What one step adds to the counters."""
    amounts: Counter[Key] = Counter()
    amounts["completion_tokens", ()] = metrics.completion_tokens
    amounts["prompt_tokens", ()] = metrics.prompt_tokens
    amounts["steps_seconds", ()] = timing.seconds  # type: ignore[assignment]
    for objective, count in metrics.groups.items():
        amounts["groups", (objective,)] += count
    for objective, count in metrics.dropped.items():
        right, wrong = metrics.all_right.get(objective, 0), metrics.all_wrong.get(objective, 0)
        amounts["groups_dropped", (objective, "all_right")] += right
        amounts["groups_dropped", (objective, "all_wrong")] += wrong
        amounts["groups_dropped", (objective, "equal_rewards")] += count - right - wrong
    for objective, count in metrics.stale.items():
        amounts["groups_dropped", (objective, "stale")] += count
    for reason, count in metrics.reasons.items():
        amounts["grades", (reason,)] += count
    for kind, labels in metrics.recycled:
        for label, count in labels.items():
            amounts["recycled_prompts", (kind, label)] += count
    if metrics.update is not None:
        amounts["updates", ()] += metrics.update.updates
        for objective, report in metrics.update.objectives.items():
            amounts["trained_tokens", (objective,)] += report.tokens
    seconds = {("phase_seconds", (phase,)): spent for phase, spent in timing.phases.items()}
    return {key: float(value) for key, value in amounts.items()} | seconds
