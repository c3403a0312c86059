"""The engine's end of the CUDA IPC backend: weights out of the memory of a GPU that is shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from vllm.distributed.weight_transfer.base import WeightTransferUpdateInfo
from vllm.distributed.weight_transfer.ipc_engine import (
    IPCWeightTransferEngine,
    IPCWeightTransferUpdateInfo,
)
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

from contracts.errors import IntegrityError

KINDS = {0: torch.Tensor, 4: torch.storage.TypedStorage, 5: torch.uint8}
"""What torch's ``reduce_tensor`` puts where, of a buffer of bytes, that is no plain value."""

FORM = 15
"""Values of ``reduce_tensor``."""


@dataclass
class PackedUpdate(WeightTransferUpdateInfo):  # type: ignore[misc, unused-ignore]
    """One bucket: vLLM's update in plain values.

    vLLM's channel from an engine's front to its workers would pickle all else, and does so only
    where it may pickle anything (VLLM_ALLOW_INSECURE_SERIALIZATION).
    """

    names: list[str]
    dtype_names: list[str]
    shapes: list[list[int]]
    tensor_sizes: list[int]
    handles: dict[str, list[Any]]

    @classmethod
    def of(cls, update: dict[str, Any]) -> PackedUpdate:
        """Take vLLM's fields.

        Raises:
            IntegrityError: torch describes memory in another form than this was written for.
        """
        fields = dict(update)
        found = fields.pop("ipc_handles")
        return cls(**fields, handles={gpu: _plain(handle) for gpu, handle in found.items()})

    @property
    def update(self) -> IPCWeightTransferUpdateInfo:
        """vLLM's update."""
        return IPCWeightTransferUpdateInfo(
            names=self.names,
            dtype_names=self.dtype_names,
            shapes=self.shapes,
            ipc_handles={gpu: _whole(handle) for gpu, handle in self.handles.items()},
            tensor_sizes=self.tensor_sizes,
        )


def _plain(handle: Sequence[Any]) -> list[Any]:
    if len(handle) != FORM or any(handle[place] is not kind for place, kind in KINDS.items()):
        raise IntegrityError(f"torch {torch.__version__} describes CUDA memory in an unknown form")
    plain = [None if place in KINDS else value for place, value in enumerate(handle)]
    return [list(value) if isinstance(value, tuple) else value for value in plain]


def _whole(plain: Sequence[Any]) -> tuple[Any, ...]:
    values = [tuple(value) if isinstance(value, list) else value for value in plain]
    return tuple(KINDS.get(place, value) for place, value in enumerate(values))


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
