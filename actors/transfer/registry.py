"""Makes our backends known to vLLM's weight-transfer factories."""

from __future__ import annotations

from vllm.distributed.weight_transfer.factory import (
    WeightTransferEngineFactory,
    WeightTransferTrainerFactory,
)

from actors.engine import LOCAL_IPC

GLOO = "gloo"


def register_backends() -> None:
    """Register gloo, and the engine's end of CUDA IPC, in this process. Twice is harmless."""
    if LOCAL_IPC not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(
            LOCAL_IPC, "actors.transfer.ipc_engine", "LocalIPCEngine"
        )
    if GLOO not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(
            GLOO, "actors.transfer.gloo_engine", "GlooWeightTransferEngine"
        )
    if GLOO not in WeightTransferTrainerFactory._registry:
        WeightTransferTrainerFactory.register_engine(
            GLOO, "actors.transfer.gloo_trainer", "GlooTrainerWeightTransferEngine"
        )
