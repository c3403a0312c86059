"""Configurations and prompts of the right size for end-to-end tests on two cores."""

from __future__ import annotations

from contracts.config import GeneratorConfig, LearnerConfig, RunConfig, TransferConfig
from contracts.types import Message, Objective, Prompt, Task


def small_config(*, generators: int = 1, ranks: int = 1) -> RunConfig:
    """A configuration of which two generators and two ranks fit on two cores."""
    return RunConfig(
        generators=GeneratorConfig(count=generators, device="cpu", kv_cache_gib=0.1),
        learner=LearnerConfig(ranks=ranks, device="cpu", threads=1),
        transfer=TransferConfig(backend="gloo", bucket_mib=1, deadline=60),
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
