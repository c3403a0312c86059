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
from learner.advantages import named


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


def clipped(logprobs: Tensor, old: Tensor, advantages: Tensor, config: LearnerConfig) -> PolicyTerm:
    """PPO's clipped surrogate per token, with separate bounds (Schulman et al. 2017, eq. 7).

    ``-min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)`` with r = exp(logprobs - old).
    """
    ratio = torch.exp(logprobs - old)
    bounded = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
    free, held = ratio * advantages, bounded * advantages
    return PolicyTerm(
        loss=-torch.minimum(free, held),
        ratio=ratio.detach(),
        clipped=(held < free).detach().to(logprobs.dtype),
    )


BUILT_IN: dict[str, PolicyLoss] = {"clipped": clipped}


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
    """
    old = torch.where(batch.old.isnan(), logprobs.detach(), batch.old)
    weight = truncated_weight(old, batch.sampler, config.sampling_cap)
    trained = batch.policy != 0
    term = policy_loss(logprobs, torch.where(trained, old, logprobs.detach()), batch.policy, config)
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
