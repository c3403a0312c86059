"""A generator without an engine: it joins a real gloo group, and hangs or fails when told to."""

from __future__ import annotations

import asyncio
from typing import Any

import torch

from actors.transfer.buckets import items_of, plan
from actors.transfer.group import GlooGroup
from learner.digests import digests_of
from learner.meeting import own_address, reach_store
from learner.weights import WeightMeta


class StandIn:
    """The engine's side of a broadcast, honest except in the phase it was told to spoil."""

    def __init__(self) -> None:
        self.spoilt = ""
        self.how = ""
        self.latest = -1
        self.abandoned = 0
        self.weights: dict[str, torch.Tensor] = {}
        self.info: dict[str, Any] = {}
        self.group: GlooGroup

    async def spoil(self, phase: str, how: str) -> None:
        self.spoilt, self.how = phase, how

    async def state(self) -> tuple[int, int, dict[str, str]]:
        return self.latest, self.abandoned, digests_of(self.weights.items())

    async def _pass(self, phase: str) -> None:
        if self.spoilt == phase:
            if self.how == "fail":
                raise ValueError(f"spoilt {phase}")
            await asyncio.sleep(600)

    async def version(self) -> int:
        await self._pass("init")
        return self.latest

    async def init_weight_transfer_engine(self, info: dict[str, Any]) -> None:
        self.info = info
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        where, size, seconds = self.info["address"], self.info["world_size"], self.info["seconds"]
        store = reach_store(where, self.info["port"], size, seconds)
        address = own_address(where)
        self.group = GlooGroup(store, self.info["rank_offset"], size, address, seconds)

    async def start_weight_update(self) -> None:
        await self._pass("start")

    async def update_weights(self, update: dict[str, Any]) -> None:
        await self._pass("transfer")
        items = items_of(update["names"], update["dtype_names"], update["shapes"])
        await asyncio.to_thread(self._receive, items)

    def _receive(self, items: list[WeightMeta]) -> None:
        for bucket in plan(items, self.info["bucket_bytes"]):
            room = bucket.empty()
            self.group.wait(self.group.broadcast(room))
            self.weights.update(bucket.take(room))

    async def finish_weight_update(self, version: str) -> None:
        await self._pass("finish")
        self.latest = int(version)

    async def abandon_weight_update(self) -> None:
        self.abandoned += 1
