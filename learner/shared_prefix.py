"""Rows to tensors. A group's prompt is forwarded once, and its completions attend to it.

A shared row is ``prompt, completion 1, completion 2, ...``. Positions start again at P for
each completion, and each token attends to the prompt and its own completion only, so that its
state is the one it would have in a row of its own: ``P + n R`` tokens instead of
``n (P + R)``. All shared rows of a micro-batch follow each other in one, without padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contracts.types import Sample
from learner.attention import Blocks, flex_mask
from learner.group_attention import Piece
from learner.packing import Row

Ints = NDArray[np.int64]

FLEX_BLOCK = 128
"""A row on CUDA is filled up to a multiple of FlexAttention's block."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A micro-batch on the device: B rows of L slots, T completion tokens.

    ``input_ids``, ``positions``: int64 [B, L]. ``blocks``: what attends to what where B = 1
    row holds groups with shared prefixes; None for plain rows, which are causal and padded at
    the end. ``source``: int64 [T], the flat slot whose state predicts each token; ``tokens``:
    int64 [T]. ``order``: samples by index, in the order of their tokens.
    """

    input_ids: Tensor
    positions: Tensor
    blocks: Blocks | None
    source: Tensor
    tokens: Tensor
    order: tuple[int, ...]


def lay_out(rows: Sequence[Row], samples: Sequence[Sample], device: torch.device) -> Layout:
    """The tensors of one micro-batch; ``rows`` are all plain or all shared."""
    if rows[0].shared:
        return _shared(rows, samples, device)
    width = max(row.length for row in rows)
    ids = np.zeros((len(rows), width), dtype=np.int64)
    sources: list[Ints] = []
    order = tuple(row.samples[0] for row in rows)
    for line, index in enumerate(order):
        prompt, completion = samples[index].prompt_tokens, samples[index].tokens
        stop = len(prompt) + len(completion) - 1
        ids[line, : len(prompt)] = prompt
        ids[line, len(prompt) : stop] = completion[:-1]
        sources.append(line * width + np.arange(len(prompt) - 1, stop))
    positions = np.broadcast_to(np.arange(width), ids.shape).copy()
    return Layout(
        input_ids=_to(ids, device),
        positions=_to(positions, device),
        blocks=None,
        source=_to(np.concatenate(sources), device),
        tokens=_to(np.concatenate([samples[i].tokens for i in order]), device),
        order=order,
    )


def _shared(rows: Sequence[Row], samples: Sequence[Sample], device: torch.device) -> Layout:
    """One row for all groups, and what it needs to keep them apart."""
    ids: list[Ints] = []
    positions: list[Ints] = []
    segments: list[tuple[int, int, int]] = []  # group, number within it (0: prompt), tokens
    sources: list[Ints] = []
    start = 0
    for group, row in enumerate(rows):
        prompt = samples[row.samples[0]].prompt_tokens
        last = start + len(prompt) - 1
        ids.append(prompt.astype(np.int64))
        positions.append(np.arange(len(prompt)))
        segments.append((group, 0, len(prompt)))
        start += len(prompt)
        for number, member in enumerate(row.samples, start=1):
            inside = samples[member].tokens[:-1].astype(np.int64)
            ids.append(inside)
            positions.append(len(prompt) + np.arange(len(inside)))
            segments.append((group, number, len(inside)))
            sources.append(np.r_[last, np.arange(start, start + len(inside))])
            start += len(inside)
    order = tuple(member for row in rows for member in row.samples)
    fill = -start % FLEX_BLOCK if uses_flex(device) else 0
    return Layout(
        input_ids=_to(np.pad(np.concatenate(ids), (0, fill))[None], device),
        positions=_to(np.pad(np.concatenate(positions), (0, fill))[None], device),
        blocks=_blocks(segments, fill, device),
        source=_to(np.concatenate(sources), device),
        tokens=_to(np.concatenate([samples[i].tokens for i in order]), device),
        order=order,
    )


def uses_flex(device: torch.device) -> bool:
    """FlexAttention is made for CUDA; a CPU does better group by group."""
    return device.type == "cuda"


def _blocks(segments: Sequence[tuple[int, int, int]], fill: int, device: torch.device) -> Blocks:
    groups, numbers, lengths = (np.array(column) for column in zip(*segments, strict=True))
    group = _to(np.pad(np.repeat(groups, lengths), (0, fill), constant_values=-1), device)
    segment = _to(np.pad(np.repeat(numbers, lengths), (0, fill)), device)
    if uses_flex(device):
        return Blocks(group, segment, flex=flex_mask(group, segment))
    return Blocks(group, segment, pieces=tuple(_pieces(groups, numbers, lengths)))


def _pieces(groups: Ints, numbers: Ints, lengths: Ints) -> list[Piece]:
    """The groups, from their segments, neighbours of one shape as one.

    Completions without a forwarded token are left out.
    """
    starts = np.cumsum(lengths) - lengths
    pieces: list[Piece] = []
    for prompt in np.flatnonzero(numbers == 0):
        own = lengths[(groups == groups[prompt]) & (numbers > 0) & (lengths > 0)]
        piece = Piece.of(int(starts[prompt]), int(lengths[prompt]), own.tolist())
        joined = pieces[-1].joined(piece) if pieces else None
        if joined is None:
            pieces.append(piece)
        else:
            pieces[-1] = joined
    return pieces


def _to(array: NDArray[np.integer], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)).to(device)


def dummy_layout(device: torch.device) -> Layout:
    """One token that predicts itself: forwarded so that collectives of all ranks match."""
    zero = torch.zeros(1, dtype=torch.int64, device=device)
    return Layout(zero[None], zero[None], None, zero, zero, ())
