"""The engine's end of the gloo backend: runs in vLLM's worker."""

from __future__ import annotations

from typing import Any

import torch
from vllm.distributed.weight_transfer.base import WeightTransferEngine
from vllm.model_executor.model_loader.reload import (
    finalize_layerwise_reload,
    initialize_layerwise_reload,
)

from actors.transfer.engine_weights import layers_with
from actors.transfer.gloo_wire import GlooInitInfo, GlooUpdateInfo
from actors.transfer.group import GlooGroup, own_address, reach_store


class GlooWeightTransferEngine(
    WeightTransferEngine[GlooInitInfo, GlooUpdateInfo]  # type: ignore[misc, unused-ignore]
):
    """Receives packed weights and loads them as vLLM loads a checkpoint, layer by layer."""

    init_info_cls = GlooInitInfo
    update_info_cls = GlooUpdateInfo

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._group: GlooGroup | None = None
        self._bucket_bytes = 0
        self._unfinished = False

    def init_transfer_engine(self, init_info: GlooInitInfo) -> None:
        """Join a transfer group; one joined before is left.

        Raises:
            RuntimeError: the group did not come together in time.
        """
        self.shutdown()
        parallel = self.parallel_config
        rank = init_info.rank_offset + parallel.rank
        rank += parallel.data_parallel_index * parallel.world_size
        self._bucket_bytes = init_info.bucket_bytes
        store = reach_store(
            init_info.address, init_info.port, init_info.world_size, init_info.seconds
        )
        address = own_address(init_info.address, init_info.port)
        self._group = GlooGroup(store, rank, init_info.world_size, address, init_info.seconds)

    def start_weight_update(self) -> None:
        """Get every layer ready for loading; what a broken update left behind is cleared."""
        if self._unfinished:
            finalize_layerwise_reload(self.model, self.model_config)
        self._unfinished = True
        initialize_layerwise_reload(self.model)

    def receive_weights(self, update_info: GlooUpdateInfo) -> None:
        """Take in all buckets. The next is on its way while one is loaded.

        Each bucket has memory of its own: vLLM keeps views of it until a layer is complete.

        Raises:
            RuntimeError: no group, or a bucket did not come in time.
        """
        if self._group is None:
            raise RuntimeError("weights were announced before a transfer group was joined")
        buckets = update_info.buckets(self._bucket_bytes)
        coming = None
        for number, bucket in enumerate(buckets):
            if coming is None:
                coming = self._expect(bucket)
            work, room = coming
            self._group.wait(work)
            following = number + 1 < len(buckets)
            coming = self._expect(buckets[number + 1]) if following else None
            self.model.load_weights(bucket.take(room))

    def _expect(self, bucket: Any) -> tuple[Any, Any]:
        assert self._group is not None
        room = bucket.empty()
        return self._group.broadcast(room), room

    def finish_weight_update(self) -> None:
        """Take the loaded layers into use."""
        finalize_layerwise_reload(self.model, self.model_config)
        _pack_shared_again(self.model)
        self._unfinished = False

    def shutdown(self) -> None:
        """Leave the transfer group."""
        self._group = None


def _pack_shared_again(model: torch.nn.Module) -> None:
    """Renew the packed copies of weights that layers share (tied embeddings).

    On a CPU every layer packs a copy of its weight. The reload renews the copy of the layer
    that the checkpoint names; an output layer tied to the embedding would keep the old one,
    and sample from it without a word.
    """
    for parameter in model.parameters():
        sharing = layers_with(model, parameter)
        if len(sharing) > 1:
            for layer in sharing:
                method: Any = getattr(layer, "quant_method", None)
                if method is not None and hasattr(layer, "cpu_linear"):
                    method.process_weights_after_loading(layer)
