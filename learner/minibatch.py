"""One optimiser batch as this rank sees it: micro-batches, and the weights of their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from contracts.config import LearnerConfig
from contracts.types import FloatArray, Sample
from learner.losses import TokenBatch
from learner.packing import micro_batches, rows_of
from learner.report import INDEX, OBJECTIVES
from learner.shared_prefix import Layout, lay_out


@dataclass(frozen=True, slots=True)
class Minibatch:
    """This rank's share of one optimiser batch.

    ``samples``: those with something to learn from. ``layouts``: its micro-batches.
    ``counts``: float64 [objectives, 3], its tokens of non-zero weight per component.
    """

    samples: list[Sample]
    layouts: list[Layout]
    counts: Tensor

    @property
    def objective_counts(self) -> list[int]:
        """Samples of each objective."""
        counts = [0] * len(OBJECTIVES)
        for sample in self.samples:
            counts[INDEX[sample.objective]] += 1
        return counts


def has_signal(sample: Sample, config: LearnerConfig) -> bool:
    """Whether any token of ``sample`` would have a gradient."""
    if config.weights.get(sample.objective.value, 0.0) == 0 or not len(sample.tokens):
        return False
    if sample.policy_weights.any() or sample.supervised_weights.any():
        return True
    return config.kl_coefficient > 0 and bool(sample.kl_weights.any())


CPU_BUDGET = 2048
"""Tokens of a micro-batch beyond which a CPU only gets slower: activations leave its caches."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How rows are made: ``shared_prefix`` as settled for the model, its attention window.

    ``budget``: most tokens of a micro-batch; on a CPU no more than ``CPU_BUDGET`` are used.
    """

    shared_prefix: str
    budget: int
    device: torch.device
    window: int | None = None

    def layouts(self, samples: Sequence[Sample]) -> list[Layout]:
        """The micro-batches of ``samples``, ready to forward."""
        budget = min(self.budget, CPU_BUDGET) if self.device.type == "cpu" else self.budget
        rows = rows_of(samples, shared_prefix=self.shared_prefix, budget=budget, window=self.window)
        return [lay_out(part, samples, self.device) for part in micro_batches(rows, budget)]


def plan(samples: Sequence[Sample], config: LearnerConfig, packing: Packing) -> Minibatch:
    """Leave out samples without signal, and pack the others."""
    kept = [sample for sample in samples if has_signal(sample, config)]
    counts = torch.zeros(len(OBJECTIVES), 3, dtype=torch.float64)
    for sample in kept:
        kl = sample.kl_weights if config.kl_coefficient > 0 else np.zeros_like(sample.kl_weights)
        weights = np.stack([sample.policy_weights, sample.supervised_weights, kl])
        counts[INDEX[sample.objective]] += torch.from_numpy((weights != 0).sum(1))
    return Minibatch(kept, packing.layouts(kept), counts)


def objective_weights(config: LearnerConfig) -> Tensor:
    """float64 [objectives]: the weight of each."""
    weights = [config.weights.get(objective.value, 0.0) for objective in OBJECTIVES]
    return torch.tensor(weights, dtype=torch.float64)


def token_batch(
    minibatch: Minibatch,
    layout: Layout,
    scale: Tensor,
    old: dict[int, FloatArray] | None,
    *,
    with_kl: bool,
    wide: torch.dtype = torch.float32,
) -> TokenBatch:
    """The columns of one micro-batch.

    Args:
        minibatch, layout: ``layout`` is one of its micro-batches, or a dummy.
        scale: float64 [objectives, 3], objective weight over global normaliser.
        old: log-probabilities by sample index; None: the learner's current ones.
        with_kl: whether KL weights count.
        wide: type of the columns.
    """
    device = layout.tokens.device
    chosen = [minibatch.samples[i] for i in layout.order]

    def column(of: Callable[[Sample], FloatArray]) -> Tensor:
        if not chosen:
            return torch.zeros(len(layout.tokens), dtype=wide, device=device)
        joined = np.concatenate([of(sample) for sample in chosen])
        return torch.from_numpy(joined).to(device=device, dtype=wide)

    lengths = [len(sample.tokens) for sample in chosen] or [len(layout.tokens)]
    kinds = [INDEX[sample.objective] for sample in chosen] or [0]
    objective = torch.from_numpy(np.repeat(np.array(kinds, np.int64), lengths)).to(device)
    zero = column(lambda sample: np.zeros(len(sample.tokens), np.float32))
    if old is None or not chosen:
        before = torch.full_like(zero, torch.nan)
    else:
        joined = np.concatenate([old[i] for i in layout.order])
        before = torch.from_numpy(joined).to(device=device, dtype=wide)
    return TokenBatch(
        sampler=column(lambda sample: sample.logprobs),
        old=before,
        policy=column(lambda sample: sample.policy_weights),
        supervised=column(lambda sample: sample.supervised_weights),
        kl=column(lambda sample: sample.kl_weights) if with_kl else zero,
        scale=scale.to(device=device, dtype=wide)[objective],
        objective=objective,
    )
