"""Attention within a group on a CPU: its prompt once, and all completions on top of it.

torch's attention for CPUs handles one short completion after the other, and each with a copy of
the prompt's keys. Here the completions of a group are multiplied with the prompt's keys as one
matrix, with their own keys as a stack of small ones, and both share a softmax. The backward
pass makes the weights again, as flash attention does (Dao et al. 2022, arXiv 2205.14135,
algorithm 4, there tile by tile): what is kept are queries, keys and values. Scores, their
softmax and its gradient are float32 or wider; products with weights are of the model's type.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

SCORES = 1 << 22
"""Scores alive at once, of all heads: 16 MiB of float32."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Where ``groups`` groups of one shape lie in a row, one after the other from ``start``.

    Each is ``prompt`` slots and then ``count`` completions, the longest of ``longest`` slots.
    Where completions are not equally long, there is one group only: ``table`` int64
    [count * longest] are their slots relative to the first completion's, each filled up with
    some slot, and ``places`` int64 says where in the table each slot is.

    Groups are stacked with the key heads: below K counts the key heads of all of them.
    """

    start: int
    prompt: int
    count: int
    longest: int
    table: Tensor | None = None
    places: Tensor | None = None
    groups: int = 1

    @classmethod
    def of(cls, start: int, prompt: int, lengths: Sequence[int]) -> Piece:
        """A group from ``start`` whose completions have ``lengths`` slots, none of them 0."""
        count, longest = len(lengths), max(lengths, default=0)
        if all(length == longest for length in lengths):
            return cls(start, prompt, count, longest)
        size = torch.tensor(lengths)
        first = size.cumsum(0) - size
        width = torch.arange(longest)
        real = width < size[:, None]
        table = torch.where(real, first[:, None] + width, 0).flatten()
        return cls(start, prompt, count, longest, table, real.flatten().nonzero().squeeze(1))

    def joined(self, other: Piece) -> Piece | None:
        """This piece and the one behind it as one; None where their shapes differ."""
        mine = self.prompt, self.count, self.longest
        if self.table is not None or other.table is not None:
            return None
        if mine != (other.prompt, other.count, other.longest):
            return None
        return replace(self, groups=self.groups + other.groups)

    @property
    def size(self) -> int:
        """Slots of a group."""
        inside = self.count * self.longest if self.places is None else len(self.places)
        return self.prompt + inside

    @property
    def stop(self) -> int:
        """Slot after the last group."""
        return self.start + self.groups * self.size

    def _split(self, rows: Tensor, *, prompts: bool) -> Tensor:
        """A view of ``rows`` [N, H, D], the slots of prompts or completions: [G, ., H, D]."""
        mine = torch.unflatten(rows[self.start : self.stop], 0, (self.groups, self.size))
        return mine[:, : self.prompt] if prompts else mine[:, self.prompt :]

    def prompt_of(self, rows: Tensor, heads: int) -> Tensor:
        """From ``rows`` [N, H, D] the prompts', [K, H G / K, P, D] for K = ``heads`` in all."""
        split = torch.unflatten(self._split(rows, prompts=True), 2, (heads // self.groups, -1))
        return split.permute(0, 2, 3, 1, 4).flatten(0, 1).contiguous()

    def completions_of(self, rows: Tensor, heads: int, *, empty: bool = False) -> Tensor:
        """From ``rows`` the completions', [K, n, H G / K, R, D]; padding 0 if ``empty``."""
        mine = self._split(rows, prompts=False)
        if self.table is not None and self.places is not None:
            if empty:
                padded = mine.new_zeros(self.count * self.longest, *mine.shape[2:])
                mine = padded.index_copy_(0, self.places, mine[0])[None]
            else:
                mine = mine.index_select(1, self.table)
        split = torch.unflatten(mine, 1, (self.count, self.longest))
        stacked = torch.unflatten(split, 3, (heads // self.groups, -1))
        return stacked.permute(0, 3, 1, 4, 2, 5).flatten(0, 1).contiguous()

    def put_prompt(self, rows: Tensor, value: Tensor) -> None:
        """The inverse of ``prompt_of``: write [K, H G / K, P, D] to ``rows``."""
        split = torch.unflatten(value, 0, (self.groups, -1)).permute(0, 3, 1, 2, 4)
        self._split(rows, prompts=True).copy_(split.flatten(2, 3))

    def put_completions(self, rows: Tensor, value: Tensor) -> None:
        """The inverse of ``completions_of``: write [K, n, H G / K, R, D] to ``rows``."""
        split = torch.unflatten(value, 0, (self.groups, -1)).permute(0, 2, 4, 1, 3, 5)
        flat = split.flatten(3, 4).flatten(1, 2)
        if self.places is not None:
            flat = flat.index_select(1, self.places)
        self._split(rows, prompts=False).copy_(flat)


def attend_groups(
    query: Tensor, key: Tensor, value: Tensor, pieces: Sequence[Piece], scale: float | None
) -> Tensor:
    """Attention of a row of groups to themselves, as ``attention.visible`` has it.

    Args:
        query: [1, H, N, D]; key: [1, K, N, D] with H a multiple of K; value: [1, K, N, E].
        pieces: the groups, which together are the N slots.
        scale: of the scores; None: 1 / sqrt(D).

    Returns:
        [1, N, H, E].
    """
    result: Tensor = _GroupAttention.apply(  # type: ignore[no-untyped-call]
        query, key, value, pieces, query.shape[-1] ** -0.5 if scale is None else scale
    )
    return result


def _rows(tensor: Tensor) -> Tensor:
    """[1, H, N, D] as [N, H, D], which is how it lies in memory."""
    return tensor[0].transpose(0, 1)


def _wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _steps(total: int, each: int) -> Iterator[tuple[int, int]]:
    """Stretches of ``total`` things with ``each`` scores, as many at once as ``SCORES`` allows."""
    step = max(1, SCORES // max(1, each))
    for start in range(0, total, step):
        yield start, min(total, start + step)


def _later(first: int, rows: int, columns: int, like: Tensor) -> Tensor:
    """bool [rows, columns]: the columns behind rows ``first``, ``first + 1``, ..."""
    return torch.ones(rows, columns, dtype=torch.bool, device=like.device).triu(first + 1)


@dataclass(frozen=True, slots=True)
class _Group:
    """Keys (D) and values (E) of one group, [K, P, .] and [K, n, R, .]; ``scaled``: wide keys."""

    key: Tensor
    value: Tensor
    own_key: Tensor
    own_value: Tensor
    scaled: Tensor
    own_scaled: Tensor

    @classmethod
    def of(cls, piece: Piece, key: Tensor, value: Tensor, scale: float) -> _Group:
        """From ``key`` and ``value`` [N, K, D] of the whole row."""
        heads = key.shape[1] * piece.groups
        of_prompt, prompt_value = (piece.prompt_of(rows, heads).squeeze(1) for rows in (key, value))
        own, own_value = (piece.completions_of(rows, heads).squeeze(2) for rows in (key, value))
        scaled, own_scaled = _wide(of_prompt) * scale, _wide(own) * scale
        return cls(of_prompt, prompt_value, own, own_value, scaled, own_scaled)

    def prompt_weights(self, query: Tensor, first: int) -> Tensor:
        """[K, r * Q, last]: of Q prompt queries [K, r, Q, D] from place ``first`` on."""
        heads, repeats, count, _ = query.shape
        last = first + count
        scores = _wide(query).flatten(1, 2) @ self.scaled[:, :last].transpose(1, 2)
        hidden = _later(first, count, last, scores)
        scores.view(heads, repeats, count, last).masked_fill_(hidden, -torch.inf)
        return torch.softmax(scores, dim=-1)

    def weights(self, query: Tensor, part: slice) -> Tensor:
        """[K, m, r * R, P + R]: of m completions [K, m, r, R, D], to the prompt and their own."""
        heads, count, repeats, length, depth = query.shape
        wide = _wide(query)
        of_prompt = wide.flatten(1, 3) @ self.scaled.transpose(1, 2)
        stacked = wide.view(heads, count, repeats * length, depth)
        own = stacked @ self.own_scaled[:, part].transpose(2, 3)
        hidden = _later(0, length, length, own)
        own.view(heads, count, repeats, length, length).masked_fill_(hidden, -torch.inf)
        of_prompt = of_prompt.view(heads, count, repeats * length, -1)
        return torch.softmax(torch.cat([of_prompt, own], dim=3), dim=-1)


def _slope(weights: Tensor, upstream: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """Gradient on the unscaled scores, from the one on the weights."""
    centre = torch.linalg.vecdot(weights, upstream).unsqueeze(-1)
    return upstream.sub_(centre).mul_(weights).mul_(scale).to(dtype)


class _GroupAttention(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 (torch hands them over by position)
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        pieces: Sequence[Piece],
        scale: float,
    ) -> Tensor:
        queries, keys, values = (_rows(tensor) for tensor in (query, key, value))
        result = query.new_empty(*queries.shape[:2], value.shape[3])
        for piece in pieces:
            group = _Group.of(piece, keys, values, scale)
            piece.put_prompt(result, _prompt_forward(piece, group, queries))
            if piece.count:
                piece.put_completions(result, _forward(piece, group, queries))
        ctx.save_for_backward(query, key, value)
        ctx.pieces, ctx.scale = pieces, scale
        return result.unsqueeze(0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        tensors = [_rows(tensor) for tensor in ctx.saved_tensors]
        results = [torch.empty_like(rows) for rows in tensors]
        for piece in ctx.pieces:
            _Backward(piece, tensors, gradients[0][0], ctx.scale).put(results)
        of_query, of_key, of_value = (rows.transpose(0, 1).unsqueeze(0) for rows in results)
        return of_query, of_key, of_value, None, None


def _prompt_forward(piece: Piece, group: _Group, queries: Tensor) -> Tensor:
    """[K, r, P, E]: what the prompt's tokens make of each other."""
    query = piece.prompt_of(queries, group.key.shape[0])
    result = query.new_empty(*query.shape[:-1], group.value.shape[-1])
    for first, last in _steps(piece.prompt, queries.shape[1] * piece.groups * piece.prompt):
        weights = group.prompt_weights(query[:, :, first:last], first).to(query.dtype)
        made = weights @ group.value[:, :last]
        result[:, :, first:last] = made.view(*query.shape[:2], last - first, -1)
    return result


def _forward(piece: Piece, group: _Group, queries: Tensor) -> Tensor:
    """[K, n, r, R, E]: what completions make of the prompt and of themselves."""
    query = piece.completions_of(queries, group.key.shape[0])
    result = query.new_empty(*query.shape[:-1], group.value.shape[-1])
    for part in _parts(piece, queries.shape[1]):
        some = query[:, part]
        weights = group.weights(some, part)
        to_prompt = weights[..., : piece.prompt].to(query.dtype)
        to_own = weights[..., piece.prompt :].to(query.dtype)
        shape = (*some.shape[:-1], group.value.shape[-1])
        made = (to_prompt.flatten(1, 2) @ group.value).view(shape)
        result[:, part] = made + (to_own @ group.own_value[:, part]).view(shape)
    return result


def _parts(piece: Piece, heads: int) -> Iterator[slice]:
    each = heads * piece.groups * piece.longest * (piece.prompt + piece.longest)
    return (slice(first, last) for first, last in _steps(piece.count, each))


class _Backward:
    """Gradients of one group. Those of the prompt's keys and values are summed widely."""

    def __init__(
        self, piece: Piece, tensors: Sequence[Tensor], upstream: Tensor, scale: float
    ) -> None:
        self.piece, self.queries, self.upstream = piece, tensors[0], upstream
        self.scale, self.dtype = scale, tensors[0].dtype
        self.group = _Group.of(piece, tensors[1], tensors[2], scale)
        self.of_key = torch.zeros_like(_wide(self.group.key))
        self.of_value = torch.zeros_like(_wide(self.group.value))

    def put(self, results: Sequence[Tensor]) -> None:
        """Write the gradients to ``results``: rows [N, ., D] of query, key and value."""
        of_query, of_key, of_value = results
        self.piece.put_prompt(of_query, self._prompt())
        if self.piece.count:
            found = self._completions()
            self.piece.put_completions(of_query, found[0])
            self.piece.put_completions(of_key, found[1].unsqueeze(2))
            self.piece.put_completions(of_value, found[2].unsqueeze(2))
        self.piece.put_prompt(of_key, self.of_key.to(self.dtype).unsqueeze(1))
        self.piece.put_prompt(of_value, self.of_value.to(self.dtype).unsqueeze(1))

    def _prompt(self) -> Tensor:
        """Gradient of the prompt's queries [K, r, P, D]; adds to those of keys and values."""
        group, piece = self.group, self.piece
        heads = group.key.shape[0]
        query = piece.prompt_of(self.queries, heads)
        upstream = piece.prompt_of(self.upstream, heads)
        result = torch.empty_like(query)
        for first, last in _steps(
            piece.prompt, self.queries.shape[1] * piece.groups * piece.prompt
        ):
            some, above = query[:, :, first:last], upstream[:, :, first:last].flatten(1, 2)
            weights = group.prompt_weights(some, first)
            on_weights = _wide(above @ group.value[:, :last].transpose(1, 2))
            self.of_value[:, :last] += weights.to(self.dtype).transpose(1, 2) @ above
            slope = _slope(weights, on_weights, self.scale, self.dtype)
            self.of_key[:, :last] += slope.transpose(1, 2) @ some.flatten(1, 2)
            result[:, :, first:last] = (slope @ group.key[:, :last]).view(some.shape)
        return result

    def _completions(self) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of queries [K, n, r, R, D], own keys and own values [K, n, R, D]."""
        group, piece = self.group, self.piece
        heads, prompt = group.key.shape[0], piece.prompt
        query = piece.completions_of(self.queries, heads)
        upstream = piece.completions_of(self.upstream, heads, empty=True)
        results = torch.empty_like(query), torch.empty_like(group.own_key)
        of_query, of_key, of_value = *results, torch.empty_like(group.own_value)
        for part in _parts(piece, self.queries.shape[1]):
            some, above = query[:, part], upstream[:, part]
            stacked, stacked_above = some.flatten(2, 3), above.flatten(2, 3)
            joined, joined_above = some.flatten(1, 3), above.flatten(1, 3)
            weights = group.weights(some, part)
            on_prompt = joined_above @ group.value.transpose(1, 2)
            on_own = stacked_above @ group.own_value[:, part].transpose(2, 3)
            on_prompt = on_prompt.view(*on_own.shape[:3], prompt)
            slope = _slope(
                weights, _wide(torch.cat([on_prompt, on_own], 3)), self.scale, self.dtype
            )
            to_prompt = weights[..., :prompt].to(self.dtype).flatten(1, 2)
            to_own = weights[..., prompt:].to(self.dtype)
            prompt_slope = slope[..., :prompt].flatten(1, 2)
            own_slope = slope[..., prompt:].contiguous()
            self.of_value += to_prompt.transpose(1, 2) @ joined_above
            self.of_key += prompt_slope.transpose(1, 2) @ joined
            of_value[:, part] = to_own.transpose(2, 3) @ stacked_above
            of_key[:, part] = own_slope.transpose(2, 3) @ stacked
            found = (prompt_slope @ group.key).view(some.shape)
            of_query[:, part] = found + (own_slope @ group.own_key[:, part]).view(some.shape)
        return of_query, of_key, of_value
