"""The engine's end of the CUDA IPC backend: weights out of the memory of a GPU that is shared."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

from vllm.distributed.weight_transfer.base import WeightTransferUpdateInfo
from vllm.distributed.weight_transfer.ipc_engine import (
    IPCWeightTransferEngine,
    IPCWeightTransferUpdateInfo,
)
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload


@dataclass
class PackedUpdate(WeightTransferUpdateInfo):  # type: ignore[misc, unused-ignore]
    """One bucket: vLLM's update, pickled, for its handles are no plain values.

    vLLM's channel from an engine's front to its workers takes bytes as they are; all else it would
    pickle itself, but only where it may pickle anything (VLLM_ALLOW_INSECURE_SERIALIZATION).
    """

    pickled: bytes

    @classmethod
    def of(cls, update: dict[str, Any]) -> PackedUpdate:
        """Pack the fields of vLLM's update."""
        return cls(pickle.dumps(update))

    @property
    def update(self) -> IPCWeightTransferUpdateInfo:
        """vLLM's update. What is unpickled comes from the learner, through Ray, which pickles."""
        return IPCWeightTransferUpdateInfo(**pickle.loads(self.pickled))


class LocalIPCEngine(IPCWeightTransferEngine):  # type: ignore[misc, unused-ignore]
    """vLLM's engine of CUDA IPC, with another wire and a clean start after a broken update."""

    update_info_cls = PackedUpdate

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unfinished = False

    def start_weight_update(self) -> None:
        """Get every layer ready for loading; what a broken update left behind is cleared."""
        if self._unfinished:
            finalize_layerwise_reload(self.model, self.model_config)
        self._unfinished = True
        super().start_weight_update()

    def receive_weights(self, update_info: PackedUpdate) -> None:
        """Copy a bucket out of the learner's memory, and load it."""
        super().receive_weights(update_info.update)

    def finish_weight_update(self) -> None:
        """Take the loaded layers into use, and let go of the learner's memory."""
        super().finish_weight_update()
        self._unfinished = False
