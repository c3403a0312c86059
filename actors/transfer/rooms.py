"""Memory that is used again and again: touching new memory costs more than copying into it."""

from __future__ import annotations

import mmap
import sys

import torch

ALONE = [sys.getrefcount(memory) for memory in [object()]][0]  # noqa: RUF015 (counts alike)
"""References to what only a list refers to, as seen in a comprehension over that list."""


class Rooms:
    """Hands out memory. What is handed out is free again once nothing refers to it any more."""

    def __init__(self) -> None:
        self._held: list[mmap.mmap] = []

    def take(self, nbytes: int) -> torch.Tensor:
        """Room for ``nbytes`` bytes, with whatever is in it: uint8 [nbytes].

        Views keep it from being handed out again.
        """
        if not nbytes:
            return torch.empty(0, dtype=torch.uint8)
        alone = [memory for memory in self._held if sys.getrefcount(memory) == ALONE]
        fitting = [memory for memory in alone if len(memory) >= nbytes]
        if fitting:
            return _tensor(min(fitting, key=len), nbytes)
        if alone:
            # Too small: given back, so that no more is held than was used at once.
            self._held.remove(alone[0])
        self._held.append(mmap.mmap(-1, nbytes))
        return _tensor(self._held[-1], nbytes)


def _tensor(memory: mmap.mmap, nbytes: int) -> torch.Tensor:
    """The storage of the tensor refers to ``memory`` until its last view is gone."""
    return torch.frombuffer(memory, dtype=torch.uint8, count=nbytes)
