"""Log-probabilities of given tokens without a tokens x vocabulary matrix.

Logits are made tile by tile, reduced to one log-probability and one entropy for each token, and
thrown away; the backward pass makes them again. A tile is all tokens by a stretch of the
vocabulary, so that every row of the output embedding is read once and its gradient written
once; only very many tokens are taken in several blocks. Memory is that of a tile, whatever the
number of tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TILE_ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 27}
"""Logits alive at once: 4 MiB of float32 stay near a CPU's cache; a GPU wants large products."""

NARROWEST = 256
"""Fewest vocabulary entries of a tile: below it, products of matrices get slow."""


@dataclass(frozen=True, slots=True)
class LogitRule:
    """What becomes of raw logits x: ``cap * tanh(scale * x / cap) / temperature``; cap 0: none."""

    scale: float = 1.0
    cap: float = 0.0
    temperature: float = 1.0

    def apply(self, logits: Tensor) -> Tensor:
        """The rule on raw logits of float32 or wider, in place."""
        if self.scale != 1.0:
            logits = logits.mul_(self.scale)
        if self.cap:
            logits = logits.div_(self.cap).tanh_().mul_(self.cap)
        return logits.div_(self.temperature) if self.temperature != 1.0 else logits

    def chain(self, gradient: Tensor, logits: Tensor) -> Tensor:
        """Gradient on the raw logits, in place, from the one on the ruled ``logits``."""
        if self.temperature != 1.0:
            gradient = gradient.div_(self.temperature)
        if self.cap:
            gradient = gradient.mul_(1 - (logits * (self.temperature / self.cap)) ** 2)
        return gradient.mul_(self.scale) if self.scale != 1.0 else gradient


def token_logprobs(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, tokens: Tensor, rule: LogitRule
) -> tuple[Tensor, Tensor]:
    """Log-probability of each token, and entropy of its distribution (without gradient).

    Args:
        hidden: [T, H], the state that predicts each token.
        weight: [V, H]; bias: [V] or None: the output embedding.
        tokens: int64 [T].
        rule: what the model does to its logits.

    Returns:
        Two of [T], float32 (float64 where ``hidden`` is), in nats.
    """
    result: tuple[Tensor, Tensor] = _TokenLogprobs.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, tokens, rule
    )
    return result


