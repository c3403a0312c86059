"""Configurations and prompts of the right size for end-to-end tests on two cores."""

from __future__ import annotations

from contracts.config import (
    DeadlineConfig,
    Dtype,
    GeneratorConfig,
    LearnerConfig,
    ModelConfig,
    RunConfig,
    TransferConfig,
)
from contracts.types import Message, Objective, Prompt, Task


def small_config(*, generators: int = 1, ranks: int = 1, dtype: Dtype = "float32") -> RunConfig:
    """A configuration of which two generators and two ranks fit on two cores."""
    return RunConfig(
        model=ModelConfig(dtype=dtype),
        generators=GeneratorConfig(count=generators, device="cpu", kv_cache_gib=0.1),
        # So fast that one update is seen in every log-probability.
        learner=LearnerConfig(
            ranks=ranks, device="cpu", threads=1, learning_rate=5e-3, warmup_updates=0
        ),
        transfer=TransferConfig(backend="gloo", bucket_mib=1, deadline=120),
        # Long enough for a machine that does much else.
        deadlines=DeadlineConfig(start=800),
    )


def prompt(question: str, number: int = 0) -> Prompt:
    """A solve prompt."""
    return Prompt(
        id=f"prompt-{number}",
        messages=(Message("user", f"Solve {question}"),),
        objective=Objective.SOLVE,
        label="0",
        verifier="math",
        task=Task(f"task-{number}", question, "0"),
        template="test",
    )
