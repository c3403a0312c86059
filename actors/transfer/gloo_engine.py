"""The engine's end of the gloo backend: runs in vLLM's worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from vllm.distributed.weight_transfer.base import WeightTransferEngine
from vllm.model_executor.model_loader.reload import (
    finalize_layerwise_reload,
    initialize_layerwise_reload,
)

from actors.transfer.buckets import Bucket
from actors.transfer.engine_weights import packed_forms, share_packed_again
from actors.transfer.gloo_wire import GlooInitInfo, GlooUpdateInfo
from actors.transfer.group import GlooGroup, rank_of, shares
from actors.transfer.rooms import Rooms
from actors.transfer.segment import Reached, SegmentPlace, reach
from learner.meeting import own_address, reach_store

IN_FLIGHT = 2
"""Buckets expected at once."""


class GlooWeightTransferEngine(
    WeightTransferEngine[GlooInitInfo, GlooUpdateInfo]  # type: ignore[misc, unused-ignore]
):
    """Receives weights and loads them as vLLM loads a checkpoint, layer by layer.

    They come packed in buckets by gloo, or lie in memory that is shared with the sender.
    """

    init_info_cls = GlooInitInfo
    update_info_cls = GlooUpdateInfo

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._group: GlooGroup | None = None
        self._shared: Reached | None = None
        self._rooms = Rooms()
        self._bucket_bytes = 0
        self._seconds = 0.0
        self._unfinished = False
        self._packed: dict[torch.nn.Module, Any] = {}

    def init_transfer_engine(self, init_info: GlooInitInfo) -> None:
        """Join a transfer group; one joined before is left.

        Raises:
            RuntimeError: the group did not come together in time.
        """
        self.shutdown()
        parallel = self.parallel_config
        rank = rank_of(
            init_info.rank_offset,
            worker=parallel.rank,
            workers=parallel.world_size,
            replica=parallel.data_parallel_index,
        )
        self._bucket_bytes, self._seconds = init_info.bucket_bytes, init_info.seconds
        store = reach_store(
            init_info.address, init_info.port, init_info.world_size, init_info.seconds
        )
        if init_info.segment is not None:
            seen = self._reach(SegmentPlace(**init_info.segment))
            if shares(store, rank, seen is not None):
                self._shared = seen
                return
        address = own_address(init_info.address)
        self._group = GlooGroup(store, rank, init_info.world_size, address, init_info.seconds)

    def _reach(self, place: SegmentPlace) -> Reached | None:
        return reach(place)

    def start_weight_update(self) -> None:
        """Get every layer ready for loading; what a broken update left behind is cleared."""
        if self._unfinished:
            finalize_layerwise_reload(self.model, self.model_config)
        self._unfinished = True
        self._packed = packed_forms(self.model)
        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: GlooUpdateInfo) -> None:
        """Take in all weights.

        Raises:
            RuntimeError: no group, or a bucket did not come in time.
        """
        # All in one call: each looks through the whole model first.
        self.model.load_weights(self._arriving(update_info))

    def _arriving(self, update: GlooUpdateInfo) -> Iterator[tuple[str, torch.Tensor]]:
        """The weights, each as soon as it is there."""
        if self._shared is not None:
            return self._read(update.whole(), self._shared)
        if self._group is not None:
            return self._receive(update.buckets(self._bucket_bytes), self._group)
        raise RuntimeError("weights were announced before a transfer group was joined")

    def _read(self, bucket: Bucket, shared: Reached) -> Iterator[tuple[str, torch.Tensor]]:
        """Weights out of memory that the sender is filling.

        Each from a view that was made when it was there: a loader that changes what it is given
        changes its own copy of whole pages, which the next weight may share.
        """
        ready, room = -1, torch.empty(0, dtype=torch.uint8)
        for index, item in enumerate(bucket.items):
            if bucket.end(index) > ready:
                ready = shared.wait_ready(bucket.end(index), self._seconds)
                room = shared.weights()
            yield item.name, bucket.view(room, index)

    def _receive(
        self, buckets: Sequence[Bucket], group: GlooGroup
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Weights of bucket after bucket: while one is loaded, the next are on their way.

        Views of a bucket keep its memory from being filled anew: vLLM holds them until a layer
        is complete.
        """
        under_way: deque[tuple[Any, torch.Tensor]] = deque()
        coming = iter(buckets)

        def expect() -> None:
            if (bucket := next(coming, None)) is not None:
                room = self._rooms.take(bucket.nbytes)
                under_way.append((group.broadcast(room), room))

        for _ in range(IN_FLIGHT):
            expect()
        for bucket in buckets:
            work, room = under_way.popleft()
            group.wait(work)
            expect()
            yield from bucket.take(room)

    def finish_weight_update(self) -> None:
        """Take the loaded layers into use."""
        finalize_layerwise_reload(self.model, self.model_config)
        share_packed_again(self._packed)
        self._packed = {}
        self._unfinished = False

    def shutdown(self) -> None:
        """Leave the transfer group."""
        self._group = self._shared = None
