"""Loss and every gradient in float64 against the plain reference, and independence of packing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_learner import make_samples, plain_logprobs, plain_loss
from transformers import AutoModelForCausalLM

from contracts.config import LearnerConfig
from learner.losses import loss_named, token_loss
from learner.minibatch import Packing, objective_weights, plan, token_batch
from learner.policy import Policy, shares_prefixes, without_dropout

CPU = torch.device("cpu")
WEIGHTS = {"solve": 1.0, "pointwise": 0.7, "pairwise": 0.5, "reflect": 0.25}


@pytest.fixture(scope="module")
def model(random_model_folder):
    loaded = AutoModelForCausalLM.from_pretrained(random_model_folder, dtype=torch.float64)
    assert shares_prefixes(loaded)
    return without_dropout(loaded)


@pytest.fixture(scope="module")
def frozen(random_model_folder):
    loaded = AutoModelForCausalLM.from_pretrained(random_model_folder, dtype=torch.float64)
    assert shares_prefixes(loaded)
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return loaded.requires_grad_(False)


def packing(config):
    return Packing(config.shared_prefix, config.token_budget, CPU)


def forward(policy, layout):
    return policy(layout.input_ids, layout.positions, layout.blocks, layout.source, layout.tokens)


def learner_gradients(model, samples, config, *, old=None, reference=None, parts=1):
    """Loss and gradients as the engine makes them, the samples dealt to ``parts`` ranks."""
    policy, judge = Policy(model), None if reference is None else Policy(reference)
    model.zero_grad()
    names = sorted({s.group for s in samples})
    shares = [
        [i for i, s in enumerate(samples) if names.index(s.group) % parts == part]
        for part in range(parts)
    ]
    plans = [plan([samples[i] for i in share], config, packing(config)) for share in shares]
    totals = torch.stack([p.counts for p in plans]).sum(0)
    scale = objective_weights(config)[:, None] / totals.clamp(min=1)
    total = 0.0
    for share, part in zip(shares, plans, strict=True):
        place = {id(samples[i]): i for i in share}
        before = {
            k: s.logprobs if old is None else old[place[id(s)]] for k, s in enumerate(part.samples)
        }
        for layout in part.layouts:
            batch = token_batch(
                part, layout, scale, before, with_kl=judge is not None, wide=torch.float64
            )
            now, _ = forward(policy, layout)
            fixed = None if judge is None else forward(judge, layout)[0]
            loss = token_loss(now, fixed, batch, config, loss_named(config.loss)).total
            loss.backward()
            total += float(loss.detach())
    return total, [p.grad.clone() for p in model.parameters()]


def plain_gradients(model, samples, config, **more):
    model.zero_grad()
    loss = plain_loss(model, samples, config, **more)
    loss.backward()
    return float(loss.detach()), [p.grad.clone() for p in model.parameters()]


def assert_equal(ours, theirs):
    # transformers takes norms and rotations in float32 even in a float64 model, hence not 1e-12.
    assert ours[0] == pytest.approx(theirs[0], rel=1e-6)
    for mine, other in zip(ours[1], theirs[1], strict=True):
        assert (mine - other).norm() <= 1e-6 * other.norm()


def vocabulary(model):
    return model.config.vocab_size


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


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 1000),
    budget=st.integers(1, 400),
    shared=st.sampled_from(["on", "off", "auto"]),
    ranks=st.integers(1, 4),
    supervised=st.booleans(),
)
def test_gradients_do_not_depend_on_packing_or_ranks(
    model, seed, budget, shared, ranks, supervised
):
    samples = make_samples(
        5, seed=seed, vocabulary=vocabulary(model), size=3, supervised=supervised
    )
    whole = LearnerConfig(weights=WEIGHTS, shared_prefix="off", token_budget=100_000)
    other = whole.model_copy(update={"shared_prefix": shared, "token_budget": budget})
    assert_equal(
        learner_gradients(model, samples, other, parts=ranks),
        learner_gradients(model, samples, whole),
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
