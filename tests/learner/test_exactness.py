"""Every estimator, loss and component against the plain reference, and what bfloat16 costs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from both_ways import (
    WEIGHTS,
    assert_equal,
    forward,
    learner_gradients,
    packing,
    plain_gradients,
    vocabulary,
)
from plain_learner import make_groups, make_samples, plain_advantages
from transformers import AutoModelForCausalLM

from contracts.config import LearnerConfig
from learner import advantages, losses
from learner.losses import loss_named, token_loss
from learner.minibatch import objective_weights, plan, token_batch
from learner.policy import Policy, shares_prefixes, without_dropout
from learner.samples import samples_of

CLIPS = {"clip_low": 0.1, "clip_high": 0.3}


def samples_both_ways(model, config, *, supervised):
    """The samples of the same graded groups: the learner's, and with plain advantages."""
    groups = make_groups(4, seed=11, vocabulary=vocabulary(model), size=4, spread=1.2)
    draw = np.random.default_rng(12)
    ours, plain = [], []
    for group in groups:
        exact = plain_advantages(config.advantage, [grade.reward for grade in group.grades])
        for sample, advantage in zip(samples_of(group, config), exact, strict=True):
            n = len(sample.tokens)
            given = draw.choice([0.0, 1.0, 4.0], n) if supervised else np.zeros(n)
            ours.append(replace(sample, supervised_weights=given.astype(np.float32)))
            plain.append(replace(ours[-1], policy_weights=np.full(n, advantage, dtype=np.float64)))
    return ours, plain


@pytest.mark.parametrize("component", ["policy", "supervised", "kl"])
@pytest.mark.parametrize("loss", sorted(losses.BUILT_IN))
@pytest.mark.parametrize("advantage", sorted(advantages.BUILT_IN))
def test_loss_and_gradients_equal_the_plain_reference(model, frozen, advantage, loss, component):
    """The policy's part, alone and with each of the other two."""
    config = LearnerConfig(
        weights=WEIGHTS,
        advantage=advantage,
        loss=loss,
        kl_coefficient=0.3 if component == "kl" else 0.0,
        **CLIPS,
    )
    ours, plain = samples_both_ways(model, config, supervised=component == "supervised")
    reference = frozen if component == "kl" else None
    assert_equal(
        learner_gradients(model, ours, config, reference=reference),
        plain_gradients(model, plain, config, reference=reference),
    )


@pytest.mark.parametrize("loss", sorted(losses.BUILT_IN))
def test_the_batch_of_these_tests_reaches_every_case_of_each_loss(model, loss):
    config = LearnerConfig(weights=WEIGHTS, loss=loss, **CLIPS)
    samples, _ = samples_both_ways(model, config, supervised=False)
    part = plan(samples, config, packing(config))
    ratios, held, signs = [], [], []
    for layout in part.layouts:
        old = {i: sample.logprobs for i, sample in enumerate(part.samples)}
        scale = objective_weights(config)[:, None] / part.counts.clamp(min=1)
        batch = token_batch(part, layout, scale, old, with_kl=False, wide=torch.float64)
        now, _ = forward(Policy(model), layout)
        result = token_loss(now, None, batch, config, loss_named(loss))
        ratios.append(result.ratio)
        held.append(result.clipped)
        signs.append(batch.policy.sign())
    ratio, clipped, sign = torch.cat(ratios), torch.cat(held).bool(), torch.cat(signs)
    low, middle, high, beyond = ratio < 0.9, (ratio > 0.9) & (ratio < 1.3), ratio > 1.3, ratio > 3
    for where in (low, middle, high, beyond):
        assert (where & (sign > 0)).any()
        assert (where & (sign < 0)).any()
    expected = {
        "clipped": (high & (sign > 0)) | (low & (sign < 0)),
        "dual_clip": (high & (sign > 0)) | ((low | beyond) & (sign < 0)),
        "cispo": low | high,
        "reinforce": torch.zeros_like(low),
    }[loss]
    assert torch.equal(clipped, expected)


@pytest.mark.parametrize("shared", ["on", "off"])
def test_gradient_checkpointing_changes_no_gradient(random_model_folder, model, shared):
    loaded = AutoModelForCausalLM.from_pretrained(random_model_folder, dtype=torch.float64)
    assert shares_prefixes(loaded)
    saving = without_dropout(loaded).train()
    saving.gradient_checkpointing_enable({"use_reentrant": False})
    forwards = []
    layer = saving.model.layers[0].mlp
    layer.register_forward_pre_hook(lambda *_: forwards.append(1))
    config = LearnerConfig(weights=WEIGHTS, shared_prefix=shared)
    samples = make_samples(4, seed=3, vocabulary=vocabulary(model))
    layouts = len(plan(samples, config, packing(config)).layouts)
    ours = learner_gradients(saving, samples, config)
    assert len(forwards) == 2 * layouts
    assert_equal(ours, learner_gradients(model, samples, config))
    assert_equal(ours, plain_gradients(model, samples, config))


ROUNDOFF = 2.0**-8
"""Of bfloat16, which keeps eight bits of each number."""


@pytest.mark.parametrize("loss", ["cispo", "reinforce"])
@pytest.mark.parametrize("shared", ["on", "off"])
@pytest.mark.parametrize("seed", range(3))
def test_bfloat16_costs_no_more_than_its_rounding(random_model_folder, loss, shared, seed):
    """Rounded weights, computed with in bfloat16 and in float64.

    About forty results are rounded between the embedding and a gradient of the first layer,
    each by up to the roundoff, independently: their errors add to sqrt(40) = 6 roundoffs of
    the whole gradient. A single parameter may have a gradient that is what is left of large
    terms (the key biases), so it is allowed three times that. Losses with a hard clip are
    left out: a token at its edge may be clipped in one type only.
    """
    exact, rough = (
        AutoModelForCausalLM.from_pretrained(random_model_folder, dtype=torch.bfloat16)
        for _ in range(2)
    )
    exact = exact.double()
    assert shares_prefixes(rough)
    config = LearnerConfig(weights=WEIGHTS, loss=loss, shared_prefix=shared, **CLIPS)
    samples = make_samples(4, seed=seed, vocabulary=vocabulary(rough), supervised=True)
    ours = learner_gradients(without_dropout(rough), samples, config)
    plain = plain_gradients(exact, samples, config)
    assert ours[0] == pytest.approx(plain[0], rel=ROUNDOFF)
    errors = [(mine - other).norm() for mine, other in zip(ours[1], plain[1], strict=True)]
    norms = [other.norm() for other in plain[1]]
    assert torch.stack(errors).norm() < 6 * ROUNDOFF * torch.stack(norms).norm()
    for error, norm in zip(errors, norms, strict=True):
        assert error < 18 * ROUNDOFF * norm
