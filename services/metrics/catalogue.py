"""Every metric of a run: name, unit, help text, and the values that its labels can have.

Names follow Prometheus: a unit of the base system at the end, ``_ratio`` for shares of 0..1,
``_total`` (added on the way out) for counters. Every metric carries the label ``run`` besides.
No label can have values without bound: what is not listed becomes ``other``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from actors.transfer.client import Phase as SyncPhase
from contracts.types import Objective, Reason
from services.records import JUDGE_SCORES, MORE_SCORES, SCORES, JudgedSet

PREFIX = "coevolve_"
OTHER = "other"

OBJECTIVES = tuple(str(objective) for objective in Objective)
REASONS = tuple(str(reason) for reason in Reason)
PHASES = ("generate", "grade", "recycle", "update", "broadcast", "check", "checkpoint")
ACTIVITIES = (
    "preparing",
    "starting",
    "resuming",
    "generating",
    "training",
    "broadcasting",
    "evaluating",
    "saving",
)
BUDGETS = ("generators", "verifiers", "recycler", "answers", "broadcast")
FAULTS = (*BUDGETS, "run", "machines")
"""Kinds of ``actors.faults.Fault``: restarts of actors, answers lost with a machine and asked for
again, repeated broadcasts, resumes of a run, machines that a generator waits for."""
DROPPED = ("all_right", "all_wrong", "equal_rewards", "stale")
KINDS = ("pointwise", "pairwise", "reflect")
LABELS = ("yes", "no", "A", "B", "right", "wrong")


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric. ``labels``: the values that each label can have, in the order of the labels."""

    name: str
    kind: Literal["gauge", "counter"]
    text: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def exposed(self) -> str:
        """The name that Prometheus sees."""
        return f"{PREFIX}{self.name}{'_total' if self.kind == 'counter' else ''}"


def _gauge(name: str, text: str, **labels: tuple[str, ...]) -> Measure:
    return Measure(name, "gauge", text, labels)


def _counter(name: str, text: str, **labels: tuple[str, ...]) -> Measure:
    return Measure(name, "counter", text, labels)


_PROGRESS = (
    _gauge("step", "Steps done."),
    _gauge("planned_steps", "Steps that the run is to do."),
    _gauge("epoch", "Times that all tasks have been used."),
    _gauge("weight_version", "Weight version of the learner and the generators."),
    _gauge("activity", "1 for what the run does now, 0 for the rest.", activity=ACTIVITIES),
    _gauge(
        "progress_timestamp_seconds",
        "When a step, an evaluation, a broadcast or a checkpoint last ended, since 1970.",
    ),
)

_ACCURACY = (
    _gauge(
        "accuracy_ratio",
        "Share of right completions in the last step, by the verifier.",
        objective=OBJECTIVES,
    ),
    _gauge(
        "held_out_ratio",
        "Score on held-out tasks, sampled or greedy.",
        mode=("sampled", "greedy"),
        score=(*SCORES, *MORE_SCORES),
    ),
    _gauge(
        "held_out_judge_ratio",
        "Judging in the last evaluation, by the set of answers judged: a fixed one of the initial "
        "model's, or the model's own. Consistency is the same choice of two in both orders.",
        mode=("sampled", "greedy"),
        score=JUDGE_SCORES,
        set=get_args(JudgedSet),
    ),
    _gauge(
        "held_out_calibration_error_ratio",
        "Expected calibration error of the share of yes among repeated verdicts on one held-out "
        "answer.",
        set=get_args(JudgedSet),
    ),
    _gauge("judge_true_positive_ratio", "Share of right answers that the judge calls right."),
    _gauge("judge_false_positive_ratio", "Share of wrong answers that the judge calls right."),
    _gauge("judge_yes_ratio", "Share of yes among the verdicts on one answer."),
    _gauge(
        "judge_calibration_error_ratio",
        "Expected calibration error of the share of yes in a group.",
    ),
    _gauge(
        "reflection_ratio",
        "What became of shown answers: wrong ones mended (fix), right ones kept (keep) or "
        "made wrong (break).",
        outcome=("fix", "keep", "break"),
    ),
)

