"""Accelerators as their makers describe them, and what is assumed of them besides.

Peaks are dense (without sparsity), bandwidths in one direction. Sources: NVIDIA's datasheets of
A100 80GB SXM (nvidia-a100-datasheet), H100 SXM (h100-datasheet), H200 (hopper-h200-datasheet)
and HGX B200; of H20, for which there is no public datasheet, the figures that are quoted
everywhere: 148 TFLOP/s in 16 bits, 96 GB, 4.0 TB/s, NVLink of 900 GB/s both ways. Prices are no
facts: they are a round figure of what clouds asked for in 2025, and can be replaced.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from contracts.config import Section

Positive = Annotated[float, Field(gt=0)]
Efficiency = Annotated[float, Field(gt=0, le=1)]


class Accelerator(Section):
    """One GPU."""

    name: str = "custom"
    """What it is called."""
    tflops: Positive
    """Dense peak in bfloat16, 10^12 operations a second."""
    memory_gb: Positive
    """Memory, 10^9 bytes."""
    bandwidth_gbs: Positive
    """Memory bandwidth, 10^9 bytes a second."""
    nvlink_gbs: Positive
    """Between GPUs of one node, one way, 10^9 bytes a second."""
    price: Positive
    """Of an hour, in dollars. An assumption."""


def _accelerator(  # noqa: PLR0917 (a row of a table)
    name: str, tflops: float, memory: float, bandwidth: float, nvlink: float, price: float
) -> Accelerator:
    return Accelerator(
        name=name,
        tflops=tflops,
        memory_gb=memory,
        bandwidth_gbs=bandwidth,
        nvlink_gbs=nvlink,
        price=price,
    )


ACCELERATORS = {
    one.name: one
    for one in (
        _accelerator("A100-80", 312, 80, 2039, 300, 1.8),
        _accelerator("H100", 989, 80, 3350, 450, 2.8),
        _accelerator("H200", 989, 141, 4800, 450, 3.5),
        _accelerator("B200", 2250, 180, 7700, 900, 5.5),
        _accelerator("H20", 148, 96, 4000, 450, 1.6),
    )
}


class Assumptions(Section):
    """What no datasheet says. Shares are of the datasheet's peak."""

    training_mfu: Efficiency = 0.4
    """Of training's matrix products, communication not counted."""
    prefill_mfu: Efficiency = 0.5
    """Of prompts."""
    decode_bandwidth: Efficiency = 0.7
    """Of memory bandwidth while tokens are sampled."""
    network_bandwidth: Efficiency = 0.7
    """Of NVLink and of the network, in collectives and in the weight broadcast."""
    overlap: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Of ZeRO-3's communication that goes on under computation, as far as there is enough."""
    engine_step_ms: Annotated[float, Field(ge=0)] = 6.0
    """An engine's own time for a step: scheduling, launching, sampling."""
    sequence_us: Annotated[float, Field(ge=0)] = 4.0
    """An engine's own time for each token that it samples."""
    allreduce_us: Annotated[float, Field(ge=0)] = 12.0
    """Latency of an all-reduce of tensor parallelism; there are two a layer."""
    collective_us: Annotated[float, Field(ge=0)] = 30.0
    """Latency of a collective of ZeRO-3, times the logarithm of the ranks."""
    micro_batch_ms: Annotated[float, Field(ge=0)] = 10.0
    """A micro-batch's own time, besides its operations."""
    broadcast_s: Annotated[float, Field(ge=0)] = 0.3
    """Fixed time of a weight broadcast: calls, pause, resume."""
    step_s: Annotated[float, Field(ge=0)] = 0.2
    """The driver's time for a step."""
    completion_ms: Annotated[float, Field(ge=0)] = 0.2
    """Grading and routing of a completion, one after the other, beside sampling."""
    storage_gbs: Positive = 2.0
    """Of checkpoints, a node, 10^9 bytes a second."""
    reserve: Efficiency = 0.9
    """Share of a GPU's memory that may be planned with."""
    activation_bytes: Positive = 34.0
    """Of a token, layer and unit of width, in training without recomputation (Korthikanti et al.
    2022, arXiv 2205.05198, without the part that is quadratic in length)."""


class Cluster(Section):
    """The machines."""

    accelerator: str = "H100"
    """Name of a known one; `custom` is for `gpu`."""
    gpu: Accelerator | None = None
    """One that is not known by name."""
    gpus_per_node: Annotated[int, Field(ge=1)] = 8
    """GPUs of a node, which NVLink connects."""
    network_gbs: Positive = 50.0
    """Of a GPU to other nodes, one way, 10^9 bytes a second; 50: 400 Gbit/s."""
    price: Positive | None = None
    """Of a GPU and hour, in dollars; null: that of the table."""
