"""The learner's end of the gloo backend."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Self

import torch
from vllm.distributed.weight_transfer.base import (
    TrainerWeightTransferEngine,
    VLLMWeightSyncClient,
    WeightSource,
)

from actors.transfer.gloo_wire import GlooInitInfo, GlooTrainerInitInfo, GlooUpdateInfo
from actors.transfer.group import ROOT, GlooGroup, all_share
from actors.transfer.rooms import Rooms
from actors.transfer.segment import Segment
from learner.meeting import serve_store

IN_FLIGHT = 2
"""Buckets on their way at once: one is filled while another is sent."""


class GlooTrainerWeightTransferEngine(
    TrainerWeightTransferEngine[GlooTrainerInitInfo]  # type: ignore[misc, unused-ignore]
):
    """Gives the weights of a source to all engine workers.

    Where all of them are on this machine, by memory that they share with it; else packed into
    buckets, by gloo.
    """

    init_info_cls = GlooTrainerInitInfo

    def __init__(
        self, *, client: VLLMWeightSyncClient, source: WeightSource, info: GlooTrainerInitInfo
    ) -> None:
        super().__init__(client=client, source=source, is_sender=info.is_sender)
        self._info = info
        self._group: GlooGroup | None = None
        self._segment: Segment | None = None
        self._rooms = Rooms()

    @classmethod
    def trainer_init(
        cls,
        init_info: GlooTrainerInitInfo,
        *,
        client: VLLMWeightSyncClient,
        source: WeightSource | None = None,
    ) -> Self:
        """Bring the transfer group together. Called on every learner rank.

        Raises:
            RuntimeError: the engines did not come in time.
        """
        if source is None:
            raise ValueError("the gloo backend sends a whole WeightSource")
        engine = cls(client=client, source=source, info=init_info)
        if engine.is_sender:
            engine._open()
        return engine

    def _open(self) -> None:
        """Open the meeting place, call the engines in, and join."""
        info = self._info
        store = serve_store(info.address, 0, info.world_size, info.seconds)
        segment = self._shared_memory()
        invitation = GlooInitInfo(
            address=info.address,
            port=store.port,
            rank_offset=1,
            world_size=info.world_size,
            bucket_bytes=info.bucket_bytes,
            seconds=info.seconds,
            segment=asdict(segment.place) if segment else None,
        )
        answer = _aside(self.client.init_weight_transfer_engine, asdict(invitation))
        with _engines_speak_first(answer):
            if segment is not None and all_share(store, info.world_size, info.seconds):
                self._segment = segment
                return
            self._group = GlooGroup(store, ROOT, info.world_size, info.address, info.seconds)

    def _shared_memory(self) -> Segment | None:
        """Memory for all weights that engines may read; None where there is none."""
        assert self.source is not None
        if not self._info.share_memory:
            return None
        try:
            return Segment(GlooUpdateInfo.of(self.source.metadata()).whole().nbytes)
        except OSError:
            return None

    def send_weights(self) -> None:
        """One broadcast: start, transfer, finish. Called on every learner rank.

        Ranks that do not send only walk through the source, whose gathers need all ranks.

        Raises:
            RuntimeError: an engine did not receive in time.
        """
        assert self.source is not None
        if not self.is_sender:
            for _ in self.source:
                pass
            return
        update = GlooUpdateInfo.of(self.source.metadata())
        if self._segment is not None:
            self._show(update, self._segment)
        else:
            self.client.start_weight_update()
            answer = _aside(self.client.update_weights, asdict(update))
            with _engines_speak_first(answer):
                self._send(update)
        self.client.finish_weight_update()

    def _show(self, update: GlooUpdateInfo, segment: Segment) -> None:
        """Lay all weights out where the engines read them, who may begin before it is done."""
        assert self.source is not None
        segment.say_ready(0)
        answer = _aside(self._start_and_update, asdict(update))
        weights = iter(self.source)
        with _engines_speak_first(answer):
            for ready in update.whole().fill(segment.room, weights):
                segment.say_ready(ready)
            _check_end(weights)

    def _start_and_update(self, update: dict[str, Any]) -> None:
        self.client.start_weight_update()
        self.client.update_weights(update)

    def _send(self, update: GlooUpdateInfo) -> None:
        """Fill and send bucket after bucket."""
        assert self.source is not None
        assert self._group is not None
        weights = iter(self.source)
        under_way: list[tuple[Any, torch.Tensor]] = []
        for bucket in update.buckets(self._info.bucket_bytes):
            room = self._rooms.take(bucket.nbytes)
            for _ in bucket.fill(room, weights):
                pass
            if len(under_way) == IN_FLIGHT:
                self._group.wait(under_way.pop(0)[0])
            under_way.append((self._group.broadcast(room), room))
        for work, _room in under_way:
            self._group.wait(work)
        _check_end(weights)

    def shutdown(self) -> None:
        """Leave the transfer group."""
        self._group = self._segment = None


def _check_end(weights: Iterator[tuple[str, torch.Tensor]]) -> None:
    for name, _tensor in weights:
        raise ValueError(f"the source gave {name}, which it had not announced")


@contextmanager
def _engines_speak_first(answer: Future[None]) -> Iterator[None]:
    """Run this side's part of an exchange, then hear the engines.

    When both sides fail, what the engines (or their silence) say is raised: it has names.
    """
    try:
        yield
    except RuntimeError:
        answer.result()
        raise
    answer.result()


def _aside(function: Any, *arguments: Any) -> Future[None]:
    """Call ``function`` on another thread: engines answer only once this side does its part."""
    executor = ThreadPoolExecutor(1)
    try:
        return executor.submit(function, *arguments)
    finally:
        executor.shutdown(wait=False)
