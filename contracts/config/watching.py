"""How a run is watched, and what is done when it goes wrong."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contracts.config.base import OptionalCount, Section

Sink = Literal["tensorboard", "wandb"]


class MetricsConfig(Section):
    """Where the figures of a run can be seen while it runs."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address that the driver serves Prometheus metrics on. 0.0.0.0: all, for a cluster whose
    network policies say who may come."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of the driver for Prometheus metrics; 0: none."""
    sinks: tuple[Sink, ...] = ()
    """Where the same figures go besides: `tensorboard` (files in the run folder), `wandb`."""
    gradient_norms_every: OptionalCount = 25
    """Measure the gradient of each objective apart, in the second step (the first has no judge
    prompts) and every so many after it; 0: never. Costs one more forward and backward of that
    step, and changes nothing of it."""
    wandb_project: str = "coevolve"
    """Weights & Biases only: the project. Name and key of the account are wandb's own business."""
    wandb_mode: Literal["offline", "online"] = "offline"
    """Weights & Biases only. `offline` writes into the run folder; `wandb sync` sends it later."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.sinks)) < len(self.sinks):
            raise ValueError("metrics.sinks names one twice")
        return self


GuardAction = Literal["off", "warn", "lower_judge_weights", "stop"]


class GuardConfig(Section):
    """What is done when training goes wrong in one of four known ways (docs/runbook.md).

    `warn` says so; `lower_judge_weights` makes judging and reflecting count less; `stop` saves a
    checkpoint and ends the run. Each acts again after a whole `window` only.
    """

    window: Annotated[int, Field(ge=2)] = 20
    """Steps that are looked at together."""
    reward_collapse: GuardAction = "warn"
    """The reward of solving has fallen to less than half of what it was at its best."""
    misalignment: GuardAction = "warn"
    """The judge says one and the same whatever it is shown: policy and reward part ways."""
    instability: GuardAction = "warn"
    """Gradients grow far beyond what they were, or the learner is far from the sampler."""
    reflection_stuck: GuardAction = "warn"
    """Reflection mends next to none of the wrong answers that it is shown."""
    judge_weight_factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """What `lower_judge_weights` multiplies the weights of judging and reflecting by."""
