"""A gloo process group between one learner rank and all engine workers.

It is apart from the default groups of DeepSpeed and of vLLM, is made anew after a failure,
and every operation on it ends at a deadline.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

ROOT = 0
"""Rank of the sender."""


def rank_of(rank_offset: int, *, worker: int, workers: int, replica: int = 0) -> int:
    """Rank of an engine's worker in a transfer group.

    Args:
        rank_offset: rank of the engine's first worker.
        worker: which of the ``workers`` of tensor and pipeline parallelism it is.
        workers: how many there are, in each replica.
        replica: of data parallelism.
    """
    return rank_offset + replica * workers + worker


SHARES = "shares/{}"
"""Key of the store in which a worker says whether it sees the sender's memory: 1 or 0."""
TOGETHER = "together"
"""Key in which the sender says whether all do."""


def all_share(store: Any, world_size: int, seconds: float) -> bool:
    """The sender's side: whether every worker sees its memory. All of them are told.

    Raises:
        RuntimeError: a worker did not say in time.
    """
    keys = [SHARES.format(rank) for rank in range(world_size) if rank != ROOT]
    store.wait(keys, timedelta(seconds=seconds))
    together = all(store.get(key) == b"1" for key in keys)
    store.set(TOGETHER, "1" if together else "0")
    return together


def shares(store: Any, rank: int, sees: bool) -> bool:
    """A worker's side: say whether it ``sees`` the sender's memory, and hear whether all do.

    Raises:
        RuntimeError: the sender did not say in time.
    """
    store.set(SHARES.format(rank), "1" if sees else "0")
    return bool(store.get(TOGETHER) == b"1")


class GlooGroup:
    """Membership in a group. All members must join at about the same time.

    Args:
        store: where the members meet.
        rank: this member; ``ROOT`` sends.
        world_size: members.
        own_address: address of this machine that the others can reach.
        seconds: deadline of joining, and of each operation.

    Raises:
        RuntimeError: the others did not come in time.
    """

    def __init__(
        self, store: Any, rank: int, world_size: int, own_address: str, seconds: float
    ) -> None:
        self._timeout = timedelta(seconds=seconds)
        self._store = store
        gloo: Any = dist.ProcessGroupGloo
        options = gloo._Options()
        options._devices = [gloo.create_device(hostname=own_address)]
        options._timeout = self._timeout
        self._group = gloo(store, rank, world_size, options)

    def broadcast(self, tensor: torch.Tensor) -> Any:
        """Start sending (``ROOT``) or filling (others) ``tensor``; wait with ``wait``."""
        options = dist.BroadcastOptions()
        options.rootRank = ROOT
        options.timeout = self._timeout
        return self._group.broadcast([tensor], options)

    def wait(self, work: Any) -> None:
        """Wait for a started broadcast.

        Raises:
            RuntimeError: it failed, or did not end in time.
        """
        work.wait(self._timeout)
