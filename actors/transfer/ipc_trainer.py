"""The learner's end of the CUDA IPC backend: each rank sends to the generator on its own GPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import torch
from vllm.distributed.weight_transfer.ipc_engine import (
    IPCTrainerInitInfo,
    IPCTrainerWeightTransferEngine,
)

from actors.transfer.client import GeneratorClient
from actors.transfer.ipc_engine import PackedUpdate
from actors.transfer.sender import Declared, Sender


class LocalIPCTrainer(IPCTrainerWeightTransferEngine):  # type: ignore[misc, unused-ignore]
    """vLLM's sender of CUDA IPC, for a rank that has an engine to itself.

    vLLM's gathers handles from all ranks, by collectives on the default group and from the
    thread that sends. Here the ranks' main threads gather weights meanwhile, and what a rank
    shares is read on its own GPU alone: nothing is to be gathered, and nobody to be waited for.
    """

    def _all_gather_and_merge_handles(
        self, handles: list[dict[str, tuple[Any, ...]]]
    ) -> list[dict[str, tuple[Any, ...]]]:
        return handles

    @staticmethod
    def _post_send_sync() -> None:
        """After a bucket: the call to the engine has returned, so it was copied."""
        torch.cuda.ipc_collect()  # type: ignore[no-untyped-call]

    def _do_send(self, **update: Any) -> None:
        """Send the handle of one bucket."""
        self.client.update_weights(asdict(PackedUpdate.of(update)))


class IpcClient(GeneratorClient):
    """The line to one generator, without ranks: no group is joined."""

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Tell the engine how weights will come."""
        self._call("init", "init_weight_transfer_engine", [init_info])


class IpcSender(Sender):
    """The end of a transfer at a learner rank that shares its GPU with a generator.

    The thread that sends finds the right GPU: a rank sees no other.
    """

    def _open(self) -> Any:
        size = buffer_bytes(self._source.metadata(), self._bucket_bytes)
        info = IPCTrainerInitInfo(packed=True, packed_buffer_size_bytes=size, rank=0)
        return LocalIPCTrainer.trainer_init(info, client=self._client, source=self._source)


def buffer_bytes(weights: Iterable[Declared], bucket_bytes: int) -> int:
    """Bytes of the buffer that buckets are shared in: no tensor may be larger."""
    sizes = (torch.Size(meta.shape).numel() * meta.dtype.itemsize for meta in weights)
    return max(bucket_bytes, max(sizes, default=0))
