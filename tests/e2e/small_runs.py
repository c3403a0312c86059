"""Configurations and prompts of the right size for end-to-end tests on two cores."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

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

DEADLINE = 300.0


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


def tiny_run(folder: Path, name: str, **changes: object) -> RunConfig:
    """A run of a few steps on a tiny model that was warm-started only a little."""
    base = {
        "name": name,
        "runs_dir": str(folder),
        "steps": 3,
        "tasks_per_step": 8,
        "model": {"warm_start": {"clean_steps": 250, "sloppy_steps": 30}},
        "sampling": {"completions": 4},
        "recycle": {"pointwise": 6, "pairwise": 4, "reflect": 4},
        "learner": {"warmup_updates": 1},
        "generators": {"kv_cache_gib": 0.25},
        "tasks": {"held_out": 64},
        "evaluation": {"tasks": 24, "tasks_between": 8, "candidates": 4, "every": 2},
        "transfer": {"checksum_every": 1},
    }
    return RunConfig.model_validate({**base, **changes})


def wait_for_lines(
    path: Path, lines: int, process: subprocess.Popen[str], seconds: float = DEADLINE
) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.is_file() and len(path.read_text().splitlines()) >= lines:
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.2)
    process.kill()
    raise AssertionError(f"no {lines} steps within {seconds} s")
