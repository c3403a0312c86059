import math

import own_functions
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from contracts.config import LearnerConfig
from contracts.errors import UserError
from learner.losses import (
    TokenBatch,
    cispo,
    clipped,
    dual_clip,
    k3,
    loss_named,
    token_loss,
    truncated_weight,
)

CONFIG = LearnerConfig(clip_low=0.1, clip_high=0.3)


@given(gap=st.floats(-2, 2), advantage=st.floats(-3, 3))
def test_the_clip_holds_back_only_what_goes_too_far(gap, advantage):
    now = torch.tensor([gap], dtype=torch.float64, requires_grad=True)
    term = clipped(now, torch.zeros(1), torch.tensor([advantage], dtype=torch.float64), CONFIG)
    ratio = math.exp(gap)
    expected = -min(ratio * advantage, min(max(ratio, 0.9), 1.3) * advantage)
    assert float(term.loss) == pytest.approx(expected, abs=1e-9)
    (slope,) = torch.autograd.grad(term.loss.sum(), now)
    too_far = (advantage > 0 and ratio > 1.3) or (advantage < 0 and ratio < 0.9)
    assert float(term.clipped) == float(too_far)
    assert float(slope) == pytest.approx(0 if too_far else -ratio * advantage, abs=1e-9)


@given(x=st.floats(-5, 5))
def test_k3_is_its_formula_and_never_negative(x):
    value = float(k3(torch.tensor(x, dtype=torch.float64)))
    assert value == pytest.approx(math.exp(x) - 1 - x, abs=1e-9)
    assert value >= -1e-15


def test_k3_estimates_the_kl_of_two_distributions():
    q, p = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.5, 0.3, 0.2])
    expected = float((q * (q / p).log()).sum())
    assert float((q * k3((p / q).log())).sum()) == pytest.approx(expected, rel=1e-5)


def test_importance_is_truncated_from_above_only():
    old, sampler = torch.tensor([0.0, -3.0, 1.0]), torch.tensor([0.0, 0.0, 0.0])
    assert truncated_weight(old, sampler, 2.0).tolist() == pytest.approx([1.0, math.exp(-3), 2.0])
    assert truncated_weight(old, sampler, None).tolist() == [1.0, 1.0, 1.0]


def test_a_loss_of_ones_own_is_found_and_an_unknown_one_named():
    assert loss_named("own_functions:reinforce") is own_functions.reinforce
    with pytest.raises(UserError, match="'vanilla' is not known") as caught:
        loss_named("vanilla")
    assert caught.value.where == "learner.loss"
    assert "cispo, clipped, dual_clip, reinforce" in caught.value.remedy


@given(gap=st.floats(-2, 2), advantage=st.floats(-3, 3).filter(lambda a: a == 0 or abs(a) > 1e-9))
def test_dual_clip_is_bounded_where_the_advantage_is_negative(gap, advantage):
    now = torch.tensor([gap], dtype=torch.float64, requires_grad=True)
    given_advantage = torch.tensor([advantage], dtype=torch.float64)
    plain = clipped(now, torch.zeros(1), given_advantage, CONFIG)
    term = dual_clip(now, torch.zeros(1), given_advantage, CONFIG)
    if advantage >= 0:
        assert float(term.loss) == float(plain.loss)
    else:
        assert float(term.loss) == pytest.approx(min(float(plain.loss), -3 * advantage))
    (slope,) = torch.autograd.grad(term.loss.sum(), now)
    assert (float(slope) == 0) == (bool(term.clipped) or advantage == 0)


@given(gap=st.floats(-2, 2), advantage=st.floats(-3, 3))
def test_cispo_leaves_no_token_out(gap, advantage):
    now = torch.tensor([gap], dtype=torch.float64, requires_grad=True)
    term = cispo(now, torch.zeros(1), torch.tensor([advantage], dtype=torch.float64), CONFIG)
    (slope,) = torch.autograd.grad(term.loss.sum(), now)
    assert float(slope) == pytest.approx(-min(max(math.exp(gap), 0.9), 1.3) * advantage)
    assert float(term.clipped) == float(not 0.9 <= math.exp(gap) <= 1.3)


WRONG = {
    "summed": r"'loss' of shape \(\) for \d+ tokens",
    "bare": "gave Tensor",
    "cut_off": "a loss without a gradient",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_loss_that_breaks_its_promise_is_named(name):
    config = LearnerConfig(loss=f"own_functions:{name}")
    now = torch.zeros(3, requires_grad=True)
    batch = TokenBatch(
        *(torch.ones(3) for _ in range(5)), torch.ones(3, 3), torch.zeros(3, dtype=torch.int64)
    )
    with pytest.raises(UserError, match=f"own_functions:{name}.*{WRONG[name]}") as caught:
        token_loss(now, None, batch, config, loss_named(config.loss))
    assert caught.value.where == "learner.loss"
    assert "PolicyTerm" in caught.value.remedy
