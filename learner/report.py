"""What an update did, per objective, summed over micro-batches, updates and ranks."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from contracts.types import Objective, ObjectiveReport
from learner.losses import TokenBatch, TokenLoss, k3
from learner.zero import sum_over_ranks

OBJECTIVES = tuple(Objective)
INDEX = {objective: index for index, objective in enumerate(OBJECTIVES)}


class Column(IntEnum):
    """What is summed per objective."""

    LOSS = 0
    RATIO = 1
    CLIPPED = 2
    POLICY_TOKENS = 3
    KL_SAMPLER = 4
    GAP = 5
    FIRST_TOKENS = 6
    KL_REFERENCE = 7
    KL_TOKENS = 8
    ENTROPY = 9
    TOKENS = 10
    SAMPLES = 11


class Tally:
    """Running sums, float64 [objectives, columns], on the device."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(len(OBJECTIVES), len(Column), dtype=torch.float64, device=device)

    def add(
        self,
        batch: TokenBatch,
        loss: TokenLoss,
        entropy: Tensor,
        normalisers: Tensor,
        *,
        unmoved: Tensor | None,
    ) -> None:
        """Add the tokens of a micro-batch.

        Args:
            batch, loss: of its T tokens.
            entropy: [T], of the current distributions.
            normalisers: [objectives, 3] counts of the whole optimiser batch.
            unmoved: [T], the learner's log-probabilities before the first update of the
                step; None where they were not taken.
        """
        policy, divergence = (batch.policy != 0).double(), (batch.kl != 0).double()
        share = loss.components / normalisers.clamp(min=1)[batch.objective]
        zero = torch.zeros_like(policy)
        if unmoved is None:
            first, drift = zero, zero
        else:
            first, drift = policy, unmoved.detach().double() - batch.sampler
        table = torch.stack(
            [
                share.double().sum(1),
                loss.ratio * policy,
                loss.clipped * policy,
                policy,
                torch.where(first > 0, k3(drift), zero),
                torch.where(first > 0, drift.abs(), zero),
                first,
                loss.kl_reference.double(),
                divergence,
                entropy.double(),
                torch.ones_like(policy),
                zero,
            ],
            dim=1,
        )
        self._sums.index_add_(0, batch.objective, table)

    def count_samples(self, counts: list[int]) -> None:
        """Add the samples of each objective on this rank."""
        self._sums[:, Column.SAMPLES] += torch.tensor(counts, device=self._sums.device)

    def finish(self, updates: int) -> tuple[dict[Objective, ObjectiveReport], int]:
        """Sum over the ranks. Collective.

        Returns:
            A report for each objective that had tokens, and the tokens of all.
        """
        rows = sum_over_ranks(self._sums).tolist()
        reports = {
            objective: _report(row, max(1, updates))
            for objective, row in zip(OBJECTIVES, rows, strict=True)
            if row[Column.TOKENS]
        }
        return reports, int(sum(row[Column.TOKENS] for row in rows))


def _report(row: list[float], updates: int) -> ObjectiveReport:
    def mean(value: Column, count: Column, empty: float = 0.0) -> float:
        return row[value] / row[count] if row[count] else empty

    return ObjectiveReport(
        loss=row[Column.LOSS] / updates,
        ratio=mean(Column.RATIO, Column.POLICY_TOKENS, 1.0),
        clip_fraction=mean(Column.CLIPPED, Column.POLICY_TOKENS),
        kl_sampler=mean(Column.KL_SAMPLER, Column.FIRST_TOKENS),
        gap=mean(Column.GAP, Column.FIRST_TOKENS),
        kl_reference=mean(Column.KL_REFERENCE, Column.KL_TOKENS),
        entropy=mean(Column.ENTROPY, Column.TOKENS),
        tokens=int(row[Column.TOKENS]),
        samples=int(row[Column.SAMPLES]),
    )
