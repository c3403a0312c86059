"""Log-probabilities of given tokens without a tokens x vocabulary matrix.

Logits are made chunk by chunk, reduced to one log-probability and one entropy each, and
thrown away; the backward pass makes them again. Memory is chunk x vocabulary, whatever the
number of tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

CHUNK_ELEMENTS = {"cpu": 4_194_304, "cuda": 134_217_728}
"""Logits alive at once: 16 MiB of float32 stay near a CPU's cache; a GPU wants large products."""


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


def _chunks(tokens: int, vocabulary: int, device: str) -> list[slice]:
    rows = max(16, CHUNK_ELEMENTS.get(device, CHUNK_ELEMENTS["cuda"]) // max(1, vocabulary))
    return [slice(start, min(tokens, start + rows)) for start in range(0, tokens, rows)]


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, rule: LogitRule) -> Tensor:
    """Ruled logits of float32 or wider, as the model itself computes them."""
    raw = hidden @ weight.t() if bias is None else torch.addmm(bias, hidden, weight.t())
    return rule.apply(raw if raw.dtype == torch.float64 else raw.float())


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
        wide = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        count = hidden.shape[0]
        logprobs = torch.empty(count, dtype=wide, device=hidden.device)
        entropy, normaliser = torch.empty_like(logprobs), torch.empty_like(logprobs)
        for part in _chunks(count, weight.shape[0], hidden.device.type):
            logits = _logits(hidden[part], weight, bias, rule)
            lse = torch.logsumexp(logits, dim=-1)
            logprobs[part] = logits.gather(1, tokens[part, None]).squeeze(1) - lse
            normaliser[part] = lse
            probabilities = (logits - lse[:, None]).exp_()
            entropy[part] = lse - torch.linalg.vecdot(probabilities, logits)
        ctx.save_for_backward(hidden, weight, bias, tokens, normaliser)
        ctx.rule = rule
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, tokens, normaliser = ctx.saved_tensors
        upstream = gradients[0]
        wide = upstream.dtype
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros(weight.shape, dtype=wide, device=weight.device)
        grad_bias = None if bias is None else torch.zeros_like(bias, dtype=wide)
        for part in _chunks(hidden.shape[0], weight.shape[0], hidden.device.type):
            logits = _logits(hidden[part], weight, bias, ctx.rule)
            scale = upstream[part, None]
            slope = (logits - normaliser[part, None]).exp_().mul_(-scale)
            slope.scatter_add_(1, tokens[part, None], scale)
            slope = ctx.rule.chain(slope, logits)
            if grad_bias is not None:
                grad_bias += slope.sum(0)
            narrow = slope.to(hidden.dtype)
            grad_hidden[part] = narrow @ weight
            grad_weight += narrow.t() @ hidden[part]
        bias_result = None if grad_bias is None else grad_bias.to(bias.dtype)
        return grad_hidden, grad_weight.to(weight.dtype), bias_result, None, None
