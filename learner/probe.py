"""Does this architecture do what the learner assumes? Asked once per model, before training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from contracts.errors import UserError
from contracts.types import Objective, Sample
from learner.attention import NAME
from learner.packing import rows_of
from learner.policy import reference_logprobs
from learner.samples import supervised_sample
from learner.shared_prefix import Layout, lay_out

TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3, torch.bfloat16: 0.5}
"""Largest difference of log-probabilities at temperature 1, in nats, that rounding explains in a
small model. It is of logits, which a temperature divides."""

Forward = Callable[[Layout], Tensor]


def _samples(model: Any) -> list[Sample]:
    """A group of three completions of different length, of arbitrary but fixed tokens."""
    vocabulary = int(model.config.get_text_config().vocab_size)
    draw = np.random.default_rng(0)
    prompt = draw.integers(0, vocabulary, 7)
    return [
        supervised_sample("probe", Objective.SOLVE, prompt, draw.integers(0, vocabulary, n))
        for n in (5, 1, 9)
    ]


def _scores(
    samples: list[Sample], shared: str, forward: Forward, device: torch.device
) -> list[Tensor]:
    """Log-probabilities of each sample, its rows plain or shared."""
    rows = rows_of(samples, shared_prefix=shared, budget=1024)
    layout = lay_out(rows, samples, device)
    parts = torch.split(forward(layout), [len(samples[i].tokens) for i in layout.order])
    by_sample = dict(zip(layout.order, parts, strict=True))
    return [by_sample[i] for i in range(len(samples))]


@torch.no_grad()
def check_head(model: Any, forward: Forward, device: torch.device, temperature: float) -> None:
    """Our chunked log-probabilities against the model's own logits. Collective.

    Raises:
        UserError: they differ, so the model treats its logits in a way unknown to us.
    """
    samples = _samples(model)
    ours = _scores(samples, "off", forward, device)
    for sample, mine in zip(samples, ours, strict=True):
        ids = np.concatenate([sample.prompt_tokens, sample.tokens])
        tensor = torch.from_numpy(ids.astype(np.int64)).to(device)[None]
        theirs = reference_logprobs(model, tensor, temperature)[-len(mine) :]
        _compare(mine, theirs, temperature, model, "output head")


@torch.no_grad()
def check_shared_prefix(
    model: Any, forward: Forward, device: torch.device, temperature: float
) -> None:
    """Log-probabilities with a shared prefix against plain rows. Collective.

    Raises:
        UserError: they differ, so this architecture lets completions see each other.
    """
    if model.config.get_text_config()._attn_implementation != NAME:
        raise UserError(
            f"{type(model).__name__} does not take its attention from transformers' registry",
            where="learner.shared_prefix",
            remedy="set it to off",
        )
    samples = _samples(model)
    plain = _scores(samples, "off", forward, device)
    shared = _scores(samples, "on", forward, device)
    for one, other in zip(plain, shared, strict=True):
        _compare(other, one, temperature, model, "shared prefix")


def _compare(ours: Tensor, theirs: Tensor, temperature: float, model: Any, what: str) -> None:
    worst = float((ours - theirs).abs().max())
    dtype = next(model.parameters()).dtype
    if worst * temperature <= TOLERANCE.get(dtype, TOLERANCE[torch.bfloat16]):
        return
    remedy = "set learner.shared_prefix to off" if what == "shared prefix" else "use another model"
    raise UserError(
        f"{type(model).__name__} does not fit the learner's {what}: "
        f"log-probabilities differ by {worst:.3g} nats",
        where="model.name",
        remedy=remedy,
    )
