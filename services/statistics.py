"""Held-out scores with 95 % intervals, two models side by side, and calibration.

A proportion gets the Wilson score interval (Wilson 1927, J. Am. Stat. Assoc. 22:209), computed
by scipy. A balanced accuracy, the mean of two independent proportions, gets Newcombe's
"square-and-add" interval built from the two Wilson intervals (Newcombe 1998, Statistics in
Medicine 17:873, method 10; in general form Zou and Donner 2008, Statistics in Medicine 27:1693).
Both stay within 0..1 and keep a width at 0 and at 1, where a normal approximation has none.

These take trials as independent. Several answers to one task are not quite, and intervals over
them are somewhat too narrow; ``mean_by_task`` resamples whole tasks instead, by scipy's bootstrap
(bias-corrected and accelerated: Efron 1987, J. Am. Stat. Assoc. 82:171).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import hypot

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binned_statistic, binomtest, bootstrap, linregress, permutation_test, t

CONFIDENCE = 0.95

RESAMPLES = 2000
"""Bootstrap resamples and random permutations. p-values are no finer than one over this."""

FEW = 10
"""Fewer values than this get an interval by Student's t: too few to resample."""


@dataclass(frozen=True, slots=True)
class Score:
    """A share of 0..1 with its 95 % interval, over ``n`` trials.

    Nothing measured (``n == 0``) is ``value = low = high = None``, which is ``null`` in JSON.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    @classmethod
    def nothing(cls) -> Score:
        """The score of no trials at all."""
        return cls(None, None, None, 0)

    def is_apart_from(self, other: Score) -> bool:
        """Whether both were measured and their intervals do not overlap."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return False
        return self.high < other.low or other.high < self.low


def proportion(successes: int, n: int) -> Score:
    """``successes`` of ``n`` independent trials, with Wilson's interval.

    Raises:
        ValueError: the counts are not 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes out of {n} trials cannot be")
    if n == 0:
        return Score.nothing()
    interval = binomtest(successes, n).proportion_ci(CONFIDENCE, method="wilson")
    return Score(successes / n, float(interval.low), float(interval.high), n)


def mean_of_two(first: Score, second: Score) -> Score:
    """The mean of two independent proportions: balanced accuracy, from the two class rates.

    ``n`` is the number of trials of both. If either was not measured, neither is the mean.
    """
    n = first.n + second.n
    if first.value is None or first.low is None or first.high is None:
        return Score(None, None, None, n)
    if second.value is None or second.low is None or second.high is None:
        return Score(None, None, None, n)
    value = (first.value + second.value) / 2
    down = hypot(first.value - first.low, second.value - second.low) / 2
    up = hypot(first.high - first.value, second.high - second.value) / 2
    return Score(value, value - down, value + up, n)


def balanced_accuracy(
    true_positives: int, positives: int, true_negatives: int, negatives: int
) -> Score:
    """Mean of the true-positive and the true-negative rate: 0.5 for any fixed verdict.

    Raises:
        ValueError: counts that cannot be.
    """
    return mean_of_two(proportion(true_positives, positives), proportion(true_negatives, negatives))


def mean_by_task(values: Sequence[Sequence[float]], *, seed: int = 0) -> Score:
    """Mean over tasks of the mean over each task's answers, tasks resampled.

    Args:
        values: for each task, what its answers earned (0 or 1, or anything between). Tasks
            may have different numbers of answers, at least one each.
        seed: of the resampling.

    Returns:
        ``n`` is the number of tasks. Where every task earned the same, resampling tasks shows
        no spread: right and wrong answers then get Wilson's interval, over the tasks at 0 and
        1, over all answers between; other earnings get no width.

    Raises:
        ValueError: a task has no answer.
    """
    means = _task_means(values)
    if len(means) == 0:
        return Score.nothing()
    value = float(means.mean())
    if np.ptp(means) == 0:
        return _without_spread(values, value)
    return Score(value, *_interval(means, seed), len(means))


def _without_spread(values: Sequence[Sequence[float]], value: float) -> Score:
    """The score of tasks that all earned ``value`` on average."""
    if value in (0.0, 1.0):
        return proportion(round(value * len(values)), len(values))
    earned = [answer for answers in values for answer in answers]
    if not set(earned) <= {0, 1}:
        return Score(value, value, value, len(values))
    pooled = proportion(round(sum(earned)), len(earned))
    return Score(value, pooled.low, pooled.high, len(values))


def mean_over_runs(values: Sequence[float]) -> Score:
    """Mean of one figure over a few runs (seeds), with Student's t interval.

    One run alone has no interval: ``low`` and ``high`` are None.
    """
    if not values:
        return Score.nothing()
    figures = np.asarray(values, float)
    value = float(figures.mean())
    if len(figures) == 1:
        return Score(value, None, None, 1)
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(figures) - 1) * _standard_error(figures))
    return Score(value, value - half, value + half, len(figures))


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean paired difference, second less first, with its 95 % interval.

    ``p``: two-sided probability of a difference as large, were the two alike; None with no pair.
    """

    value: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int

    @property
    def significant(self) -> bool:
        """Whether ``p`` is below 5 %."""
        return self.p is not None and self.p < 1 - CONFIDENCE


