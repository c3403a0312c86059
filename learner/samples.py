"""From graded groups, or from supervised text, to samples: all the learner knows of either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from contracts.config import LearnerConfig
from contracts.types import Completion, Generation, Group, Objective, Sample
from learner.advantages import advantages_of
from learner.leaning import JUDGING, Leans, pulled

AFTER_VERDICT = 2
"""Tokens from a boxed verdict to the end: the closing brace and the end itself. They carry as much
as the verdict: were they to carry more, a doubt whether to go on would count for more than it."""


def samples_of(group: Group, config: LearnerConfig, leans: Leans | None = None) -> list[Sample]:
    """The samples of a graded group: every token carries its completion's advantage.

    In a judge's completion the token k places before the verdict carries
    ``judge_discount ** k`` of it, the discounted return of a reward that comes with the verdict
    (Sutton and Barto, Reinforcement Learning, 2nd edition, eq. 3.8). The verdict is taken to be
    ``AFTER_VERDICT`` tokens before the end.

    Args:
        group: a prompt, its completions and their grades. Completions without a token are
            left out of the result, but their reward counts in the advantage.
        config: names the advantage estimator, and the discount.
        leans: of the verdicts of the whole update; see ``learner.leaning``.

    Raises:
        UserError: the estimator is unknown, or did not give a finite number for each reward.
    """
    advantages = pulled(advantages_of(group.rewards, config.advantage), group, leans or {})
    discount = config.judge_discount if group.prompt.objective in JUDGING else 1.0
    return [
        _sampled(group, completion, advantage=float(advantage), kl=1.0, discount=discount)
        for completion, advantage in zip(group.completions, advantages, strict=True)
        if len(completion.tokens)
    ]


def _sampled(
    source: Group | Generation,
    completion: Completion,
    *,
    advantage: float,
    kl: float,
    discount: float = 1.0,
) -> Sample:
    """One completion of ``source``, its tokens weighted alike but for the discount."""
    length = len(completion.tokens)
    before_verdict = np.maximum(np.arange(length)[::-1] - AFTER_VERDICT, 0)
    return Sample(
        group=source.prompt.id,
        objective=source.prompt.objective,
        prompt_tokens=source.prompt_tokens,
        tokens=completion.tokens,
        logprobs=completion.logprobs,
        policy_weights=(advantage * discount**before_verdict).astype(np.float32),
        supervised_weights=np.zeros(length, dtype=np.float32),
        kl_weights=np.full(length, kl, dtype=np.float32),
        version=completion.oldest_version,
    )


def supervised_sample(
    group: str,
    objective: Objective,
    prompt_tokens: ArrayLike,
    tokens: Sequence[int] | NDArray[Any],
    weights: ArrayLike | None = None,
) -> Sample:
    """A sample whose tokens are given, not sampled: for a warm start.

    Args:
        group: samples that share it must share ``prompt_tokens``.
        objective: whose weight and normaliser the tokens count under.
        prompt_tokens: [P], not trained on; at least one.
        tokens: [R], trained on.
        weights: [R] weight of each token's negative log-likelihood; None: 1 each.
    """
    length = len(tokens)
    zeros = np.zeros(length, dtype=np.float32)
    given = np.ones(length, np.float32) if weights is None else np.asarray(weights, np.float32)
    if given.shape != (length,):
        raise ValueError(f"{given.shape[0]} weights for {length} tokens in group {group!r}")
    return Sample(
        group=group,
        objective=objective,
        prompt_tokens=np.asarray(prompt_tokens, dtype=np.int32),
        tokens=np.asarray(tokens, dtype=np.int32),
        logprobs=zeros,
        policy_weights=zeros,
        supervised_weights=given,
        kl_weights=zeros,
        version=0,
    )


def generated_samples(generations: Sequence[Generation]) -> list[Sample]:
    """Samples with nothing to learn, to compare log-probabilities by; none of empty completions."""
    return [
        _sampled(generation, completion, advantage=0.0, kl=0.0)
        for generation in generations
        for completion in generation.completions
        if len(completion.tokens)
    ]
