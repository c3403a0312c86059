import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.statistics import (
    Difference,
    Score,
    balanced_accuracy,
    calibration,
    mean_by_task,
    mean_of_two,
    mean_over_runs,
    paired_difference,
    power_law,
    proportion,
    runs_difference,
    smallest_p,
)

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


def test_the_mean_over_tasks_weighs_tasks_alike() -> None:
    score = mean_by_task([[1, 1, 1, 1], [0], [1, 0], [0, 0]])
    assert score.value == pytest.approx((1 + 0 + 0.5 + 0) / 4)
    assert score.n == 4
    assert score.low is not None and score.high is not None
    assert score.low < score.value < score.high


def test_resampling_tasks_covers_the_truth_where_answers_of_a_task_agree() -> None:
    # Tasks are easy or hard: eight answers to one task are hardly more than one answer.
    draw = np.random.default_rng(1)
    hits = plain = 0
    for trial in range(300):
        tasks = [(draw.random(8) < draw.choice([0.1, 0.9])).tolist() for _ in range(60)]
        by_task = mean_by_task(tasks, seed=trial)
        as_if_independent = proportion(sum(map(sum, tasks)), 480)
        assert by_task.low is not None and by_task.high is not None
        assert as_if_independent.low is not None and as_if_independent.high is not None
        hits += by_task.low <= 0.5 <= by_task.high
        plain += as_if_independent.low <= 0.5 <= as_if_independent.high
    assert 0.9 < hits / 300 < 0.99
    assert plain / 300 < 0.75


def test_one_answer_per_task_is_close_to_wilson() -> None:
    score, wilson = mean_by_task([[1]] * 70 + [[0]] * 30), proportion(70, 100)
    assert (score.low, score.high) == pytest.approx((wilson.low, wilson.high), abs=0.02)


def test_what_cannot_be_resampled() -> None:
    assert mean_by_task([]) == Score.nothing()
    assert mean_by_task([[1, 1], [1]]) == proportion(2, 2)
    assert mean_by_task([[0]] * 9) == proportion(0, 9)
    pooled = proportion(2, 4)
    assert mean_by_task([[1, 0], [0, 1]]) == Score(0.5, pooled.low, pooled.high, 2)
    assert mean_by_task([[0.5], [0.5]]) == Score(0.5, 0.5, 0.5, 2)
    with pytest.raises(ValueError, match="a task has no answer"):
        mean_by_task([[1], []])


def test_runs_get_students_interval() -> None:
    # Mean 3, standard error 1/sqrt(2) and t(0.975, 4) = 2.7764: a table's value.
    score = mean_over_runs([1, 2, 3, 4, 5])
    assert score.value == 3
    assert score.high == pytest.approx(3 + 2.7764 * 0.70711, abs=1e-4)
    assert score.low == pytest.approx(3 - 2.7764 * 0.70711, abs=1e-4)
    assert mean_over_runs([0.4]) == Score(0.4, None, None, 1)
    assert mean_over_runs([]) == Score.nothing()


def test_mcnemar_matches_the_binomial_by_hand() -> None:
    # The second is right on 8 tasks where the first is wrong, and wrong on 2. Of 1024 ways in
    # which coins fall, 1 + 10 + 45 have at most 2 heads, and as many at most 2 tails.
    first = [[0]] * 8 + [[1]] * 2 + [[1]] * 30
    second = [[1]] * 8 + [[0]] * 2 + [[1]] * 30
    result = paired_difference(first, second)
    assert result.p == pytest.approx(112 / 1024)
    assert result.value == pytest.approx(6 / 40)
    assert result.n == 40
    assert not result.significant
    swapped = paired_difference(second, first)
    assert (swapped.value, swapped.p) == (-result.value, result.p)


def test_permutations_match_all_signs_by_hand() -> None:
    # Five differences of one sign: 2 of the 32 choices of signs are as extreme.
    first = [[0, 0], [1, 0], [0, 1], [0, 0, 0], [0, 0, 1]]
    second = [[1, 0], [1, 1], [1, 1], [1, 0, 0], [0, 1, 1]]
    result = paired_difference(first, second)
    assert result.p == pytest.approx(2 / 32)
    assert result.value == pytest.approx((0.5 + 0.5 + 0.5 + 1 / 3 + 1 / 3) / 5)
    assert result.low is not None and result.high is not None
    assert 0 < result.low < result.value < result.high


def test_a_difference_is_found_where_there_is_one_and_rarely_where_there_is_none() -> None:
    draw = np.random.default_rng(2)

    def answers(chance: float) -> list[list[float]]:
        return [list((draw.random(4) < chance).astype(float)) for _ in range(60)]

    same = [paired_difference(answers(0.5), answers(0.5), seed=i) for i in range(100)]
    assert sum(result.significant for result in same) <= 12
    better = [paired_difference(answers(0.4), answers(0.7), seed=i) for i in range(20)]
    assert all(result.significant for result in better)
    assert all(result.low is not None and result.low > 0 for result in better)


def test_the_same_model_twice_and_no_task_at_all() -> None:
    same = [[1.0, 0.0], [1.0], [0.0]]
    assert paired_difference(same, same) == Difference(0.0, 0.0, 0.0, 1.0, 3)
    assert paired_difference([], []) == Difference(None, None, None, None, 0)
    with pytest.raises(ValueError, match="3 tasks of the first model, 2 of the second"):
        paired_difference(same, same[:2])


