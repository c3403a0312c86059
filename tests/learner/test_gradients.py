"""Loss and every gradient in float64 against the plain reference, and independence of packing."""

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
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_learner import make_samples, plain_logprobs

from contracts.config import LearnerConfig
from learner.losses import BUILT_IN
from learner.minibatch import plan
from learner.policy import Policy


@pytest.mark.parametrize("shared", ["on", "off"])
def test_policy_gradient_with_both_clips_at_work(model, shared):
    config = LearnerConfig(
        weights=WEIGHTS, shared_prefix=shared, clip_low=0.1, clip_high=0.3, token_budget=64
    )
    samples = make_samples(4, seed=3, vocabulary=vocabulary(model))
    assert_equal(learner_gradients(model, samples, config), plain_gradients(model, samples, config))


@pytest.mark.parametrize("cap", [None, 1.2])
def test_recomputed_old_and_truncated_importance(model, cap):
    config = LearnerConfig(weights=WEIGHTS, sampling_cap=cap, recompute_old=True)
    samples = make_samples(4, seed=4, vocabulary=vocabulary(model))
    draw = np.random.default_rng(0)
    old = [(s.logprobs + draw.normal(0, 0.3, len(s.tokens))).astype(np.float32) for s in samples]
    assert_equal(
        learner_gradients(model, samples, config, old=old),
        plain_gradients(model, samples, config, old=old),
    )


def test_kl_to_the_reference_and_supervised_tokens(model, frozen):
    config = LearnerConfig(weights=WEIGHTS, kl_coefficient=0.3)
    samples = make_samples(4, seed=5, vocabulary=vocabulary(model), supervised=True)
    assert_equal(
        learner_gradients(model, samples, config, reference=frozen),
        plain_gradients(model, samples, config, reference=frozen),
    )


def test_logprobs_are_those_of_the_model(model):
    samples = make_samples(3, seed=6, vocabulary=vocabulary(model))
    config = LearnerConfig(shared_prefix="on")
    part = plan(samples, config, packing(config))
    for layout in part.layouts:
        now, _ = forward(Policy(model), layout)
        expected = torch.cat([plain_logprobs(model, part.samples[i]) for i in layout.order])
        torch.testing.assert_close(now, expected, rtol=1e-10, atol=1e-10)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 1000),
    size=st.integers(1, 5),
    longest=st.integers(2, 40),
    budget=st.integers(1, 400),
    shared=st.sampled_from(["on", "off", "auto"]),
    owners=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    supervised=st.booleans(),
    loss=st.sampled_from(sorted(BUILT_IN)),
)
def test_gradients_do_not_depend_on_packing_or_ranks(
    model, frozen, seed, size, longest, budget, shared, owners, supervised, loss
):
    """Any spread of groups over up to four ranks, some of which may have none."""
    samples = make_samples(
        len(owners),
        seed=seed,
        vocabulary=vocabulary(model),
        size=size,
        length=(1, longest),
        supervised=supervised,
    )
    whole = LearnerConfig(
        weights=WEIGHTS, loss=loss, kl_coefficient=0.2, shared_prefix="off", token_budget=100_000
    )
    other = whole.model_copy(update={"shared_prefix": shared, "token_budget": budget})
    assert_equal(
        learner_gradients(model, samples, other, reference=frozen, owners=owners),
        learner_gradients(model, samples, whole, reference=frozen),
    )


def test_a_sample_with_nothing_to_learn_changes_nothing(model):
    config = LearnerConfig(weights=WEIGHTS)
    samples = make_samples(4, seed=7, vocabulary=vocabulary(model))
    idle = make_samples(1, seed=8, vocabulary=vocabulary(model))
    silent = [replace(s, group="idle", policy_weights=s.policy_weights * 0) for s in idle]
    assert len(plan(samples + silent, config, packing(config)).samples) == len(samples)
    assert_equal(
        learner_gradients(model, samples + silent, config),
        learner_gradients(model, samples, config),
    )
