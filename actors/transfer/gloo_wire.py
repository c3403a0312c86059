"""What the two ends of the gloo backend tell each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from vllm.distributed.weight_transfer.base import (
    ParamMeta,
    TrainerInitInfo,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)

from actors.transfer.buckets import Bucket, items_of, plan, whole
from learner.weights import WeightMeta


@dataclass
class GlooTrainerInitInfo(TrainerInitInfo):  # type: ignore[misc, unused-ignore]
    """The sender's side of a new transfer group.

    ``address`` is this machine's, as engines reach it; ``world_size`` counts the sender and
    every engine worker; ``seconds`` is the deadline of each operation. ``share_memory``: let
    engines that are all on this machine read the weights out of its memory.
    """

    backend: ClassVar[str] = "gloo"

    address: str
    world_size: int
    bucket_bytes: int
    seconds: float
    share_memory: bool


@dataclass
class GlooInitInfo(WeightTransferInitInfo):  # type: ignore[misc, unused-ignore]
    """An engine's side of a new transfer group. Its workers have ranks from ``rank_offset``.

    ``segment``: fields of the ``SegmentPlace`` that holds the weights, where memory is shared.
    """

    address: str
    port: int
    rank_offset: int
    world_size: int
    bucket_bytes: int
    seconds: float
    segment: dict[str, Any] | None = None


@dataclass
class GlooUpdateInfo(WeightTransferUpdateInfo):  # type: ignore[misc, unused-ignore]
    """The tensors of one broadcast, in order: names, types (``float32``), shapes."""

    names: list[str]
    dtype_names: list[str]
    shapes: list[list[int]]

    @classmethod
    def of(cls, metadata: Sequence[ParamMeta]) -> GlooUpdateInfo:
        """From what a weight source declares."""
        return cls(
            names=[meta.name for meta in metadata],
            dtype_names=[str(meta.dtype).removeprefix("torch.") for meta in metadata],
            shapes=[list(meta.shape) for meta in metadata],
        )

    def buckets(self, bucket_bytes: int) -> list[Bucket]:
        """The messages these tensors travel in."""
        return plan(self.items, bucket_bytes)

    def whole(self) -> Bucket:
        """All tensors in one place."""
        return whole(self.items)

    @property
    def items(self) -> list[WeightMeta]:
        """The tensors, in order."""
        return items_of(self.names, self.dtype_names, self.shapes)