def paired_difference(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], *, seed: int = 0
) -> Difference:
    """Two models on the same tasks: how much better is the second, and is it chance?

    One right or wrong answer per task: McNemar's test in its exact form (the binomial test of
    the tasks on which they differ). Otherwise the exact or random swaps of a paired permutation
    test. The interval is bootstrapped over tasks, by Student's t where there are fewer than
    ``FEW``.

    Args:
        first: for each task, what the first model's answers earned.
        second: the same of the second model, in the order of the same tasks.
        seed: of resampling and permutations.

    Raises:
        ValueError: they are not of the same number of tasks, or a task has no answer.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} tasks of the first model, {len(second)} of the second")
    left, right = _task_means(first), _task_means(second)
    n = len(left)
    if n == 0:
        return Difference(None, None, None, None, 0)
    change = right - left
    value = float(change.mean())
    if np.ptp(change) == 0:
        low = high = value
    elif n < FEW:
        half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1) * _standard_error(change))
        low, high = value - half, value + half
    else:
        low, high = _interval(change, seed)
    return Difference(value, low, high, _paired_p(left, right, seed), n)


def _paired_p(left: NDArray[np.float64], right: NDArray[np.float64], seed: int) -> float:
    change = right - left
    better, worse = int((change > 0).sum()), int((change < 0).sum())
    if better + worse == 0:
        return 1.0
    if set(np.abs(change)) <= {0.0, 1.0}:
        return float(binomtest(better, better + worse).pvalue)
    test = permutation_test(
        (left, right),
        lambda a, b, axis: np.mean(b - a, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def runs_difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """How much higher a figure is in the second of two ways of training, over paired seeds.

    As ``paired_difference``, but a single pair has neither interval nor p, and a few pairs that
    all differ by the same amount no interval: coarse scores do so by chance. With n pairs p
    cannot be below ``smallest_p(n)``.

    Raises:
        ValueError: there are not as many of both.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} runs of the first, {len(second)} of the second")
    if len(first) == 1:
        return Difference(second[0] - first[0], None, None, None, 1)
    found = paired_difference([[value] for value in first], [[value] for value in second])
    if found.low == found.high and found.value and found.n < FEW:
        return replace(found, low=None, high=None)
    return found


def smallest_p(pairs: int) -> float:
    """The smallest two-sided p that a sign-flip test of so many pairs can give."""
    return min(1.0, math.pow(2.0, 1 - pairs))


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """``y = factor * x ** exponent``, with the 95 % interval of the exponent.

    ``low`` and ``high`` are None where two points alone say nothing of the spread.
    """

    factor: float
    exponent: float
    low: float | None
    high: float | None
    n: int

    def at(self, x: float) -> float:
        """The value at ``x``."""
        return self.factor * float(x**self.exponent)


def power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw | None:
    """Least squares of log y over log x, with Student's t interval of the slope.

    Returns:
        None where there are not two different x, or a value is not above 0.

    Raises:
        ValueError: there are not as many of both.
    """
    if len(x) != len(y):
        raise ValueError(f"{len(x)} sizes, {len(y)} values")
    sizes, values = np.asarray(x, float), np.asarray(y, float)
    if len(set(x)) < 2 or bool((sizes <= 0).any()) or bool((values <= 0).any()):
        return None
    fit = linregress(np.log(sizes), np.log(values))
    factor, exponent, n = float(np.exp(fit.intercept)), float(fit.slope), len(sizes)
    if n < 3:
        return PowerLaw(factor, exponent, None, None, n)
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 2) * fit.stderr)
    return PowerLaw(factor, exponent, exponent - half, exponent + half, n)


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Judgements whose confidence is in one bin: mean confidence, and how often they held."""

    low: float
    high: float
    confidence: float
    accuracy: Score


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far stated confidence is from what came true.

    ``error``: expected calibration error, the mean over judgements of the distance between
    confidence and accuracy of their bin (Naeini, Cooper and Hauskrecht 2015, AAAI). ``largest``:
    that of the worst bin. Both None without judgements. ``bins``: those that hold any.
    """

    error: float | None
    largest: float | None
    bins: tuple[CalibrationBin, ...]
    n: int


def calibration(
    confidences: Sequence[float], outcomes: Sequence[bool], *, bins: int = 10
) -> Calibration:
    """Calibration of confidences, for example the share of yes among repeated verdicts.

    Args:
        confidences: 0..1, the stated probability of each outcome.
        outcomes: what came true.
        bins: number of bins, of equal width; a confidence on an edge belongs to the bin above,
            1 to the last.

    Raises:
        ValueError: there are not as many outcomes, or a confidence is not in 0..1.
    """
    if len(confidences) != len(outcomes):
        raise ValueError(f"{len(confidences)} confidences, {len(outcomes)} outcomes")
    stated, true = np.asarray(confidences, float), np.asarray(outcomes, float)
    if len(stated) == 0:
        return Calibration(None, None, (), 0)
    if not bool(((stated >= 0) & (stated <= 1)).all()):
        raise ValueError("confidences must be within 0..1")
    edges = np.linspace(0, 1, bins + 1)
    sums, _, which = binned_statistic(stated, [stated, true, np.ones_like(true)], "sum", edges)
    found = tuple(
        CalibrationBin(
            low=float(edges[i]),
            high=float(edges[i + 1]),
            confidence=float(sums[0, i] / sums[2, i]),
            accuracy=proportion(round(sums[1, i]), round(sums[2, i])),
        )
        for i in range(bins)
        if sums[2, i] > 0
    )
    gaps = [(abs(b.confidence - (b.accuracy.value or 0.0)), b.accuracy.n) for b in found]
    error = sum(gap * n for gap, n in gaps) / len(which)
    return Calibration(error, max(gap for gap, _ in gaps), found, len(stated))


def _task_means(values: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    if any(len(answers) == 0 for answers in values):
        raise ValueError("a task has no answer: count it as one that earned 0")
    return np.array([np.mean(np.asarray(answers, float)) for answers in values], float)


def _standard_error(figures: NDArray[np.float64]) -> float:
    return float(figures.std(ddof=1) / np.sqrt(len(figures)))


def _interval(figures: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """Bootstrap interval of the mean of figures that are not all the same."""
    found = bootstrap(
        (figures,),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)
