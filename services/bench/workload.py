"""What is trained on: mixes of lengths, and groups of random tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.config import Dtype

SIZE = 8
"""Completions of a group."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Tokens of a prompt and of each of its completions."""

    name: str
    prompt: int
    completion: int


MIXES = {
    mix.name: mix
    for mix in (Mix("solve", prompt=64, completion=64), Mix("judge", prompt=256, completion=32))
}
"""``solve``: short questions with their working. ``judge``: long questions, short verdicts."""


@dataclass(frozen=True, slots=True)
class Work:
    """One variant's task: train the model in ``folder`` on ``groups`` groups an update."""

    variant: str
    model: str
    folder: Path
    dtype: Dtype
    mix: Mix
    groups: int
    threads: int
    vocabulary: int
    seed: int
    size: int = SIZE

    @property
    def completion_tokens(self) -> int:
        """Trained tokens of an update."""
        return self.groups * self.size * self.mix.completion

    def __str__(self) -> str:
        return f"{self.variant} ({self.model}, {self.mix.name})"


@dataclass(frozen=True, slots=True)
class Rollouts:
    """Groups as a sampler leaves them.

    ``prompts``: int32 [G, P]; ``completions``: int32 [G, n, R]; ``advantages``: float32 [G, n],
    of mean 0 and variance 1 in each group.
    """

    prompts: NDArray[np.int32]
    completions: NDArray[np.int32]
    advantages: NDArray[np.float32]


def rollouts(work: Work) -> Rollouts:
    """Random tokens of the vocabulary, half of each group right; the same for every variant."""
    draw = np.random.default_rng(work.seed)
    shape = (work.groups, work.size, work.mix.completion)
    prompts = draw.integers(0, work.vocabulary, (work.groups, work.mix.prompt), dtype=np.int32)
    completions = draw.integers(0, work.vocabulary, shape, dtype=np.int32)
    signs = np.where(np.arange(work.size) % 2, -1.0, 1.0).astype(np.float32)
    return Rollouts(prompts, completions, np.tile(signs, (work.groups, 1)))
