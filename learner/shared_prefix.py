"""Rows to tensors. A group's prompt is forwarded once, and its completions attend to it.

A shared row is ``prompt, completion 1, completion 2, ...``. Positions start again at P for
each completion, and a mask lets each token see the prompt and its own completion only, so
that its state is the one it would have in a row of its own: ``P + n R`` tokens instead of
``n (P + R)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from contracts.types import Sample
from learner.packing import Row

PADDING = -1


@dataclass(frozen=True, slots=True)
class Layout:
    """A micro-batch on the device: B rows of L slots, T completion tokens.

    ``input_ids``, ``positions``: int64 [B, L]. ``segments``: int64 [B, L], 0 for a prompt,
    k for the k-th completion, -1 for padding; None for plain rows, which are causal.
    ``source``: int64 [T], the flat slot whose state predicts each token; ``tokens``: int64
    [T]. ``order``: samples by index, in the order of their tokens.
    """

    input_ids: Tensor
    positions: Tensor
    segments: Tensor | None
    source: Tensor
    tokens: Tensor
    order: tuple[int, ...]

    def mask(self, dtype: torch.dtype) -> Tensor | None:
        """Additive attention mask [B, 1, L, L], 0 or -inf; None where causal is enough."""
        if self.segments is None:
            return None
        seen = visible(self.segments)
        mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
        return mask.masked_fill_(~seen, float("-inf")).unsqueeze(1)


def visible(segments: Tensor) -> Tensor:
    """bool [B, L, L]: whether query slot q (second axis) attends to key slot k (third).

    Padding attends to padding before it, and to the prompt: no row of scores is empty.
    """
    keys, queries = segments[:, None, :], segments[:, :, None]
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    return ((keys == 0) | (keys == queries)) & causal


def lay_out(rows: Sequence[Row], samples: Sequence[Sample], device: torch.device) -> Layout:
    """The tensors of one micro-batch; ``rows`` are all plain or all shared."""
    width = max(row.length for row in rows)
    ids = np.zeros((len(rows), width), dtype=np.int64)
    positions = np.broadcast_to(np.arange(width), ids.shape).copy()
    segments = np.full(ids.shape, PADDING, dtype=np.int64)
    sources: list[np.ndarray] = []
    tokens: list[np.ndarray] = []
    order: list[int] = []
    for index, row in enumerate(rows):
        prompt = samples[row.samples[0]].prompt_tokens
        start = len(prompt)
        ids[index, :start], segments[index, :start] = prompt, 0
        base = index * width
        for number, member in enumerate(row.samples, start=1):
            completion = samples[member].tokens
            stop = start + len(completion) - 1
            ids[index, start:stop], segments[index, start:stop] = completion[:-1], number
            positions[index, start:stop] = np.arange(len(prompt), len(prompt) + stop - start)
            sources.append(np.r_[base + len(prompt) - 1, np.arange(base + start, base + stop)])
            tokens.append(completion)
            order.append(member)
            start = stop
    return Layout(
        input_ids=torch.from_numpy(ids).to(device),
        positions=torch.from_numpy(positions).to(device),
        segments=torch.from_numpy(segments).to(device) if rows[0].shared else None,
        source=torch.from_numpy(np.concatenate(sources).astype(np.int64)).to(device),
        tokens=torch.from_numpy(np.concatenate(tokens).astype(np.int64)).to(device),
        order=tuple(order),
    )


def dummy_layout(device: torch.device) -> Layout:
    """One token that predicts itself: forwarded so that collectives of all ranks match."""
    zero = torch.zeros(1, dtype=torch.int64, device=device)
    return Layout(zero[None], zero[None], None, zero, zero, ())
