"""How far two accounts of the same tokens' log-probabilities are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contracts.types import FloatArray


@dataclass(frozen=True, slots=True)
class Gap:
    """Mean and largest absolute difference over ``tokens`` tokens, in nats."""

    mean: float
    largest: float
    tokens: int


def gap_of(one: Sequence[FloatArray], other: Sequence[FloatArray]) -> Gap:
    """The gap between two lists of log-probabilities, [R] for each completion."""
    if not one:
        return Gap(0.0, 0.0, 0)
    apart = np.abs(np.concatenate(one) - np.concatenate(other))
    return Gap(float(apart.mean()), float(apart.max()), len(apart))
