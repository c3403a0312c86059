"""The loss of each token: policy gradient, supervised tokens, KL to a reference.

The loss of an optimiser batch is, over objectives o with weight W_o and over the three
components c with N_oc tokens of non-zero weight in the *whole* batch, on all ranks:

    sum_o W_o sum_c 1 / N_oc sum_tokens term_c(token)

so that nothing depends on how tokens are spread over micro-batches, rows and ranks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from contracts.config import LearnerConfig
from contracts.errors import UserError
from learner.by_name import named


class Component(IntEnum):
    """The three parts of the loss; each has a normaliser of its own per objective."""

    POLICY = 0
    SUPERVISED = 1
    KL = 2


@dataclass(frozen=True, slots=True)
class PolicyTerm:
    """The policy-gradient part, each [T].

    ``loss`` has a gradient; ``ratio`` to the old policy and ``clipped`` (1.0 where the clip
    holds the gradient back) are for the report.
    """

    loss: Tensor
    ratio: Tensor
    clipped: Tensor


PolicyLoss = Callable[[Tensor, Tensor, Tensor, LearnerConfig], PolicyTerm]
"""(log-probabilities with gradient [T], old ones [T], advantages [T], configuration)."""

DUAL_CLIP = 3.0
"""Largest ratio that counts where the advantage is negative: c of ``dual_clip``."""


def clipped(logprobs: Tensor, old: Tensor, advantages: Tensor, config: LearnerConfig) -> PolicyTerm:
    """PPO's clipped surrogate per token, with separate bounds (Schulman et al. 2017, eq. 7).

    ``-min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)`` with r = exp(logprobs - old).
    """
    ratio, bounded = _ratios(logprobs, old, config)
    free, held = ratio * advantages, bounded * advantages
    return PolicyTerm(
        loss=-torch.minimum(free, held),
        ratio=ratio.detach(),
        clipped=_mark(held < free, logprobs),
    )


def dual_clip(
    logprobs: Tensor, old: Tensor, advantages: Tensor, config: LearnerConfig
) -> PolicyTerm:
    """``clipped``, and bounded for bad tokens that became likely (Ye et al. 2020).

    For A < 0 ``-max(min(r A, clip(r) A), c A)`` with c = ``DUAL_CLIP`` (arXiv 1912.09729),
    for others as in ``clipped``, which lets r A fall without end.
    """
    term = clipped(logprobs, old, advantages, config)
    most = -DUAL_CLIP * advantages
    beyond = (advantages < 0) & (term.loss > most)
    return PolicyTerm(
        loss=torch.where(beyond, most, term.loss),
        ratio=term.ratio,
        clipped=torch.where(beyond, torch.ones_like(term.clipped), term.clipped),
    )


def cispo(logprobs: Tensor, old: Tensor, advantages: Tensor, config: LearnerConfig) -> PolicyTerm:
    """The clip on the weight, not on the gradient: CISPO (MiniMax-M1, arXiv 2506.13585).

    ``-sg(clip(r, 1 - clip_low, 1 + clip_high)) A logprobs``: no token is left out, one whose
    ratio went too far only counts no more than at the bound. sg: without gradient.
    """
    ratio, bounded = _ratios(logprobs.detach(), old, config)
    return PolicyTerm(
        loss=-bounded * advantages * logprobs,
        ratio=ratio,
        clipped=_mark(bounded != ratio, logprobs),
    )


def reinforce(
    logprobs: Tensor, old: Tensor, advantages: Tensor, config: LearnerConfig
) -> PolicyTerm:
    """The plain policy gradient (Williams 1992): ``-A logprobs``, whatever the ratio.

    What is left to correct for is the sampler: ``truncated_weight`` does, with
    ``recompute_old``. Meant for one update per step; r is reported only.
    """
    ratio, _ = _ratios(logprobs.detach(), old, config)
    return PolicyTerm(loss=-advantages * logprobs, ratio=ratio, clipped=torch.zeros_like(ratio))


def _ratios(logprobs: Tensor, old: Tensor, config: LearnerConfig) -> tuple[Tensor, Tensor]:
    """r = exp(logprobs - old), and r held within the bounds."""
    ratio = torch.exp(logprobs - old)
    return ratio, ratio.clamp(1 - config.clip_low, 1 + config.clip_high)


def _mark(where: Tensor, like: Tensor) -> Tensor:
    return where.detach().to(like.dtype)


BUILT_IN: dict[str, PolicyLoss] = {
    "clipped": clipped,
    "dual_clip": dual_clip,
    "cispo": cispo,
    "reinforce": reinforce,
}


def loss_named(name: str) -> PolicyLoss:
    """The policy loss called ``name``: one of ``BUILT_IN`` or a user's ``module:function``.

    Raises:
        UserError: there is no such loss.
    """
    loss: PolicyLoss = named(name, BUILT_IN, field="learner.loss")
    return loss


def k3(log_ratio: Tensor) -> Tensor:
    """exp(x) - 1 - x >= 0: with x = log p(t) - log q(t) and t ~ q, an unbiased KL(q || p).

    Schulman's third estimator (joschu.net/blog/kl-approx.html).
    """
    return torch.expm1(log_ratio) - log_ratio


def truncated_weight(old: Tensor, sampler: Tensor, cap: float | None) -> Tensor:
    """min(exp(old - sampler), cap): importance of a token between sampler and learner.

    1 where the sampler's own log-probabilities serve as the old ones; None: no correction.
    """
    if cap is None:
        return torch.ones_like(old)
    return torch.exp(old - sampler).clamp(max=cap)


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """What the loss needs to know of the T completion tokens of a micro-batch, each [T].

    ``sampler``, ``policy``, ``supervised``, ``kl``: log-probabilities and weights of the
    samples. ``old``: log-probabilities the policy ratio is taken to; NaN where they are the
    current ones. ``scale``: [T, 3], what each component's term is multiplied by (objective
    weight over normaliser). ``objective``: int64.
    """

    sampler: Tensor
    old: Tensor
    policy: Tensor
    supervised: Tensor
    kl: Tensor
    scale: Tensor
    objective: Tensor


@dataclass(frozen=True, slots=True)
class TokenLoss:
    """The loss of a micro-batch, and its parts per token for the report, without gradient."""

    total: Tensor
    components: Tensor
    ratio: Tensor
    clipped: Tensor
    kl_reference: Tensor


def token_loss(
    logprobs: Tensor,
    reference: Tensor | None,
    batch: TokenBatch,
    config: LearnerConfig,
    policy_loss: PolicyLoss,
) -> TokenLoss:
    """The summed, normalised loss of a micro-batch.

    Args:
        logprobs: [T], with gradient; ``reference``: [T] of the frozen model, None without.
        batch: weights and old log-probabilities of the same tokens.
        config: clip bounds, cap, KL coefficient.
        policy_loss: from ``loss_named``.

    Returns:
        ``total`` is what to call backward on; ``components`` [T, 3] are unscaled terms.

    Raises:
        UserError: a policy loss of the user's own gave something else than a ``PolicyTerm``
            of [T] tensors with a gradient.
    """
    old = torch.where(batch.old.isnan(), logprobs.detach(), batch.old)
    weight = truncated_weight(old, batch.sampler, config.sampling_cap)
    trained = batch.policy != 0
    before = torch.where(trained, old, logprobs.detach())
    term = _checked(policy_loss(logprobs, before, batch.policy, config), logprobs, config)
    zero = torch.zeros_like(logprobs)
    if reference is None:
        divergence = zero
    else:
        divergence = torch.where(batch.kl != 0, k3(reference - logprobs), zero)
    parts = torch.stack(
        [
            torch.where(trained, term.loss * weight, zero),
            torch.where(batch.supervised != 0, -logprobs * batch.supervised, zero),
            divergence * batch.kl * config.kl_coefficient,
        ],
        dim=1,
    )
    return TokenLoss(
        total=(parts * batch.scale).sum(),
        components=parts.detach(),
        ratio=term.ratio,
        clipped=term.clipped,
        kl_reference=divergence.detach(),
    )


def _checked(term: PolicyTerm, logprobs: Tensor, config: LearnerConfig) -> PolicyTerm:
    """``term``, if it is what a policy loss promises."""
    wrong = ""
    if not isinstance(term, PolicyTerm):
        wrong = f"gave {type(term).__name__}"
    elif shapes := {
        name: tuple(part.shape)
        for name in ("loss", "ratio", "clipped")
        if (part := getattr(term, name)).shape != logprobs.shape
    }:
        name, shape = next(iter(shapes.items()))
        wrong = f"gave {name!r} of shape {shape} for {len(logprobs)} tokens"
    elif logprobs.requires_grad and not term.loss.requires_grad:
        wrong = "gave a loss without a gradient"
    if wrong:
        raise UserError(
            f"{config.loss!r} {wrong}",
            where="learner.loss",
            remedy="return a learner.losses.PolicyTerm with a number for each token",
        )
    return term
