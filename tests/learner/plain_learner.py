"""The learner's mathematics written out plainly, sample by sample and token by token.

Nothing of the learner is used here but its types: this is what it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from contracts.config import LearnerConfig
from contracts.types import (
    Completion,
    Grade,
    Group,
    Message,
    Objective,
    Prompt,
    Reason,
    Sample,
    Task,
    VersionSpan,
)


def plain_logprobs(model: nn.Module, sample: Sample) -> Tensor:
    """[R] from the model's own logits of the whole sequence, in the model's type."""
    ids = np.concatenate([sample.prompt_tokens, sample.tokens]).astype(np.int64)
    logits = model(input_ids=torch.from_numpy(ids)[None], use_cache=False).logits[0]
    table = torch.log_softmax(logits, dim=-1)
    start = len(sample.prompt_tokens)
    return torch.stack([table[start + j - 1, ids[start + j]] for j in range(len(sample.tokens))])


def plain_loss(
    model: nn.Module,
    samples: Sequence[Sample],
    config: LearnerConfig,
    *,
    old: Sequence[Sequence[float]] | None = None,
    reference: nn.Module | None = None,
) -> Tensor:
    """The loss of one optimiser batch, of a float64 model (in float32 ties would be misread).

    ``old``: as recomputed; None: the sampler's.
    """
    assert next(model.parameters()).dtype == torch.float64
    total = torch.zeros((), dtype=torch.float64)
    for objective in Objective:
        members = [i for i, s in enumerate(samples) if s.objective is objective]
        policy, supervised, divergence = [], [], []
        for i in members:
            sample = samples[i]
            now = plain_logprobs(model, sample)
            frozen = None if reference is None else plain_logprobs(reference, sample).detach()
            for j in range(len(sample.tokens)):
                advantage = float(sample.policy_weights[j])
                if advantage != 0:
                    sampler = float(sample.logprobs[j])
                    before = sampler if old is None else float(old[i][j])
                    policy.append(_policy_term(now[j], before, sampler, advantage, config))
                if sample.supervised_weights[j] != 0:
                    supervised.append(-float(sample.supervised_weights[j]) * now[j])
                if frozen is not None and sample.kl_weights[j] != 0:
                    x = frozen[j] - now[j]
                    k3 = torch.exp(x) - x - 1
                    divergence.append(config.kl_coefficient * float(sample.kl_weights[j]) * k3)
        for terms in (policy, supervised, divergence):
            if terms:
                mean = sum(terms[1:], terms[0]) / len(terms)
                total = total + config.weights[objective.value] * mean
    return total


def _policy_term(
    now: Tensor, before: float, sampler: float, advantage: float, config: LearnerConfig
) -> Tensor:
    weight = 1.0
    if config.sampling_cap is not None:
        weight = min(math.exp(before - sampler), config.sampling_cap)
    return weight * _policy_loss(now, before, advantage, config)


def _policy_loss(now: Tensor, before: float, advantage: float, config: LearnerConfig) -> Tensor:
    """Each loss as its paper has it, case by case."""
    ratio = torch.exp(now - before)
    here = float(ratio.detach())
    held = min(max(here, 1 - config.clip_low), 1 + config.clip_high)
    if config.loss == "reinforce":
        return -advantage * now
    if config.loss == "cispo":
        return -held * advantage * now
    # The gradient flows through the unclipped branch where that is the smaller of the two.
    objective = ratio * advantage
    if held * advantage < here * advantage:
        objective = torch.tensor(held * advantage, dtype=torch.float64)
    if config.loss == "dual_clip" and advantage < 0 and float(objective.detach()) < 3 * advantage:
        objective = torch.tensor(3 * advantage, dtype=torch.float64)
    return -objective


def plain_advantages(name: str, rewards: Sequence[float]) -> list[float]:
    """Advantages of one group, as the papers define them."""
    n = len(rewards)
    mean = sum(rewards) / n
    if name == "leave_one_out":
        return [r - (sum(rewards) - r) / (n - 1) for r in rewards]
    if name == "group_centred":
        return [r - mean for r in rewards]
    assert name == "group_normalised"
    deviation = math.sqrt(sum((r - mean) ** 2 for r in rewards) / n)
    return [(r - mean) / deviation if deviation else 0.0 for r in rewards]


def make_samples(
    groups: int,
    *,
    seed: int,
    vocabulary: int,
    size: int = 4,
    prompt: tuple[int, int] = (3, 9),
    length: tuple[int, int] = (1, 8),
    supervised: bool = False,
    like: float = -4.9,
    spread: float = 0.3,
) -> list[Sample]:
    """Random groups over all objectives; sampler log-probabilities vary by ``spread``."""
    draw = np.random.default_rng(seed)
    samples = []
    for group in range(groups):
        tokens = draw.integers(0, vocabulary, draw.integers(*prompt)).astype(np.int32)
        for _ in range(size):
            n = int(draw.integers(*length))
            given = draw.choice([0.0, 1.0, 4.0], n) if supervised else np.zeros(n)
            samples.append(
                Sample(
                    group=f"g{group}",
                    objective=list(Objective)[group % 4],
                    prompt_tokens=tokens,
                    tokens=draw.integers(0, vocabulary, n).astype(np.int32),
                    logprobs=draw.normal(like, spread, n).astype(np.float32),
                    policy_weights=np.full(n, draw.normal(), np.float32),
                    supervised_weights=given.astype(np.float32),
                    kl_weights=draw.choice([0.0, 1.0], n).astype(np.float32),
                    version=0,
                )
            )
    return samples


def make_groups(
    count: int, *, seed: int, vocabulary: int, size: int, like: float = -4.9, spread: float = 0.3
) -> list[Group]:
    """Random graded groups over all objectives; rewards of a group differ."""
    draw = np.random.default_rng(seed)
    groups = []
    for number in range(count):
        objective = list(Objective)[number % 4]
        task = Task(f"t{number}", "1 + 1", "2")
        prompt = Prompt(
            f"g{number}", (Message("user", "1 + 1"),), objective, "2", "math", task, "test"
        )
        completions, grades = [], []
        for index in range(size):
            n = int(draw.integers(1, 8))
            completions.append(
                Completion(
                    id=f"{number}/{index}",
                    tokens=draw.integers(0, vocabulary, n).astype(np.int32),
                    logprobs=draw.normal(like, spread, n).astype(np.float32),
                    finish="stop",
                    spans=(VersionSpan(0, n, 0),),
                    text="",
                )
            )
            reward = float(draw.choice([0.0, 0.25, 1.0])) if index else 0.5
            grades.append(Grade(reward, reward > 0.5, None, Reason.OK))
        tokens = draw.integers(0, vocabulary, draw.integers(3, 9)).astype(np.int32)
        groups.append(Group(prompt, tokens, tuple(completions), tuple(grades)))
    return groups
