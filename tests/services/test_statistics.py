import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.statistics import Score, balanced_accuracy, mean_of_two, proportion

counts = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_wilson_interval_matches_a_published_value() -> None:
    # Newcombe 1998 (Statistics in Medicine 17:857), table I: 81 of 263, score method.
    score = proportion(81, 263)
    assert score.value == pytest.approx(81 / 263)
    assert (score.low, score.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert score.n == 263


def test_square_and_add_matches_a_published_difference() -> None:
    # Newcombe 1998 (Statistics in Medicine 17:873), table II (a): 56/70 - 48/80, method 10:
    # 0.0524 to 0.3339. A difference p - q is twice the mean of p and 1 - q, less 1.
    score = balanced_accuracy(56, 70, 80 - 48, 80)
    assert score.low is not None
    assert score.high is not None
    assert (2 * score.low - 1, 2 * score.high - 1) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_a_fixed_verdict_scores_one_half_however_skewed_the_classes() -> None:
    always_yes = balanced_accuracy(90, 90, 0, 10)
    assert always_yes.value == 0.5
    assert always_yes.n == 100


def test_nothing_measured_is_null_and_valid_json() -> None:
    assert proportion(0, 0) == Score(None, None, None, 0)
    half = balanced_accuracy(1, 2, 0, 0)
    assert half == Score(None, None, None, 2)
    assert json.loads(json.dumps(asdict(half), allow_nan=False))["value"] is None


@given(counts)
def test_interval_holds_the_value_and_has_a_width(trials: tuple[int, int]) -> None:
    score = proportion(*trials)
    assert score.value is not None and score.low is not None and score.high is not None
    assert 0 <= score.low <= score.value <= score.high <= 1
    assert score.high - score.low > 0


@given(counts, counts)
def test_balanced_interval_stays_within_bounds_and_is_symmetric(
    a: tuple[int, int], b: tuple[int, int]
) -> None:
    score = balanced_accuracy(*a, *b)
    assert score.value is not None and score.low is not None and score.high is not None
    assert -1e-12 <= score.low <= score.value <= score.high <= 1 + 1e-12
    assert mean_of_two(proportion(*b), proportion(*a)) == score


def test_balanced_interval_covers_the_truth() -> None:
    draw = np.random.default_rng(0)
    rates, n, hits = (0.9, 0.6), (80, 40), 0
    for _ in range(600):
        score = balanced_accuracy(
            int(draw.binomial(n[0], rates[0])), n[0], int(draw.binomial(n[1], rates[1])), n[1]
        )
        assert score.low is not None and score.high is not None
        hits += score.low <= 0.75 <= score.high
    assert 0.92 < hits / 600 < 0.98


def test_apart_means_that_intervals_do_not_overlap() -> None:
    before, after = Score(0.3, 0.2, 0.4, 50), Score(0.6, 0.5, 0.7, 50)
    assert before.is_apart_from(after)
    assert after.is_apart_from(before)
    assert not before.is_apart_from(Score(0.45, 0.4, 0.5, 50))
    assert not before.is_apart_from(Score.nothing())


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2), (1, 0)])
def test_counts_that_cannot_be_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        proportion(successes, n)
