"""Memory of a GPU: what a generator and what a learner rank need at the least."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.config import RunConfig
from services.plan.datasheet import Accelerator, Assumptions
from services.plan.shape import ModelShape
from services.plan.workload import Workload

GIGA = 1e9
SAMPLING_BYTES = 6.0
"""Of a logit while it is sampled from: the float32 one, and sorted copies in part."""


@dataclass(frozen=True, slots=True)
class Memory:
    """10^9 bytes of a GPU. ``cache``: key-value cache that is left for an engine.

    ``generator`` and ``rank``: without cache, and with the activations of one micro-batch.
    """

    generator: float
    cache: float
    rank: float
    limit: float

    def fits(self, *, shared: bool) -> bool:
        """Whether both have room; where GPUs are shared, weights of engines leave for training."""
        return (
            self.cache > 0 and self.rank <= self.limit and (shared or self.generator < self.limit)
        )


def memory_of(
    model: ModelShape,
    gpu: Accelerator,
    assumed: Assumptions,
    config: RunConfig,
    shard: int | None = None,
) -> Memory:
    """What ``config`` needs of each GPU; ``shard``: ranks that share the weights, None: all.

    A rank of R has 1/R of weights, gradients, float32 copies and moments, and whole the layer
    that is gathered at the time, with the next one, and the activations of a micro-batch: all
    of them, or one a layer where they are computed again, and the output head's.
    """
    weight = 2.0 if config.model.dtype == "bfloat16" else 4.0
    limit = gpu.memory_gb * assumed.reserve
    ways = config.generators.tensor_parallel
    engine = model.parameters * weight / ways / GIGA
    engine += config.generators.max_sequences * model.shape.vocabulary * SAMPLING_BYTES / GIGA
    share = min(limit, gpu.memory_gb * config.generators.gpu_memory_utilization)
    return Memory(
        generator=engine,
        cache=share - engine,
        rank=_rank(model, assumed, config, shard),
        limit=limit,
    )


def _rank(model: ModelShape, assumed: Assumptions, config: RunConfig, shard: int | None) -> float:
    learner, shape = config.learner, model.shape
    weight = 2.0 if config.model.dtype == "bfloat16" else 4.0
    states = 0.0 if learner.offload_optimizer else 12.0
    weights = 0.0 if learner.offload_parameters else weight
    copies = 2.0 if learner.kl_coefficient > 0 else 1.0
    sharded = (
        (states + weight + copies * weights)
        * model.parameters
        / min(learner.ranks, shard or learner.ranks)
    )
    layer = model.shape.weights / shape.layers
    gathered = 2 * weight * max(layer, float(shape.vocabulary * shape.hidden))
    tokens = learner.token_budget
    each = 2.0 if learner.gradient_checkpointing else assumed.activation_bytes
    activations = tokens * shape.layers * shape.hidden * each
    if learner.gradient_checkpointing:
        activations += tokens * shape.hidden * assumed.activation_bytes
    # The output head goes in tiles of 4 MiB (docs/results/learner.md); its gradient is whole.
    head = 4.0 * shape.vocabulary * shape.hidden
    return (sharded + gathered + activations + head) / GIGA


def slots_of(model: ModelShape, memory: Memory, config: RunConfig, workload: Workload) -> int:
    """Sequences that an engine's cache has room for, at the mean length of a solve sequence.

    A sequence has its whole length at the end only: half of its completion on average.
    """
    work = workload.solve
    tokens = work.prompt + work.completion.average / 2
    room = memory.cache * GIGA * config.generators.tensor_parallel
    # Weights are counted a GPU; the cache is spread over all GPUs of an engine, too.
    return max(0, int(room / (model.kv_bytes * tokens)))
