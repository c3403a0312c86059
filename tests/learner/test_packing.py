from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_learner import make_samples

from learner.packing import balance, micro_batches, rows_of

COSTS = st.lists(st.integers(1, 1000), max_size=40)


@given(costs=COSTS, ranks=st.integers(1, 5))
def test_every_item_goes_to_one_rank(costs, ranks):
    shares = balance(costs, ranks)
    assert len(shares) == ranks
    assert sorted(i for share in shares for i in share) == list(range(len(costs)))
    assert shares == balance(costs, ranks)


@given(costs=COSTS.filter(bool), ranks=st.integers(1, 5))
def test_no_rank_has_more_than_four_thirds_of_the_lower_bound_plus_one_item(costs, ranks):
    loads = [sum(costs[i] for i in share) for share in balance(costs, ranks)]
    # Of a list schedule: the fullest rank was the emptiest before its last item.
    assert max(loads) <= sum(costs) / ranks + max(costs)
    assert max(loads) - min(loads) <= max(costs)


def test_items_are_spread_by_cost_not_by_count():
    shares = balance([100, 1, 1, 1, 100, 1], 2)
    assert [len(share) for share in shares] == [3, 3]
    assert [0 in share for share in shares] != [4 in share for share in shares]
    assert balance([9, 1, 1, 1], 2) == [[0], [1, 2, 3]]


@given(
    seed=st.integers(0, 50),
    budget=st.integers(4, 200),
    shared=st.sampled_from(["auto", "on", "off"]),
)
def test_packing_loses_no_sample_and_keeps_the_budget(seed, budget, shared):
    samples = make_samples(7, seed=seed, vocabulary=20, size=3)
    rows = rows_of(samples, shared_prefix=shared, budget=budget)
    batches = micro_batches(rows, budget)
    assert sorted(i for batch in batches for row in batch for i in row.samples) == list(range(21))
    for batch in batches:
        assert len({row.shared for row in batch}) == 1
        lengths = [row.length for row in batch]
        padded = sum(lengths) if batch[0].shared else len(batch) * max(lengths)
        assert len(batch) == 1 or padded <= budget
    for row in rows:
        assert row.length <= budget or len(row.samples) == 1


def test_a_shared_row_counts_its_prompt_once():
    samples = make_samples(1, seed=0, vocabulary=20, size=4, prompt=(50, 51), length=(6, 7))
    (row,) = rows_of(samples, shared_prefix="auto", budget=1000)
    assert row.length == 50 + 4 * 5
    assert [row.length for row in rows_of(samples, shared_prefix="off", budget=1000)] == [55] * 4


def test_auto_keeps_rows_apart_where_sharing_saves_nothing():
    samples = make_samples(1, seed=0, vocabulary=20, size=2, prompt=(2, 3), length=(60, 61))
    assert [row.shared for row in rows_of(samples, shared_prefix="auto", budget=1000)] == [
        False,
        False,
    ]
    assert [row.shared for row in rows_of(samples, shared_prefix="on", budget=1000)] == [True]


def test_a_group_with_two_prompts_is_refused():
    samples = make_samples(2, seed=0, vocabulary=20, size=1)
    mixed = [samples[0], replace(samples[1], group=samples[0].group)]
    assert not np.array_equal(mixed[0].prompt_tokens, mixed[1].prompt_tokens)
    with pytest.raises(ValueError, match="'g0' have different prompts"):
        rows_of(mixed, shared_prefix="on", budget=1000)


def test_a_group_longer_than_the_attention_window_is_not_shared():
    samples = make_samples(1, seed=0, vocabulary=20, size=3, prompt=(20, 21), length=(6, 7))
    for window, count in ((25, 3), (26, 1), (None, 1)):
        rows = rows_of(samples, shared_prefix="on", budget=1000, window=window)
        assert len(rows) == count
