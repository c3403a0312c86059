"""Packing many tensors into few large messages. Both ends plan alike, from metadata alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from learner.weights import WeightMeta

ALIGNMENT = 64
"""Bytes. Each tensor starts at a multiple of it, so that a view of any type is aligned."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Consecutive weights that travel together; ``offsets`` in bytes, one per item."""

    items: tuple[WeightMeta, ...]
    offsets: tuple[int, ...]
    nbytes: int

    def empty(self) -> torch.Tensor:
        """Room for the bucket's bytes: uint8 [nbytes]."""
        return torch.empty(self.nbytes, dtype=torch.uint8)

    def fill(
        self, room: torch.Tensor, weights: Iterator[tuple[str, torch.Tensor]]
    ) -> Iterator[int]:
        """Copy the next tensors of ``weights`` into ``room``, as many as the bucket has.

        Yields, after each of them, how many bytes of ``room`` are filled.

        Raises:
            ValueError: they are not those that were announced.
        """
        for index, item in enumerate(self.items):
            name, tensor = next(weights)
            if name != item.name:
                raise ValueError(f"the source announced {item.name} and gave {name}")
            self.put(room, index, tensor)
            yield self.end(index)

    def end(self, index: int) -> int:
        """Where the ``index``-th tensor ends, in bytes."""
        return self.offsets[index] + self.items[index].nbytes

    def put(self, room: torch.Tensor, index: int, tensor: torch.Tensor) -> None:
        """Copy the ``index``-th tensor into ``room``.

        Raises:
            ValueError: its type or shape is not the one that was announced.
        """
        item = self.items[index]
        if tensor.dtype != item.dtype or tuple(tensor.shape) != item.shape:
            raise ValueError(
                f"{item.name} was announced as {item.dtype} {item.shape} "
                f"and came as {tensor.dtype} {tuple(tensor.shape)}"
            )
        self.view(room, index).copy_(tensor)

    def take(self, room: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
        """The named tensors inside ``room``, as views of it."""
        return [(item.name, self.view(room, i)) for i, item in enumerate(self.items)]

    def view(self, room: torch.Tensor, index: int) -> torch.Tensor:
        """The ``index``-th tensor inside ``room``."""
        item, start = self.items[index], self.offsets[index]
        return room[start : start + item.nbytes].view(item.dtype).view(item.shape)


def items_of(
    names: Sequence[str], dtype_names: Sequence[str], shapes: Sequence[Sequence[int]]
) -> list[WeightMeta]:
    """Weights out of the columns that vLLM's metadata has; a type is named like ``float32``."""
    columns = zip(names, dtype_names, shapes, strict=True)
    return [WeightMeta(name, getattr(torch, dtype), tuple(shape)) for name, dtype, shape in columns]


def plan(items: Sequence[WeightMeta], bucket_bytes: int) -> list[Bucket]:
    """Fill buckets of at most ``bucket_bytes`` in order; a larger tensor has one to itself."""
    buckets: list[Bucket] = []
    held: list[WeightMeta] = []
    offsets: list[int] = []
    used = 0
    for item in items:
        start = -(-used // ALIGNMENT) * ALIGNMENT
        if held and start + item.nbytes > bucket_bytes:
            buckets.append(Bucket(tuple(held), tuple(offsets), used))
            held, offsets, used, start = [], [], 0, 0
        held.append(item)
        offsets.append(start)
        used = start + item.nbytes
    if held:
        buckets.append(Bucket(tuple(held), tuple(offsets), used))
    return buckets


def whole(items: Sequence[WeightMeta]) -> Bucket:
    """All of ``items`` in one bucket, however large."""
    buckets = plan(items, sys.maxsize)
    return buckets[0] if buckets else Bucket((), (), 0)
