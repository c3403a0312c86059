"""The learning rate at each optimiser update. Updates are counted as they really happen."""

from __future__ import annotations

import math
from dataclasses import dataclass

from contracts.config import LearnerConfig


@dataclass(frozen=True, slots=True)
class Schedule:
    """Warm-up, then constant, linear or cosine decay, as a function of the update's number.

    Update k (from 0) of the first ``warmup`` uses ``peak * (k + 1) / warmup``, so that no
    update is wasted at 0. After it, with x going from 0 at update ``warmup`` to 1 at the last
    update ``total - 1``, linear is ``peak * (1 - (1 - final) * x)`` and cosine is
    ``peak * (final + (1 - final) * (1 + cos(pi * x)) / 2)``. Beyond ``total`` the rate stays
    at its last value.
    """

    shape: str
    peak: float
    warmup: int
    final: float
    total: int

    @classmethod
    def of(cls, config: LearnerConfig, total_updates: int) -> Schedule:
        """The schedule of a run of ``total_updates`` optimiser updates."""
        return cls(
            shape=config.schedule,
            peak=config.learning_rate,
            warmup=config.warmup_updates,
            final=config.final_ratio,
            total=total_updates,
        )

    def at(self, update: int) -> float:
        """The learning rate of update number ``update``, counted from 0."""
        if update < self.warmup:
            return self.peak * (update + 1) / self.warmup
        if self.shape == "constant":
            return self.peak
        span = max(1, self.total - 1 - self.warmup)
        x = min(1.0, (update - self.warmup) / span)
        if self.shape == "linear":
            return self.peak * (1 - (1 - self.final) * x)
        return self.peak * (self.final + (1 - self.final) * (1 + math.cos(math.pi * x)) / 2)
