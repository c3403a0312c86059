"""A user's own advantage estimator, which is right for groups of four only."""

from contracts.types import FloatArray


def of_four(rewards: FloatArray) -> FloatArray:
    """Deviations from the mean."""
    centred: FloatArray = (rewards - rewards.mean())[:4]
    return centred
