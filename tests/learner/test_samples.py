"""Advantages of completions to weights of tokens."""

import numpy as np
import pytest
from plain_learner import make_groups

from contracts.config import LearnerConfig
from contracts.types import Group, Objective
from learner.advantages import group_normalised
from learner.samples import samples_of


def group_of(objective: Objective) -> Group:
    """A random graded group; completions of 1 to 7 tokens."""
    groups = make_groups(4, seed=3, vocabulary=50, size=6)
    return next(group for group in groups if group.prompt.objective is objective)


@pytest.mark.parametrize("objective", list(Objective))
def test_all_tokens_carry_the_advantage_alike_unless_something_else_is_said(objective):
    group = group_of(objective)
    for sample, advantage in zip(
        samples_of(group, LearnerConfig()), group_normalised(group.rewards), strict=True
    ):
        np.testing.assert_array_equal(sample.policy_weights, np.full(len(sample.tokens), advantage))


@pytest.mark.parametrize("objective", [Objective.POINTWISE, Objective.PAIRWISE])
def test_a_verdict_is_credited_to_its_end_first(objective):
    group = group_of(objective)
    lengths = set()
    for sample, advantage in zip(
        samples_of(group, LearnerConfig(judge_discount=0.5)),
        group_normalised(group.rewards),
        strict=True,
    ):
        shares = [1, 1, 1, 0.5, 0.25, 0.125, 0.0625]
        by_hand = [advantage * share for share in shares[: len(sample.tokens)]]
        np.testing.assert_allclose(sample.policy_weights[::-1], by_hand, rtol=1e-6)
        lengths.add(len(sample.tokens))
    assert len(lengths) > 1


@pytest.mark.parametrize("objective", [Objective.SOLVE, Objective.REFLECT])
def test_answers_are_not_discounted(objective):
    group = group_of(objective)
    plain = samples_of(group, LearnerConfig())
    for sample, same in zip(
        samples_of(group, LearnerConfig(judge_discount=0.5)), plain, strict=True
    ):
        np.testing.assert_array_equal(sample.policy_weights, same.policy_weights)
