"""What the whole loop is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.config import RunConfig
from contracts.loading import find_config, load_config

PRESETS = {"tiny": "demo", "smollm2": "smollm2"}
"""The preset whose loop is measured, by model."""

STEPS = {"tiny": 6, "smollm2": 2}
"""Steps of a turn."""

ENDLESS = 1_000_000
"""Steps of a run that ends when the benchmark does."""

STALENESS = {"synchronous": 0, "overlapped": 1}
"""Variant of ours to ``max_staleness``. One run takes its turns in both."""


@dataclass(frozen=True, slots=True)
class LoopWork:
    """What is asked of a process: ``variants`` of the run ``config``, ``steps`` steps a turn."""

    name: str
    variants: tuple[str, ...]
    mix: str
    model: str
    folder: Path
    config: RunConfig
    steps: int

    def __str__(self) -> str:
        return f"{self.name} ({self.model}, {self.mix})"


def loop_config(model: str, mix: str, name: str, scratch: Path, threads: int) -> RunConfig:
    """The run that is measured.

    ``spark``: the model's preset, recycling and all. ``solve``: 64 completions of at most 64
    tokens a step, in groups of 4, all of them trained on, KL 0.001 to the initial model: what
    TRL's ``GRPOTrainer`` does too.
    """
    values = _common(f"{name}-{mix}-{model}", scratch, threads)
    if mix == "solve":
        values |= _solve(model)
    changes = [f"{key}={value}" for key, value in values.items()]
    return load_config(find_config(PRESETS[model]), changes)


def _common(name: str, scratch: Path, threads: int) -> dict[str, Any]:
    return {
        "name": name,
        "runs_dir": scratch,
        "steps": ENDLESS,
        "max_staleness": max(STALENESS.values()),
        "evaluation.every": 0,
        "checkpoints.every": 0,
        # Checks of the weights are part of the loop, as often as they are in a run.
        "generators.threads": threads,
        "learner.threads": threads,
        "learner.schedule": "constant",
    }


def _solve(model: str) -> dict[str, Any]:
    return {
        "tasks_per_step": 16,
        "sampling.completions": 4,
        "sampling.max_tokens": 64,
        "recycle.enabled": "false",
        "recycle.style": "terse" if model == "tiny" else "natural",
        "learner.silent_groups": "train",
        "learner.kl_coefficient": 0.001,
        "learner.learning_rate": 1e-6,
        "learner.updates_per_step": 1,
    }
