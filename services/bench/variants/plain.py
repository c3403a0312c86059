"""A plain loop around a transformers model: what one would write by hand, written well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from services.bench.processes import Turns
from services.bench.variants import BETAS, CLIP, GRADIENT_CLIP, LEARNING_RATE
from services.bench.workload import Work, rollouts


@dataclass(frozen=True, slots=True)
class Batch:
    """A group as rows: ``ids`` int64 [n, P + R], ``tokens`` int64 [n, R], ``advantages`` [n, 1]."""

    ids: Tensor
    tokens: Tensor
    advantages: Tensor


def batches(work: Work) -> list[Batch]:
    """A micro-batch a group. Lengths are fixed, so that no row needs padding."""
    data = rollouts(work)
    result = []
    for prompt, completions, advantages in zip(
        data.prompts, data.completions, data.advantages, strict=True
    ):
        tokens = torch.from_numpy(completions).long()
        start = torch.from_numpy(prompt).long().expand(len(tokens), -1)
        ids = torch.cat([start, tokens], dim=1)
        result.append(Batch(ids, tokens, torch.from_numpy(advantages)[:, None]))
    return result


class Master:
    """Float32 copies of the parameters: gradients are summed into them, AdamW steps on them.

    A float32 model is its own master copy.
    """

    def __init__(self, model: nn.Module) -> None:
        self._computed = list(model.parameters())
        self._own = all(p.dtype == torch.float32 for p in self._computed)
        self._wide = (
            self._computed
            if self._own
            else [nn.Parameter(p.detach().float()) for p in self._computed]
        )
        self._adam = torch.optim.AdamW(
            self._wide, lr=LEARNING_RATE, betas=BETAS, weight_decay=0.0, fused=True
        )

    def collect(self) -> None:
        """Add the gradients of a micro-batch to the sum, in float32."""
        if self._own:
            return
        for narrow, wide in zip(self._computed, self._wide, strict=True):
            if narrow.grad is None:
                continue
            if wide.grad is None:
                wide.grad = narrow.grad.float()
            else:
                wide.grad += narrow.grad
            narrow.grad = None

    @torch.no_grad()
    def step(self) -> float:
        """Clip, step, and let the model follow; the gradient norm before clipping."""
        norm = nn.utils.clip_grad_norm_(self._wide, GRADIENT_CLIP)
        self._adam.step()
        self._adam.zero_grad()
        if not self._own:
            for narrow, wide in zip(self._computed, self._wide, strict=True):
                narrow.copy_(wide)
        return float(norm)


def loss_of(model: Any, batch: Batch, tokens: int) -> Tensor:
    """The clipped surrogate of a group, divided by the ``tokens`` of the whole update.

    The last token predicts nothing and is not forwarded. Logits are made for the completion
    only, and normalised in float32.
    """
    length = batch.tokens.shape[1]
    logits = model(batch.ids[:, :-1], use_cache=False, logits_to_keep=length).logits
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    picked = logprobs.gather(2, batch.tokens[..., None]).squeeze(2)
    ratio = torch.exp(picked - picked.detach())
    bounded = ratio.clamp(1 - CLIP, 1 + CLIP)
    gain = torch.minimum(ratio * batch.advantages, bounded * batch.advantages)
    return -gain.sum() / tokens


def run(work: Work, turns: Turns) -> None:
    """Load the model as transformers does, and update it once a turn."""
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(work.threads)
    model = AutoModelForCausalLM.from_pretrained(
        work.folder,
        dtype=getattr(torch, work.dtype),
        attn_implementation="sdpa",
        local_files_only=True,
    ).train()
    master = Master(model)
    groups = batches(work)

    def update() -> float:
        for batch in groups:
            torch.autograd.backward(loss_of(model, batch, work.completion_tokens))
            master.collect()
        return master.step()

    turns.drive(update)
