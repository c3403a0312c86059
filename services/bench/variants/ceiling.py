"""The fastest this machine multiplies matrices of a type: what everything else is a share of."""

from __future__ import annotations

import torch

from services.bench.processes import Turns
from services.bench.workload import Work

SIZE = 2048
"""Rows and columns of the square matrices."""

REPEATS = {"bfloat16": 50, "float32": 12}
"""Products of a turn: about a second on two cores."""


def turn_flops(work: Work) -> float:
    """Operations of one turn."""
    return 2.0 * SIZE**3 * REPEATS[work.dtype]


def run(work: Work, turns: Turns) -> None:
    """Multiply, once a turn, as a linear layer does: by a transposed matrix."""
    torch.set_num_threads(work.threads)
    torch.manual_seed(work.seed)
    dtype = getattr(torch, work.dtype)
    left, right = (torch.randn(SIZE, SIZE).to(dtype) for _ in range(2))
    result = torch.empty(SIZE, SIZE, dtype=dtype)

    def multiply() -> float:
        for _ in range(REPEATS[work.dtype]):
            torch.mm(left, right.t(), out=result)
        return float("nan")

    turns.drive(multiply)
