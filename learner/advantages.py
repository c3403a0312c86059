"""Advantage estimators, by name: rewards of one group in, one advantage per completion out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from contracts.errors import UserError
from contracts.types import FloatArray
from learner.by_name import named

Advantage = Callable[[FloatArray], FloatArray]
"""float32 [n] rewards of one group -> float32 [n] advantages."""


def group_normalised(rewards: FloatArray) -> FloatArray:
    """(r - mean) / std over the group, std of the population: SPARK 3.1. Zeros if all equal."""
    centred = _centred(rewards)
    spread = float(np.sqrt(np.mean(centred**2)))
    return _narrow(centred / spread if spread > 0 else centred)


def group_centred(rewards: FloatArray) -> FloatArray:
    """r - mean over the group: no division, so easy and hard prompts are not blown up."""
    return _narrow(_centred(rewards))


def leave_one_out(rewards: FloatArray) -> FloatArray:
    """r - mean of the others (RLOO): an unbiased baseline, n / (n - 1) times the centred one."""
    n = len(rewards)
    return _narrow(_centred(rewards) * (n / max(1, n - 1)))


def _centred(rewards: FloatArray) -> NDArray[np.float64]:
    """Deviations from the mean; exactly 0 where all are equal, whatever rounding does."""
    exact = rewards.astype(np.float64)
    if len(exact) == 0 or bool((exact == exact[0]).all()):
        return np.zeros(len(exact), dtype=np.float64)
    centred: NDArray[np.float64] = exact - exact.mean()
    return centred


def _narrow(values: NDArray[np.float64]) -> FloatArray:
    return values.astype(np.float32)


BUILT_IN: dict[str, Advantage] = {
    "group_normalised": group_normalised,
    "group_centred": group_centred,
    "leave_one_out": leave_one_out,
}


def advantage_named(name: str) -> Advantage:
    """The estimator called ``name``: one of ``BUILT_IN`` or a user's ``module:function``.

    Raises:
        UserError: there is no such estimator.
    """
    estimator: Advantage = named(name, BUILT_IN, field="learner.advantage")
    return estimator


def advantages_of(rewards: FloatArray, name: str) -> FloatArray:
    """What the estimator called ``name`` makes of the rewards [n] of a group: float32 [n].

    Raises:
        UserError: there is no such estimator, or one of the user's own gave an array of
            another length, or a value that is not finite.
    """
    given = np.asarray(advantage_named(name)(rewards))
    wrong = ""
    if given.shape != rewards.shape:
        wrong = f"gave shape {given.shape} for {len(rewards)} rewards"
    elif given.dtype.kind not in "fiub" or not np.isfinite(given).all():
        wrong = f"gave {given.tolist()}"
    if wrong:
        raise UserError(
            f"{name!r} {wrong}",
            where="learner.advantage",
            remedy="return one finite number for each reward",
        )
    return given.astype(np.float32)
