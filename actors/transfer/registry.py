"""Makes the gloo backend known to vLLM's weight-transfer factories."""

from __future__ import annotations

from vllm.distributed.weight_transfer.factory import (
    WeightTransferEngineFactory,
    WeightTransferTrainerFactory,
)

GLOO = "gloo"


def register_gloo() -> None:
    """Register both ends of the gloo backend in this process. Registering twice is harmless."""
    if GLOO not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(
            GLOO, "actors.transfer.gloo_engine", "GlooWeightTransferEngine"
        )
    if GLOO not in WeightTransferTrainerFactory._registry:
        WeightTransferTrainerFactory.register_engine(
            GLOO, "actors.transfer.gloo_trainer", "GlooTrainerWeightTransferEngine"
        )