_TRAINING = (
    _gauge("reward_mean", "Mean reward of all completions of the last step.", objective=OBJECTIVES),
    _gauge(
        "advantage_stddev",
        "Standard deviation of the advantages of the last step.",
        objective=OBJECTIVES,
    ),
    _gauge("loss", "Loss of the last step, weights of objectives left out.", objective=OBJECTIVES),
    _gauge(
        "policy_ratio", "Mean ratio of new to old probability of a token.", objective=OBJECTIVES
    ),
    _gauge("clip_ratio", "Share of tokens whose policy ratio was clipped.", objective=OBJECTIVES),
    _gauge(
        "sampler_kl_nats",
        "KL of the sampler from the learner before the step's update.",
        objective=OBJECTIVES,
    ),
    _gauge(
        "sampler_gap_nats",
        "Mean distance of log-probabilities of sampler and learner.",
        objective=OBJECTIVES,
    ),
    _gauge(
        "reference_kl_nats",
        "KL of the learner from the initial model; 0 without one.",
        objective=OBJECTIVES,
    ),
    _gauge("entropy_nats", "Mean entropy of the distribution of a token.", objective=OBJECTIVES),
    _gauge(
        "gradient_norm",
        "Norm of the gradient of all objectives together, before clipping. One update has one.",
    ),
    _gauge(
        "objective_gradient_norm",
        "Norm of an objective's part of the gradient, its weight in it, before clipping. Measured "
        "in one step of metrics.gradient_norms_every.",
        objective=OBJECTIVES,
    ),
    _gauge("learning_rate", "Learning rate of the last update."),
    _gauge("objective_weight", "Weight of an objective in the loss now.", objective=OBJECTIVES),
    _counter("trained_tokens", "Completion tokens trained on.", objective=OBJECTIVES),
    _counter("updates", "Optimiser updates."),
)

_ROLLOUTS = (
    _counter("groups", "Groups graded and young enough.", objective=OBJECTIVES),
    _counter(
        "groups_dropped",
        "Groups not trained on: all completions right, all wrong, or all of one reward; or older "
        "than max_staleness.",
        objective=OBJECTIVES,
        reason=DROPPED,
    ),
    _counter("grades", "Completions by the reason of their grade.", reason=REASONS),
    _counter(
        "recycled_prompts",
        "Judge and reflection prompts made of verified answers, by label; reflections by the "
        "answer that is shown.",
        kind=KINDS,
        label=LABELS,
    ),
    _counter("completion_tokens", "Completion tokens sampled."),
    _counter("prompt_tokens", "Prompt tokens, those of a group once."),
)

_TIME = (
    _gauge("generated_tokens_per_second", "Completion tokens over the seconds of the last step."),
    _gauge("step_seconds", "Seconds of the last step."),
    _gauge("step_phase_seconds", "Seconds of the last step by phase.", phase=PHASES),
    _counter("phase_seconds", "Seconds by phase; phases may overlap.", phase=PHASES),
    _counter("steps_seconds", "Seconds of all steps."),
    _gauge(
        "idle_ratio",
        "Share of the last step in which there was nothing to do.",
        role=("learner", "generators"),
    ),
    _gauge("queued_batches", "Most batches that waited for the learner in the last step."),
    _gauge("staleness_mean_versions", "Weight versions between sampling and training, mean."),
    _gauge("staleness_max_versions", "Weight versions between sampling and training, most."),
    _gauge("staleness_limit_versions", "Weight versions that a trained token may be behind."),
)

_SYNC = (
    _gauge(
        "sync_phase_seconds", "Seconds of the last broadcast by phase.", phase=get_args(SyncPhase)
    ),
    _gauge("sync_bytes", "Bytes of the weights in the last broadcast."),
    _gauge("sync_generators", "Generators that the last broadcast reached: those that sample."),
    _gauge("planned_generators", "Generators that the run is to have."),
    _counter("syncs", "Broadcasts of weights to all generators."),
    _counter("sync_seconds", "Seconds of all broadcasts by phase.", phase=get_args(SyncPhase)),
)

_FAULTS = (
    _counter(
        "faults",
        "Faults that were mended: actors restarted, broadcasts repeated, the run taken up from "
        "its checkpoint; machines: a generator waits for one, the others go on.",
        kind=FAULTS,
    ),
    _counter("timeouts", "Faults that were a deadline passed.", kind=FAULTS),
    _gauge(
        "restart_budget_used_ratio",
        "Share of the restarts allowed within faults.window that is used up.",
        kind=BUDGETS,
    ),
    _counter(
        "guard_actions",
        "Times that a guard acted.",
        guard=("reward_collapse", "misalignment", "instability", "reflection_stuck"),
    ),
)

_CHECKPOINTS = (
    _gauge("checkpoint_step", "Step of the last checkpoint."),
    _gauge("checkpoint_seconds", "Seconds that the last checkpoint took."),
    _gauge(
        "checkpoint_timestamp_seconds",
        "When the last checkpoint was whole, since 1970; before the first, when the run began.",
    ),
    _gauge("checkpoint_interval_steps", "Steps between checkpoints; 0: none."),
    _counter("checkpoints", "Checkpoints written."),
)

THEMES: dict[str, tuple[Measure, ...]] = {
    "Progress": _PROGRESS,
    "Accuracy of policy, judge and reflection": _ACCURACY,
    "Training": _TRAINING,
    "Groups, grades and recycled prompts": _ROLLOUTS,
    "Where the time goes": _TIME,
    "Weight broadcast": _SYNC,
    "Faults": _FAULTS,
    "Checkpoints": _CHECKPOINTS,
}

MEASURES = {measure.name: measure for theme in THEMES.values() for measure in theme}
