"""The built-in tasks: sums, differences and products of two numbers."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from contracts.config import TaskConfig
from contracts.types import Task
from services.seeds import derive_seed

Wording = Literal["terse", "sentence"]

LARGEST = 50_000
"""Most tasks made. Where the operands allow more, this many are drawn, by the seed."""

_COMPUTE = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def arithmetic_tasks(config: TaskConfig, wording: Wording) -> list[Task]:
    """Every task that ``config``'s operators and operands allow, or ``LARGEST`` of them.

    Args:
        config: operators, smallest and largest operand, verifier, seed.
        wording: ``terse`` asks ``12+34``, ``sentence`` asks ``What is 12 + 34?``. The id is
            ``12+34`` either way. Differences may be negative.
    """
    return [
        Task(
            id=f"{left}{symbol}{right}",
            question=_question(left, symbol, right, wording),
            gold=str(_COMPUTE[symbol](left, right)),
            verifier=config.verifier,
        )
        for left, symbol, right in _drawn(config)
    ]


def same_sum(task: Task) -> str:
    """A key shared by ``12+34`` and ``34+12``: who has seen one has seen the other."""
    for symbol in "+*":
        left, found, right = task.id.partition(symbol)
        if found:
            return symbol.join(sorted((left, right)))
    return task.id


def _question(left: int, symbol: str, right: int, wording: Wording) -> str:
    if wording == "terse":
        return f"{left}{symbol}{right}"
    return f"What is {left} {symbol} {right}?"


def _drawn(config: TaskConfig) -> Iterator[tuple[int, str, int]]:
    """Operand, operator, operand: all there are, or a seeded draw without repetition."""
    symbols = "".join(dict.fromkeys(config.operators))
    span = config.high - config.low + 1
    total = len(symbols) * span * span
    drawn: Sequence[int] = range(total)
    if total > LARGEST:
        generator = np.random.default_rng(derive_seed(config.seed, "arithmetic"))
        drawn = sorted(generator.choice(total, size=LARGEST, replace=False).tolist())
    for index in drawn:
        pair, which = divmod(index, len(symbols))
        left, right = divmod(pair, span)
        yield config.low + left, symbols[which], config.low + right
