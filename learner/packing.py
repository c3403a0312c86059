"""Samples into rows, rows into micro-batches by token budget, groups over ranks by cost."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contracts.types import Sample

WORTHWHILE = 0.9
"""A shared row must save at least a tenth of the tokens: its attention costs a little."""


def balance(costs: Sequence[float], ranks: int) -> list[list[int]]:
    """Spread items over ranks by cost: the longest first, each to the rank with least so far.

    Deterministic: ties go to the lower index and the lower rank. A rank's total is at most
    4/3 of the best possible (Graham 1969).

    Args:
        costs: cost of each item, for example P + n * R of a group.
        ranks: how many ranks there are.

    Returns:
        For each rank the indices of its items, ascending. A rank may get none.
    """
    shares: list[list[int]] = [[] for _ in range(ranks)]
    loads = [(0.0, rank) for rank in range(ranks)]
    for index in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        load, rank = heapq.heappop(loads)
        shares[rank].append(index)
        heapq.heappush(loads, (load + costs[index], rank))
    return [sorted(share) for share in shares]


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence to forward: a prompt, then the completions of ``samples`` (indices).

    ``length`` counts forwarded tokens; the last token of a completion predicts nothing and
    is not forwarded. One sample: a plain causal row. Several: a shared prefix.
    """

    samples: tuple[int, ...]
    length: int

    @property
    def shared(self) -> bool:
        """Whether several completions share the prompt."""
        return len(self.samples) > 1


def rows_of(
    samples: Sequence[Sample], *, shared_prefix: str, budget: int, window: int | None = None
) -> list[Row]:
    """Rows for ``samples``, those of a group together where that saves work.

    Args:
        samples: each with at least one prompt token and one completion token.
        shared_prefix: ``off``: one row a sample; ``on``: one row a group; ``auto``: one row
            a group where it saves tokens.
        budget: tokens of a row. A group beyond it is split; a single sample never is.
        window: longest sequence whose every token sees all before it; a group with a longer
            one is not shared. None: any.
    """
    rows: list[Row] = []
    for members in _groups(samples):
        prompt = len(samples[members[0]].prompt_tokens)
        lengths = [len(samples[i].tokens) for i in members]
        plain = sum(prompt + length - 1 for length in lengths)
        shared = plain - prompt * (len(members) - 1)
        apart = shared_prefix == "off" or len(members) == 1
        apart = apart or (shared_prefix == "auto" and shared > WORTHWHILE * plain)
        apart = apart or (window is not None and prompt + max(lengths) > window)
        if apart:
            rows += [_row([i], [n], prompt) for i, n in zip(members, lengths, strict=True)]
        else:
            rows += _shared(members, lengths, prompt, budget)
    return rows


def _row(members: Sequence[int], lengths: Sequence[int], prompt: int) -> Row:
    length = prompt + sum(lengths) - len(members)
    return Row(tuple(members), length)


def _groups(samples: Sequence[Sample]) -> list[list[int]]:
    """Indices by group, in order of first appearance. A group must share its prompt."""
    groups: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        members = groups.setdefault(sample.group, [])
        members.append(index)
        if not np.array_equal(sample.prompt_tokens, samples[members[0]].prompt_tokens):
            raise ValueError(f"samples of group {sample.group!r} have different prompts")
    return list(groups.values())


def _shared(members: Sequence[int], lengths: Sequence[int], prompt: int, budget: int) -> list[Row]:
    """Shared rows of one group: as many completions in each as the budget allows."""
    rows: list[Row] = []
    first = 0
    for stop in range(1, len(members) + 1):
        wider = _row(members[first : stop + 1], lengths[first : stop + 1], prompt)
        if stop == len(members) or not _fits([wider], budget):
            rows.append(_row(members[first:stop], lengths[first:stop], prompt))
            first = stop
    return rows


def micro_batches(rows: Sequence[Row], budget: int) -> list[list[Row]]:
    """Rows into micro-batches of at most ``budget`` tokens, padding included.

    Rows of like length go together, longest first; plain rows, which are padded, and shared
    ones, which are not, apart. A row longer than the budget is a micro-batch of its own.
    """
    batches: list[list[Row]] = []
    for shared in (False, True):
        current: list[Row] = []
        for row in sorted((r for r in rows if r.shared is shared), key=lambda r: -r.length):
            if current and not _fits([*current, row], budget):
                batches.append(current)
                current = []
            current.append(row)
        if current:
            batches.append(current)
    return batches


def _fits(rows: Sequence[Row], budget: int) -> bool:
    if rows[0].shared:
        return sum(row.length for row in rows) <= budget
    return len(rows) * max(row.length for row in rows) <= budget