def test_the_same_seed_gives_the_same_interval() -> None:
    values = [[i % 7 / 7, i % 11 / 11] for i in range(60)]
    assert mean_by_task(values, seed=3) == mean_by_task(values, seed=3)
    assert mean_by_task(values, seed=3) != mean_by_task(values, seed=4)


def test_calibration_by_hand() -> None:
    confidences = [0.1, 0.1, 0.1, 0.1, 0.9, 0.9, 0.95, 1.0]
    outcomes = [True, False, False, False, True, True, False, True]
    result = calibration(confidences, outcomes, bins=10)
    low, high = result.bins
    assert (low.low, low.high) == pytest.approx((0.1, 0.2))
    assert low.confidence == pytest.approx(0.1)
    assert low.accuracy == proportion(1, 4)
    assert (high.low, high.high) == pytest.approx((0.9, 1.0))
    assert high.confidence == pytest.approx(3.75 / 4)
    assert high.accuracy == proportion(3, 4)
    assert result.error == pytest.approx((4 * 0.15 + 4 * 0.1875) / 8)
    assert result.largest == pytest.approx(0.1875)
    assert result.n == 8


def test_a_judge_that_knows_what_it_knows_is_calibrated_and_a_sure_fool_is_not() -> None:
    draw = np.random.default_rng(0)
    stated = draw.random(20_000)
    knows = calibration(stated.tolist(), (draw.random(20_000) < stated).tolist())
    assert knows.error is not None and knows.error < 0.02
    assert len(knows.bins) == 10
    fool = calibration([1.0] * 100, [True, False] * 50)
    assert (fool.error, len(fool.bins)) == (0.5, 1)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=40), st.integers(1, 12))
def test_calibration_counts_every_judgement_once(
    judged: list[tuple[float, bool]], bins: int
) -> None:
    result = calibration([c for c, _ in judged], [o for _, o in judged], bins=bins)
    assert sum(b.accuracy.n for b in result.bins) == result.n == len(judged)
    for found in result.bins:
        assert found.low - 1e-12 <= found.confidence <= found.high + 1e-12
    if judged:
        assert result.error is not None and result.largest is not None
        assert 0 <= result.error <= result.largest + 1e-12 <= 1 + 1e-9


def test_calibration_of_nothing_and_of_what_is_no_confidence() -> None:
    assert calibration([], []).error is None
    with pytest.raises(ValueError, match="2 confidences, 1 outcomes"):
        calibration([0.1, 0.2], [True])
    with pytest.raises(ValueError, match=r"within 0\.\.1"):
        calibration([1.1], [True])
    with pytest.raises(ValueError, match=r"within 0\.\.1"):
        calibration([float("nan")], [True])


def test_pairs_of_runs_are_compared_by_t_and_by_sign_flips() -> None:
    first, second = [0.1, 0.2, 0.3, 0.4, 0.5], [0.15, 0.27, 0.36, 0.48, 0.59]
    found = runs_difference(first, second)
    # Differences 0.05 0.07 0.06 0.08 0.09: mean 0.07, sd 0.0158, t(4) = 2.776.
    assert found.value == pytest.approx(0.07)
    assert (found.low, found.high) == pytest.approx((0.0504, 0.0896), abs=1e-4)
    assert found.p == smallest_p(5) == 2 / 32
    swapped = runs_difference(second, first)
    assert swapped.value == pytest.approx(-0.07)
    assert swapped.p == found.p


def test_runs_that_say_nothing_of_spread_have_no_interval() -> None:
    one = runs_difference([0.1], [0.3])
    assert (one.value, one.low, one.high, one.p, one.n) == (pytest.approx(0.2), None, None, None, 1)
    same = runs_difference([0.25, 0.5], [0.375, 0.625])
    assert (same.value, same.low, same.high, same.n) == (0.125, None, None, 2)
    alike = runs_difference([1.0, 2.0], [1.0, 2.0])
    assert (alike.value, alike.low, alike.high, alike.p) == (0.0, 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="2 runs of the first, 1 of the second"):
        runs_difference([1.0, 2.0], [1.0])


def test_the_interval_of_an_exponent_holds_it_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    x = [1.0, 2.0, 4.0, 8.0] * 3
    held = 0
    for _ in range(400):
        noise = np.exp(draw.normal(0, 0.1, len(x)))
        law = power_law(x, [3 * v**-0.7 * e for v, e in zip(x, noise, strict=True)])
        assert law is not None and law.low is not None and law.high is not None
        held += law.low <= -0.7 <= law.high
    assert 0.92 <= held / 400 <= 0.98


def test_a_power_law_needs_sizes_and_values_above_nothing() -> None:
    assert power_law([2.0, 2.0], [1.0, 3.0]) is None
    assert power_law([0.0, 2.0], [1.0, 3.0]) is None
    assert power_law([1.0, 2.0], [1.0, 0.0]) is None
    two = power_law([1.0, 4.0], [3.0, 6.0])
    assert two is not None
    assert (two.exponent, two.factor, two.low) == (pytest.approx(0.5), pytest.approx(3.0), None)
    assert two.at(16.0) == pytest.approx(12.0)
    with pytest.raises(ValueError, match="2 sizes, 1 values"):
        power_law([1.0, 2.0], [1.0])
