"""Held-out scores with 95 % intervals.

A proportion gets the Wilson score interval (Wilson 1927, J. Am. Stat. Assoc. 22:209), computed
by scipy. A balanced accuracy, the mean of two independent proportions, gets Newcombe's
"square-and-add" interval built from the two Wilson intervals (Newcombe 1998, Statistics in
Medicine 17:873, method 10; in general form Zou and Donner 2008, Statistics in Medicine 27:1693).
Both stay within 0..1 and keep a width at 0 and at 1, where a normal approximation has none.

Trials are taken as independent. Several candidates of one task are not quite: intervals over
them are somewhat too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

from scipy.stats import binomtest

CONFIDENCE = 0.95


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
