"""The frozen initial model, for the KL penalty. Made only where its coefficient is above 0."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from learner.policy import Policy, inputs
from learner.shared_prefix import Layout


class Reference:
    """Log-probabilities of the initial model, partitioned by ZeRO-3 like the policy.

    Args:
        deepspeed: the module, from ``zero.join``.
        policy: the initial model; its parameters are frozen.
        settings: from ``zero.zero_config``; no optimiser is made.
    """

    def __init__(self, deepspeed: Any, policy: Policy, settings: dict[str, Any]) -> None:
        policy.requires_grad_(False)
        policy.eval()
        self._engine, *_ = deepspeed.initialize(model=policy, config=settings)
        self._engine.module.eval()

    @torch.no_grad()
    def logprobs(self, layout: Layout) -> Tensor:
        """Log-probabilities [T] of the layout's tokens. Collective."""
        logprobs, _ = self._engine.module(*inputs(layout))
        result: Tensor = logprobs
        return result

    def close(self) -> None:
        """Free what the engine holds."""
        self._engine.destroy()
