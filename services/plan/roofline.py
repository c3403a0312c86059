"""Costs out of datasheets: whichever of compute, memory and network takes longest.

Sampling a token reads all weights and the caches of all running sequences (Pope et al. 2022,
arXiv 2211.05102); a prompt and training are bound by operations; ZeRO-3 gathers the weights
before the forward and before the backward pass of each micro-batch and reduces the gradients
after it (Rajbhandari et al. 2019, arXiv 1910.02054, 7.2: three times the weights).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from contracts.config import RunConfig
from services.plan.costs import Load
from services.plan.datasheet import Accelerator, Assumptions, Cluster
from services.plan.inputs import OURS, LearnerSpec
from services.plan.shape import ModelShape

GIGA = 1e9
MASTER_BYTES = 12.0
"""Of a weight in AdamW: a float32 copy and two moments (without the gradient)."""
OPTIMIZER_TRAFFIC = 32.0
"""Bytes read and written of a weight by an optimiser step: gradient, copy, two moments, weight."""


@dataclass(frozen=True)
class Roofline:
    """Costs of ``model`` on ``gpu``, as ``config`` lays it out.

    ``slots``: sequences that an engine's memory has room for.
    """

    model: ModelShape
    gpu: Accelerator
    cluster: Cluster
    assumed: Assumptions
    config: RunConfig
    slots: int
    learner: LearnerSpec = OURS

    block: int = 16
    processors: float = math.inf
    background: float = 0.0
    generator_demand: float = 1.0
    rank_demand: float = 1.0

    @property
    def _parallel(self) -> int:
        return self.config.generators.tensor_parallel

    @property
    def weight_bytes(self) -> float:
        """Of one weight in generators and in what is gathered."""
        return 2.0 if self.config.model.dtype == "bfloat16" else 4.0

    def prefill(self, sequences: int, tokens: int, pairs: float) -> float:
        """By operations, and by the engine's own time for each sequence."""
        peak = self.gpu.tflops * 1e12 * self.assumed.prefill_mfu * self._parallel
        own = sequences * self.assumed.sequence_us / 1e6
        return self.model.forward_flops(tokens, pairs) / peak + own

    def decode(self, running: int, context: float) -> float:
        """The longer of reading (weights, caches) and computing, then what comes besides."""
        read, each_read, operations, each_operation, own, each = self._decoding
        reading = read + each_read * context
        computing = operations * running + each_operation * context
        return (reading if reading > computing else computing) + own + each * running

    @cached_property
    def _decoding(self) -> tuple[float, float, float, float, float, float]:
        """Seconds of an engine step, as multiples of 1, of sequences and of context.

        Two all-reduces a layer, where a ring sends 2 (p - 1) / p of the bytes.
        """
        ways, layers = self.config.generators.tensor_parallel, self.model.shape.layers
        speed = self.gpu.bandwidth_gbs * GIGA * self.assumed.decode_bandwidth * ways
        peak = self.gpu.tflops * 1e12 * self.assumed.prefill_mfu * ways
        link = self.gpu.nvlink_gbs * GIGA * self.assumed.network_bandwidth
        own, each = self.assumed.engine_step_ms / 1e3, self.assumed.sequence_us / 1e6
        if ways > 1:
            own += 2 * layers * self.assumed.allreduce_us / 1e6
            each += 2 * layers * 2 * (ways - 1) / ways * self.model.shape.hidden * 2.0 / link
        return (
            self.model.matrices * self.weight_bytes / speed,
            self.model.kv_bytes / speed,
            self.model.forward_flops(1, 0) / peak,
            self.model.forward_flops(0, 1) / peak,
            own,
            each,
        )

    def batch(self, sequences: int) -> float:  # noqa: ARG002 (of the protocol)
        """Nothing that is not in the engine's steps."""
        return 0.0

    def update(self, loads: Sequence[Load]) -> float:
        """The slowest rank's computing, communication that does not fit under it, the optimiser."""
        learner, ranks = self.config.learner, self.config.learner.ranks
        ways = self.learner.sequence_parallel
        budget = learner.token_budget * ways
        micros = max(1, *(math.ceil(load.tokens / budget) for load in loads))
        times = 4 if learner.gradient_checkpointing else 3
        if learner.kl_coefficient > 0:
            times += 1
        if learner.recompute_old and learner.updates_per_step > 1:
            times += 1
        peak = self.gpu.tflops * 1e12 * self.assumed.training_mfu * ways
        most = max(times * self.model.forward_flops(load.tokens, load.pairs) for load in loads)
        compute = most / peak + micros * self.assumed.micro_batch_ms / 1e3
        shard = min(ranks, self.learner.shard or ranks)
        talk = micros * self.gather_seconds(shard, times=3) + self._sum_seconds(ranks, shard)
        hidden = min(self.assumed.overlap * talk, compute)
        traffic = OPTIMIZER_TRAFFIC * self.model.parameters / shard
        optimiser = traffic / (self.gpu.bandwidth_gbs * GIGA * self.assumed.decode_bandwidth)
        return compute + talk - hidden + optimiser

    def gather_seconds(self, ranks: int, times: int = 1) -> float:
        """ZeRO-3: all weights to all ranks, ``times`` over."""
        if ranks == 1:
            return 0.0
        sent = (ranks - 1) / ranks * self.model.parameters * self.weight_bytes
        calls = self.model.shape.layers * self.assumed.collective_us / 1e6 * math.log2(ranks)
        return times * (sent / self._link(ranks) + calls)

    def _sum_seconds(self, ranks: int, shard: int) -> float:
        """Float32 gradients of a shard, summed over those that have the same one: a ring."""
        same = ranks // shard
        if same <= 1:
            return 0.0
        sent = 2 * (same - 1) / same * 4.0 * self.model.parameters / shard
        return sent / self._link(ranks)

    def _link(self, gpus: int) -> float:
        """Bytes a second of a ring over so many GPUs: its slowest link."""
        inside = gpus <= self.cluster.gpus_per_node
        gbs = self.gpu.nvlink_gbs if inside else self.cluster.network_gbs
        return gbs * GIGA * self.assumed.network_bandwidth

    def broadcast(self, receivers: int) -> float:
        """Gather and send in buckets, one under the other; a tree over the receivers' GPUs."""
        size = self.model.parameters * self.weight_bytes
        if self.config.placement == "shared":
            # Each rank hands its generator the weights as they are gathered; they are copied.
            copy = size / (self.gpu.bandwidth_gbs * GIGA * self.assumed.decode_bandwidth)
            return self.assumed.broadcast_s + self.gather_seconds(self.config.learner.ranks) + copy
        gpus = 1 + receivers * self._parallel
        ranks = self.config.learner.ranks
        gather = self.gather_seconds(min(ranks, self.learner.shard or ranks))
        send = size / self._link(gpus)
        calls = self.model.shape.layers * self.assumed.collective_us / 1e6 * math.log2(gpus)
        return self.assumed.broadcast_s + max(gather, send) + calls

    def routing(self, completions: int) -> float:
        """By the number of completions, however many generators and verifiers there are."""
        return completions * self.assumed.completion_ms / 1e3

    def grading(self) -> float:
        """The last group's."""
        return self.config.sampling.completions * self.assumed.completion_ms / 1e3

    def recycling(self) -> float:
        """In the driver's time for a step."""
        return 0.0

    def bookkeeping(self) -> float:
        """As assumed."""
        return self.assumed.step_s

    def checkpoint(self, ranks: int) -> float:
        """Optimiser states and weights; each node of the learner writes its share."""
        size = (MASTER_BYTES + self.weight_bytes) * self.model.parameters
        nodes = math.ceil(ranks / self.cluster.gpus_per_node)
        return size / (nodes * self.assumed.storage_gbs * GIGA)
