"""Samples into rows, rows into micro-batches by token budget, groups over ranks by cost."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contracts.types import Sample

SCORES_BUDGET = 1 << 26
"""Attention scores of one head that a dense mask of a micro-batch may have (64 Mi)."""

WORTHWHILE = 0.9
"""A shared row must save at least a tenth of the tokens: masked attention costs a little."""


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
    shared: bool


def rows_of(samples: Sequence[Sample], *, shared_prefix: str, budget: int) -> list[Row]:
    """Rows for ``samples``, those of a group together where that saves work.

    Args:
        samples: each with at least one prompt token and one completion token.
        shared_prefix: ``off``: one row a sample; ``on``: one row a group; ``auto``: one row
            a group where it saves tokens.
        budget: tokens of a row. A group beyond it is split; a single sample never is.
    """
    if shared_prefix == "off":
        return [_plain(i, sample) for i, sample in enumerate(samples)]
    rows: list[Row] = []
    for members in _groups(samples):
        prompt = len(samples[members[0]].prompt_tokens)
        plain = sum(prompt + len(samples[i].tokens) - 1 for i in members)
        shared = plain - prompt * (len(members) - 1)
        if len(members) == 1 or (shared_prefix == "auto" and shared > WORTHWHILE * plain):
            rows += [_plain(i, samples[i]) for i in members]
        else:
            rows += _shared(members, samples, prompt, budget)
    return rows


def _plain(index: int, sample: Sample) -> Row:
    return Row((index,), len(sample.prompt_tokens) + len(sample.tokens) - 1, shared=False)


def _groups(samples: Sequence[Sample]) -> list[list[int]]:
    """Indices by group, in order of first appearance. A group must share its prompt."""
    groups: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        members = groups.setdefault(sample.group, [])
        members.append(index)
        if not np.array_equal(sample.prompt_tokens, samples[members[0]].prompt_tokens):
            raise ValueError(f"samples of group {sample.group!r} have different prompts")
    return list(groups.values())


def _shared(
    members: Sequence[int], samples: Sequence[Sample], prompt: int, budget: int
) -> list[Row]:
    """Shared rows of one group: as many completions in each as budget and mask allow."""
    limit = min(budget, int(SCORES_BUDGET**0.5))
    rows: list[Row] = []
    current: list[int] = []
    length = prompt
    for index in members:
        extra = len(samples[index].tokens) - 1
        if current and length + extra > limit:
            rows.append(Row(tuple(current), length, shared=len(current) > 1))
            current, length = [], prompt
        current.append(index)
        length += extra
    rows.append(Row(tuple(current), length, shared=len(current) > 1))
    return rows


def micro_batches(rows: Sequence[Row], budget: int) -> list[list[Row]]:
    """Rows into micro-batches of at most ``budget`` tokens, padding included.

    Rows of like length go together, longest first, plain and shared apart. A row longer than
    the budget is a micro-batch of its own.
    """
    batches: list[list[Row]] = []
    for shared in (False, True):
        current: list[Row] = []
        for row in sorted((r for r in rows if r.shared is shared), key=lambda r: -r.length):
            if current and not _fits(len(current) + 1, current[0].length, budget, shared):
                batches.append(current)
                current = []
            current.append(row)
        if current:
            batches.append(current)
    return batches


def _fits(count: int, width: int, budget: int, shared: bool) -> bool:
    if count * width > budget:
        return False
    return not shared or count * width * width <= SCORES_BUDGET
