"""Prometheus rules: when somebody should be told. docs/runbook.md says what to do then.

Guards (``services.guards``) look for the same four signatures over a number of steps; Prometheus
knows no steps, so that its windows are minutes and hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from services.dashboards.panels import selector
from services.signatures import (
    BLIND_DISCRIMINATION,
    BLIND_YES_DISTANCE,
    COLLAPSED_FROM,
    COLLAPSED_SHARE,
    GRADIENT_TIMES,
    KL_NATS,
    STUCK_FIX_RATIO,
)

RUNBOOK = "docs/runbook.md"
SLACK_SECONDS = 1800
"""What no alert about time complains of: a first evaluation, a large model being loaded."""


@dataclass(frozen=True, slots=True)
class Condition:
    """``left`` compared with ``right``, both PromQL."""

    left: str
    sign: Literal["<", ">", ">="]
    right: str

    def __str__(self) -> str:
        return f"{self.left} {self.sign} {self.right}"


@dataclass(frozen=True, slots=True)
class Alert:
    """A rule. It fires where, for ``lasting``, all conditions of any of ``cases`` hold."""

    name: str
    cases: tuple[tuple[Condition, ...], ...]
    lasting: str
    severity: Literal["warning", "critical"]
    summary: str
    joined: str = "and"

    @property
    def expr(self) -> str:
        """The whole expression."""
        cases = [f"\n  {self.joined}\n".join(str(c) for c in case) for case in self.cases]
        return "\nor\n".join(cases)

    @property
    def runbook(self) -> str:
        """Where the runbook speaks of it."""
        return f"{RUNBOOK}#{self.name.lower()}"

    def rule(self) -> dict[str, Any]:
        """As it stands in a file of rules."""
        return {
            "alert": self.name,
            "expr": self.expr + "\n",
            "for": self.lasting,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": "Run {{ $labels.run }}: {{ $value | humanize }}",
                "runbook": self.runbook,
            },
        }


def _mean(name: str, window: str, **labels: str) -> str:
    return f"avg_over_time({selector(name, **labels)}[{window}])"


_REWARD = _mean("reward_mean", "30m", objective="solve")
_BEST = f"max_over_time({_REWARD}[6h:1m])"
_STEP = selector("step_seconds")

COLLAPSE = Alert(
    "CoevolveRewardCollapse",
    (
        (
            Condition(_REWARD, "<", f"{COLLAPSED_SHARE} * {_BEST}"),
            Condition(_BEST, ">=", f"{COLLAPSED_FROM}"),
        ),
    ),
    "10m",
    "critical",
    "The reward of solving has fallen to less than half of its best.",
)

MISALIGNMENT = Alert(
    "CoevolvePolicyRewardMisalignment",
    (
        (
            Condition(
                f"({_mean('judge_true_positive_ratio', '30m')}"
                f" - {_mean('judge_false_positive_ratio', '30m')})",
                "<",
                f"{BLIND_DISCRIMINATION}",
            ),
            Condition(
                f"abs({_mean('judge_yes_ratio', '30m')} - 0.5)", ">", f"{BLIND_YES_DISTANCE}"
            ),
        ),
    ),
    "10m",
    "warning",
    "The judge says one and the same whatever it is shown: policy and reward part ways.",
)

INSTABILITY = Alert(
    "CoevolveTrainingInstability",
    (
        (
            Condition(
                _mean("gradient_norm", "5m"),
                ">",
                f"{GRADIENT_TIMES:g} * quantile_over_time(0.5, {selector('gradient_norm')}[6h])",
            ),
        ),
        (
            Condition(
                f"max without (objective) ({_mean('sampler_kl_nats', '15m')})", ">", f"{KL_NATS}"
            ),
        ),
    ),
    "5m",
    "critical",
    "Gradients grow far beyond what they were, or the learner is far from the sampler.",
)

STUCK = Alert(
    "CoevolveReflectionStuck",
    (
        (
            Condition(_mean("reflection_ratio", "1h", outcome="fix"), "<", f"{STUCK_FIX_RATIO}"),
            Condition(f"increase({selector('groups', objective='reflect')}[1h])", ">", "0"),
        ),
    ),
    "30m",
    "warning",
    "Reflection mends next to none of the wrong answers that it is shown.",
    joined="and ignoring (outcome, objective)",
)

SYNC = Alert(
    "CoevolveSyncFailing",
    ((Condition(f"increase({selector('faults', kind='broadcast')}[15m])", ">", "0"),),),
    "0m",
    "warning",
    "Weights did not reach the generators, and were sent again.",
)

BUDGET = Alert(
    "CoevolveRestartBudgetLow",
    ((Condition(selector("restart_budget_used_ratio"), ">=", "0.6"),),),
    "0m",
    "warning",
    "Actors of one kind have been restarted so often that few restarts are left.",
)

FEWER = Alert(
    "CoevolveGeneratorsMissing",
    ((Condition(selector("sync_generators"), "<", selector("planned_generators")),),),
    "10m",
    "warning",
    "Fewer generators sample than the run is to have: a machine was lost, or has no room.",
)

STALLED = Alert(
    "CoevolveStepStalled",
    (
        (
            Condition(
                f"time() - {selector('progress_timestamp_seconds')}",
                ">",
                f"{SLACK_SECONDS} + 5 * {_STEP}",
            ),
        ),
    ),
    "1m",
    "critical",
    "No step, evaluation, broadcast or checkpoint has ended for long.",
)

CHECKPOINT = Alert(
    "CoevolveCheckpointOld",
    (
        (
            Condition(
                f"time() - {selector('checkpoint_timestamp_seconds')}",
                ">",
                f"{SLACK_SECONDS} + 2 * {selector('checkpoint_interval_steps')} * {_STEP}",
            ),
        ),
    ),
    "5m",
    "warning",
    "The last checkpoint is older than two intervals: a crash would cost all since.",
)

ALERTS = (
    COLLAPSE,
    MISALIGNMENT,
    INSTABILITY,
    STUCK,
    SYNC,
    BUDGET,
    FEWER,
    STALLED,
    CHECKPOINT,
)


def rules() -> dict[str, Any]:
    """The file of rules, for ``rule_files`` of Prometheus."""
    return {"groups": [{"name": "coevolve", "rules": [alert.rule() for alert in ALERTS]}]}


def prometheus_rule() -> dict[str, Any]:
    """The same for Prometheus' operator."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "coevolve",
            "namespace": "coevolve",
            # kube-prometheus-stack takes up what carries the label of its release.
            "labels": {"release": "prometheus"},
        },
        "spec": rules(),
    }
