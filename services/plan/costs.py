"""What the simulation asks of costs, and the learner's work in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.plan.decoding import EngineCosts


@dataclass(slots=True)
class Load:
    """What one learner rank forwards in one update.

    ``tokens``: forwarded; ``pairs``: of a token and one that it attends to; ``predicted``:
    completion tokens, which go through the output head.
    """

    tokens: int = 0
    pairs: float = 0.0
    predicted: int = 0

    def add(self, prompt: int, lengths: Sequence[int], *, shared: bool) -> None:
        """A group: its prompt once, or once a completion; a last token is not forwarded."""
        copies = 1 if shared else len(lengths)
        self.tokens += copies * prompt
        self.pairs += copies * prompt * (prompt + 1) / 2
        for length in lengths:
            inside = length - 1
            self.tokens += inside
            self.pairs += inside * prompt + inside * (inside + 1) / 2
            self.predicted += length


class Costs(EngineCosts, Protocol):
    """Seconds of everything in a run; those of jobs that share processors are as if alone."""

    @property
    def processors(self) -> float:
        """Processors that all jobs share; infinite where each has GPUs of its own."""
        ...

    @property
    def background(self) -> float:
        """Processors that others would keep busy."""
        ...

    @property
    def generator_demand(self) -> float:
        """Processors that a generator keeps busy while it samples."""
        ...

    @property
    def rank_demand(self) -> float:
        """Processors that a learner rank keeps busy in an update."""
        ...

    @property
    def slots(self) -> int:
        """Sequences that an engine has room for; ``generators.max_sequences`` holds besides."""
        ...

    def batch(self, sequences: int) -> float:
        """A generator's taking up of a batch of so many sequences."""
        ...

    def update(self, loads: Sequence[Load]) -> float:
        """An optimiser update in which each rank has one of ``loads``."""
        ...

    def broadcast(self, receivers: int) -> float:
        """New weights to so many generators."""
        ...

    def routing(self, completions: int) -> float:
        """Grading of so many completions, beside sampling, on one processor."""
        ...

    def grading(self) -> float:
        """What is left to grade when the last completion has come."""
        ...

    def recycling(self) -> float:
        """Judge prompts of a batch."""
        ...

    def bookkeeping(self) -> float:
        """The driver's time for a step."""
        ...

    def checkpoint(self, ranks: int) -> float:
        """A checkpoint, while nothing is trained."""
        ...