@dataclass(frozen=True, slots=True)
class _Tiles:
    """How T x V logits are cut: blocks of tokens, and within each stretches of the vocabulary."""

    blocks: list[slice]
    stretches: list[slice]

    @classmethod
    def of(cls, tokens: int, vocabulary: int, device: str) -> _Tiles:
        elements = TILE_ELEMENTS.get(device, TILE_ELEMENTS["cuda"])
        rows = max(1, min(tokens, elements // NARROWEST))
        width = max(NARROWEST, elements // rows)
        return cls(_cut(tokens, rows), _cut(vocabulary, width))


def _cut(length: int, step: int) -> list[slice]:
    return [slice(start, min(length, start + step)) for start in range(0, length, step)]


@dataclass(frozen=True, slots=True)
class _Output:
    """The output embedding: ``weight`` [V, H], ``bias`` [V] or None, and what follows them."""

    weight: Tensor
    bias: Tensor | None
    rule: LogitRule

    def logits(self, hidden: Tensor, part: slice) -> Tensor:
        """Ruled logits of float32 or wider, as the model itself computes them."""
        weight = self.weight[part].t()
        raw = hidden @ weight if self.bias is None else torch.addmm(self.bias[part], hidden, weight)
        return self.rule.apply(raw if raw.dtype == torch.float64 else raw.float())


def _within(tokens: Tensor, part: slice) -> tuple[Tensor, Tensor]:
    """Column [T, 1] of each token in a stretch, and whether it lies there [T, 1]."""
    column = tokens[:, None] - part.start
    width = part.stop - part.start
    return column.clamp(0, width - 1), (column >= 0) & (column < width)


def _scan(
    hidden: Tensor, output: _Output, tokens: Tensor, stretches: list[slice]
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability, entropy and normaliser [T] of a block, one stretch after the other.

    With m the largest logit x so far, kept are the sums of exp(x - m) and of exp(x - m) x,
    rescaled when m grows (Milakov and Gimelshein 2018, arXiv 1805.02867).
    """
    wide = torch.float64 if hidden.dtype == torch.float64 else torch.float32
    largest = torch.full((len(tokens), 1), -torch.inf, dtype=wide, device=hidden.device)
    total, weighted, own = (torch.zeros_like(largest) for _ in range(3))
    for part in stretches:
        logits = output.logits(hidden, part)
        column, inside = _within(tokens, part)
        own = torch.where(inside, logits.gather(1, column), own)
        before, largest = largest, torch.maximum(largest, logits.amax(1, keepdim=True))
        shrink = torch.exp(before - largest)
        masses = (logits - largest).exp_()
        total = total * shrink + masses.sum(1, keepdim=True)
        weighted = weighted * shrink + torch.linalg.vecdot(masses, logits)[:, None]
    normaliser = largest + total.log()
    entropy = normaliser - weighted / total
    return (own - normaliser).squeeze(1), entropy.squeeze(1), normaliser.squeeze(1)


class _TokenLogprobs(torch.autograd.Function):
    """Forward keeps the normaliser of each token; backward makes the logits again."""

    @staticmethod
    def forward(  # noqa: PLR0917 (torch hands them over by position)
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        rule: LogitRule,
    ) -> tuple[Tensor, Tensor]:
        tiles = _Tiles.of(hidden.shape[0], weight.shape[0], hidden.device.type)
        output = _Output(weight, bias, rule)
        parts = [
            _scan(hidden[block], output, tokens[block], tiles.stretches) for block in tiles.blocks
        ]
        logprobs, entropy, normaliser = (torch.cat(column) for column in zip(*parts, strict=True))
        ctx.save_for_backward(hidden, weight, bias, tokens, normaliser)
        ctx.rule = rule
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, tokens, normaliser = ctx.saved_tensors
        tiles = _Tiles.of(hidden.shape[0], weight.shape[0], hidden.device.type)
        sums = _Gradients(_Output(weight, bias, ctx.rule), hidden, several=len(tiles.blocks) > 1)
        for block in tiles.blocks:
            upstream, own = gradients[0][block, None], tokens[block]
            sums.add(block, own, normaliser[block, None], upstream, tiles.stretches)
        return *sums.result(), None, None


class _Gradients:
    """Gradients of hidden states, weight and bias, filled block by block.

    Of several blocks the weight's is summed in float32 or wider; of one it is written as it is.
    """

    def __init__(self, output: _Output, hidden: Tensor, *, several: bool) -> None:
        wide = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        weight, bias = output.weight, output.bias
        self._output, self._hidden, self._several = output, hidden, several
        self._of_hidden = torch.zeros_like(hidden, dtype=wide)
        self._of_bias = None if bias is None else torch.zeros_like(bias, dtype=wide)
        if several:
            self._of_weight = torch.zeros_like(weight, dtype=wide)
        else:
            self._of_weight = torch.empty_like(weight, dtype=hidden.dtype)

    def add(
        self,
        block: slice,
        tokens: Tensor,
        normaliser: Tensor,
        upstream: Tensor,
        stretches: list[slice],
    ) -> None:
        """Add a block's: its T ``tokens`` [T], their ``normaliser`` and ``upstream`` [T, 1]."""
        hidden, of_hidden = self._hidden[block], self._of_hidden[block]
        for part in stretches:
            logits = self._output.logits(hidden, part)
            column, inside = _within(tokens, part)
            slope = (logits - normaliser).exp_().mul_(-upstream)
            slope.scatter_add_(1, column, torch.where(inside, upstream, 0.0))
            slope = self._output.rule.chain(slope, logits)
            if self._of_bias is not None:
                self._of_bias[part] += slope.sum(0)
            narrow = slope.to(hidden.dtype)
            of_hidden += narrow @ self._output.weight[part]
            if self._several:
                self._of_weight[part] += narrow.t() @ hidden
            else:
                torch.mm(narrow.t(), hidden, out=self._of_weight[part])

    def result(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """The three, in the types of what they are gradients of."""
        bias, weight = self._output.bias, self._output.weight
        of_bias = None
        if bias is not None and self._of_bias is not None:
            of_bias = self._of_bias.to(bias.dtype)
        return self._of_hidden.to(self._hidden.dtype), self._of_weight.to(weight.dtype), of_bias
