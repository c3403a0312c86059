"""Costs with round numbers, for simulations that can be reckoned by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from contracts.config import RunConfig
from contracts.loading import load_config
from services.plan.costs import Load
from services.plan.workload import Lengths, ObjectiveWork, Workload


@dataclass
class Round:
    """An engine step takes 1 s whoever runs, an update 0.01 s a forwarded token of the slowest."""

    step: float = 1.0
    token: float = 0.01
    sync: float = 0.0
    prompt: float = 0.0
    block: int = 1
    processors: float = math.inf
    background: float = 0.0
    generator_demand: float = 1.0
    rank_demand: float = 1.0
    slots: int = 1_000_000
    saving: float = 0.0

    def prefill(self, sequences: int, tokens: int, pairs: float) -> float:
        return self.prompt * tokens

    def decode(self, running: int, context: float) -> float:
        return self.step

    def batch(self, sequences: int) -> float:
        return 0.0

    def update(self, loads: Sequence[Load]) -> float:
        return self.token * max(load.tokens for load in loads)

    def broadcast(self, receivers: int) -> float:
        return self.sync

    def routing(self, completions: int) -> float:
        return 0.0

    def grading(self) -> float:
        return 0.0

    def recycling(self) -> float:
        return 0.0

    def bookkeeping(self) -> float:
        return 0.0

    def checkpoint(self, ranks: int) -> float:
        return self.saving


def config(*changes: str) -> RunConfig:
    """A run without checkpoints and recycling, unless ``changes`` say so."""
    base = {"checkpoints": {"every": 0}, "recycle": {"enabled": False}, "steps": 6}
    return load_config(None, list(changes), base=base)


def equal(length: int, *, prompt: int = 10, signal: float = 1.0, spread: float = 0.0) -> Workload:
    """All groups alike."""
    work = ObjectiveWork(
        prompt=prompt, completion=Lengths(mean=length, spread=spread), signal=signal
    )
    return Workload(solve=work, pointwise=work, pairwise=work, reflect=work)
