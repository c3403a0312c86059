"""How completions are sampled, graded and recycled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contracts.config.base import Count, Device, OptionalCount, Seconds, Section, Share

CPU_BLOCK = 32
"""Tokens of a block of the key-value cache on a CPU: the least that its attention takes. Whole
blocks alone are shared, and with vLLM's own 128 most prompts were computed for each completion."""


class SamplingConfig(Section):
    """How completions are sampled."""

    completions: Annotated[int, Field(ge=2)] = 8
    """Completions per prompt: the group. One alone has no advantage."""
    max_tokens: Count = 48
    """Longest completion of any objective."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Temperature; log-probabilities are those of the tempered distribution."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Must be 1: truncated sampling biases the policy ratio."""
    refill: Annotated[float, Field(ge=1)] = 1.0
    """New tasks take the place of solve groups without signal (all rewards equal), until a step
    has asked this many times `tasks_per_step` tasks. 1: none do."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.top_p != 1.0:
            raise ValueError(
                "sampling.top_p must be 1: under truncated sampling the sampler's "
                "log-probabilities are not those of the policy that is trained"
            )
        return self


class RecycleConfig(Section):
    """What is made of verified groups. Caps are prompts per step."""

    enabled: bool = True
    """Off: train on solving alone."""
    style: Literal["natural", "terse", "worked"] = "terse"
    """Wording of all prompts, solve prompts too. `terse` is the tiny model's language."""
    pointwise: OptionalCount = 32
    """At most this many pointwise prompts, equal numbers of right and wrong candidates."""
    pairwise: OptionalCount = 16
    """At most this many pairwise prompts, positions balanced."""
    reflect: OptionalCount = 8
    """At most this many reflection prompts."""
    reflect_wrong_share: Share = 0.5
    """Share of reflection prompts that show a wrong candidate; the rest show a right one."""
    reasoning_share: Share = 0.0
    """Share of prompts that show the whole completion; the rest show the final answer only."""
    longest_answer: Count = 64
    """Longest answer that is shown, in bytes, and so in tokens; longer ones are not recycled."""
    answered: bool = True
    """Off: recycled prompts are not answered, but written to `recycled.jsonl` of the run folder,
    for a judge that is trained apart from the policy."""
    prompts_of: Path | None = None
    """Folder of a run with `recycle.answered` off: its prompts are answered, step by step, and no
    tasks are solved. The judge that is trained apart."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.prompts_of is not None and not (self.enabled and self.answered):
            raise ValueError(
                "recycle.prompts_of needs recycle.enabled and recycle.answered: those prompts are "
                "all that the run trains on"
            )
        return self


class GeneratorConfig(Section):
    """vLLM engines."""

    count: Count = 1
    """Number of engines, one Ray actor each."""
    tensor_parallel: Count = 1
    """GPUs per engine."""
    device: Device = "auto"
    """`auto`: CUDA where there is one."""
    threads: Count = 1
    """CPU threads per engine (CPU only)."""
    kv_cache_gib: Annotated[float, Field(gt=0)] = 1.0
    """Key-value cache per engine (CPU only)."""
    gpu_memory_utilization: Share = 0.85
    """Share of a GPU's memory an engine may take (CUDA only)."""
    node_group: str = ""
    """Only on Ray nodes whose label `ray.io/node-group` is this; empty: anywhere."""
    max_sequences: Count = 256
    """Sequences an engine samples at once."""
    enforce_eager: bool = True
    """Skip compilation and graph capture: faster start, slower tokens."""


class ReflectionRewardConfig(Section):
    """What a reflection earns by what it did with the answer that it was shown."""

    fix: float = 1.0
    """A wrong one was made right."""
    keep: float = 1.0
    """A right one was kept."""
    breaking: float = 0.0
    """A right one was made wrong."""
    miss: float = 0.0
    """A wrong one stayed wrong."""
    unanswered: float = 0.0
    """There was no answer."""


class VerifierConfig(Section):
    """The verifier pool."""

    workers: Count = 1
    """Grader processes."""
    deadline: Seconds = 5.0
    """Seconds of processor time a grader may take for one completion before it is killed."""
    reflection: ReflectionRewardConfig = ReflectionRewardConfig()
    """Rewards of reflections; plain correctness by default."""
