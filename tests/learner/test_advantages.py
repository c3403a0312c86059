import numpy as np
import own_functions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import UserError
from learner.advantages import (
    advantage_named,
    advantages_of,
    group_centred,
    group_normalised,
    leave_one_out,
)

REWARDS = np.array([1, 0, 0, 1, 0, 0, 0, 0], np.float32)


def test_group_normalised_is_spark_3_1():
    mean, std = 0.25, (2 * 0.75**2 / 8 + 6 * 0.25**2 / 8) ** 0.5
    expected = [(r - mean) / std for r in REWARDS]
    np.testing.assert_allclose(group_normalised(REWARDS), expected, rtol=1e-6)


def test_group_centred_leaves_the_scale_alone():
    np.testing.assert_allclose(group_centred(REWARDS), REWARDS - 0.25, rtol=1e-6)


def test_leave_one_out_takes_the_mean_of_the_others():
    expected = [r - (REWARDS.sum() - r) / 7 for r in REWARDS]
    np.testing.assert_allclose(leave_one_out(REWARDS), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["group_normalised", "group_centred", "leave_one_out"])
@given(value=st.floats(-10, 10, width=32), n=st.integers(1, 9))
def test_equal_rewards_have_exactly_no_advantage(name, value, n):
    assert not advantage_named(name)(np.full(n, value, np.float32)).any()


@pytest.mark.parametrize("name", ["group_normalised", "group_centred", "leave_one_out"])
@given(rewards=st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=2, max_size=16))
def test_advantages_sum_to_nothing_and_keep_the_order(name, rewards):
    given_rewards = np.array(rewards, np.float32)
    advantages = advantage_named(name)(given_rewards)
    assert advantages.dtype == np.float32
    assert abs(advantages.sum()) < 1e-4
    order = np.argsort(given_rewards, kind="stable")
    assert (np.diff(advantages[order]) >= 0).all()


def test_an_estimator_of_ones_own_is_found():
    name = "own_functions:twice_centred"
    assert advantage_named(name) is own_functions.twice_centred
    np.testing.assert_allclose(advantages_of(REWARDS, name), 2 * group_centred(REWARDS))


@pytest.mark.parametrize(
    "name", ["gae", "no.such.module:f", "math:no_such_function", ":f", "own_functions:"]
)
def test_an_unknown_estimator_is_named_with_a_remedy(name):
    with pytest.raises(UserError) as caught:
        advantage_named(name)
    assert repr(name) in caught.value.what
    assert caught.value.where == "learner.advantage"
    assert "leave_one_out" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("one_number", r"gave shape \(\) for 8 rewards"),
        ("one_too_many", r"gave shape \(9,\) for 8 rewards"),
        ("infinite", "gave .*inf"),
        ("of_words", "gave .*good"),
        ("NOT_A_FUNCTION", "is not a function"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_an_estimator_that_breaks_its_promise_is_named(name, complaint):
    with pytest.raises(UserError, match=f"own_functions:{name}' {complaint}") as caught:
        advantages_of(REWARDS, f"own_functions:{name}")
    assert caught.value.where == "learner.advantage"
