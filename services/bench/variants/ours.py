"""The learner of this project, one rank, with and without shared prefix."""

from __future__ import annotations

import contextlib

import numpy as np

from contracts.config import LearnerConfig
from contracts.types import Objective, Sample
from services.bench.processes import Turns
from services.bench.variants import BETAS, CLIP, GRADIENT_CLIP, LEARNING_RATE
from services.bench.workload import Rollouts, Work, rollouts

SHARED = {"learner": "on", "learner_plain": "off"}
"""Variant to ``learner.shared_prefix``."""


def run(work: Work, turns: Turns) -> None:
    """Build a learner with its defaults and update it once a turn.

    The tokens are random, so the learner's own log-probabilities serve as those of the sampler:
    the policy ratio is 1, as it is in a synchronous run.
    """
    import torch

    from learner.engine import Learner

    config = LearnerConfig.model_validate(
        {
            "device": "cpu",
            "threads": work.threads,
            "shared_prefix": SHARED[work.variant],
            "learning_rate": LEARNING_RATE,
            "schedule": "constant",
            "warmup_updates": 0,
            "betas": BETAS,
            "gradient_clip": GRADIENT_CLIP,
            "clip_low": CLIP,
            "clip_high": CLIP,
            "recompute_old": True,
            "sampling_cap": None,
        }
    )
    torch.set_num_threads(work.threads)
    learner = Learner(work.folder, config, dtype=work.dtype, total_updates=1, seed=work.seed)
    with contextlib.closing(learner):
        samples = samples_of(rollouts(work))
        turns.drive(lambda: learner.update([samples]).gradient_norm)


def samples_of(data: Rollouts) -> list[Sample]:
    """The rollouts as samples of one objective of weight 1."""
    zeros = np.zeros(data.completions.shape[2], np.float32)
    return [
        Sample(
            group=f"group {group}",
            objective=Objective.SOLVE,
            prompt_tokens=prompt,
            tokens=tokens,
            logprobs=zeros,
            policy_weights=np.full_like(zeros, advantage),
            supervised_weights=zeros,
            kl_weights=zeros,
            version=0,
        )
        for group, prompt in enumerate(data.prompts)
        for tokens, advantage in zip(data.completions[group], data.advantages[group], strict=True)
    ]
