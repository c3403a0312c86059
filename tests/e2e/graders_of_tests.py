"""Graders for runs of tests."""

from __future__ import annotations

import time

from contracts.grammar import last_boxed
from contracts.types import Grade, Reason


def unhurried(response: str, gold: str) -> Grade:
    """Exact, and slow enough to be caught at work."""
    time.sleep(0.002)
    answer = last_boxed(response)
    if not answer:
        return Grade(0.0, False, None, Reason.NO_ANSWER)
    right = answer.strip() == gold
    return Grade(float(right), right, answer.strip(), Reason.OK)
