"""The one façade of co-evolution metrics: Prometheus, on one loopback port of the driver."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from services.records import EvaluationRecord, FaultRecord, StepMetrics, StepTiming, Update

if TYPE_CHECKING:
    from threading import Thread
    from wsgiref.simple_server import WSGIServer

LOOPBACK = "127.0.0.1"


class Metrics:
    """Co-evolution metrics of a run, by Prometheus' naming conventions.

    Args:
        run: name of the run, a label of every metric.
        port: loopback port to serve on while the context is open; 0 serves nothing.
    """

    def __init__(self, run: str, port: int) -> None:
        self._run, self._port = run, port
        self.registry = CollectorRegistry()
        self._server: tuple[WSGIServer, Thread] | None = None
        self._step = self._gauge("step", "Steps done")
        self._version = self._gauge("weight_version", "Weight version of the generators")
        self._reward = self._gauge("reward_mean", "Mean reward of the last step", "objective")
        self._accuracy = self._gauge("accuracy_ratio", "Share right in the last step", "objective")
        self._held_out = self._gauge("held_out_ratio", "Held-out score", "score", "mode")
        self._phase = self._gauge("phase_seconds", "Seconds of the last step by phase", "phase")
        self._speed = self._gauge("generated_tokens_per_second", "Completion tokens per second")
        self._norm = self._gauge("gradient_norm", "Gradient norm before clipping")
        self._rate = self._gauge("learning_rate", "Learning rate of the last update")
        self._gap = self._gauge("sampler_gap_nats", "Mean |log p| gap to the sampler", "objective")
        self._entropy = self._gauge("entropy_nats", "Mean entropy of a token", "objective")
        self._tokens = self._counter("completion_tokens", "Completion tokens sampled")
        self._groups = self._counter("groups", "Groups by objective", "objective")
        self._dropped = self._counter("groups_dropped", "Groups without signal", "objective")
        self._grades = self._counter("grades", "Completions by grade", "reason")
        self._faults = self._counter("faults", "Faults that were mended", "kind")
        self._recycled = self._counter("recycled_prompts", "Recycled prompts", "kind", "label")

    def __enter__(self) -> Self:
        if self._port:
            self._server = start_http_server(self._port, addr=LOOPBACK, registry=self.registry)
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
            thread.join(timeout=5)

    def step(self, metrics: StepMetrics, timing: StepTiming) -> None:
        """Take in one step."""
        run = self._run
        self._step.labels(run).set(metrics.step)
        self._version.labels(run).set(metrics.version)
        _set(self._speed.labels(run), timing.tokens_per_second)
        self._tokens.labels(run).inc(metrics.completion_tokens)
        for gauge, values in ((self._reward, metrics.reward), (self._accuracy, metrics.accuracy)):
            for objective, value in values.items():
                _set(gauge.labels(run, objective), value)
        for counter, counts in (
            (self._groups, metrics.groups),
            (self._dropped, metrics.dropped),
            (self._grades, metrics.reasons),
        ):
            for label, count in counts.items():
                counter.labels(run, label).inc(count)
        for phase, seconds in timing.phases.items():
            self._phase.labels(run, phase).set(seconds)
        for kind, labels in metrics.recycled:
            for label, count in labels.items():
                self._recycled.labels(run, kind, label).inc(count)
        if metrics.update is not None:
            self._update(metrics.update)

    def fault(self, fault: FaultRecord) -> None:
        """Take in a fault."""
        self._faults.labels(self._run, fault.kind).inc()

    def evaluation(self, evaluation: EvaluationRecord) -> None:
        """Take in held-out scores."""
        for name, score in evaluation.scores.items():
            _set(self._held_out.labels(self._run, name, evaluation.mode), score.value)

    def _update(self, update: Update) -> None:
        _set(self._norm.labels(self._run), update.gradient_norm)
        _set(self._rate.labels(self._run), update.learning_rate)
        for objective, report in update.objectives.items():
            _set(self._gap.labels(self._run, objective), report.gap)
            _set(self._entropy.labels(self._run, objective), report.entropy)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"coevolve_{name}", text, ("run", *labels), registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"coevolve_{name}", text, ("run", *labels), registry=self.registry)


def _set(gauge: Gauge, value: float | None) -> None:
    """Set a gauge; what could not be measured leaves it as it was."""
    if value is not None:
        gauge.set(value)
