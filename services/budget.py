"""What a run has used up, and whether that is all it may."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.config import RunConfig
from services.records import StepMetrics, StepTiming


@dataclass
class Spending:
    """Steps, completion tokens sampled and trained on, and seconds of the steps, so far."""

    steps: int = 0
    sampled_tokens: int = 0
    trained_tokens: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, metrics: Iterable[StepMetrics], timing: Iterable[StepTiming]) -> Spending:
        """Of steps that are done."""
        spending = cls()
        for step, clock in zip(metrics, timing, strict=True):
            spending.add(step, clock)
        return spending

    def add(self, metrics: StepMetrics, timing: StepTiming) -> None:
        """A step was done."""
        self.steps += 1
        self.sampled_tokens += metrics.completion_tokens
        self.trained_tokens += metrics.update.tokens if metrics.update is not None else 0
        self.seconds += timing.seconds

    def is_all(self, config: RunConfig) -> bool:
        """Whether these are all steps of the run of ``config``, or its budget is used up."""
        budget = config.budget
        limits = (
            (config.steps, self.steps),
            (budget.sampled_tokens, self.sampled_tokens),
            (budget.trained_tokens, self.trained_tokens),
            (budget.seconds, self.seconds),
        )
        return any(limit is not None and used >= limit for limit, used in limits)
