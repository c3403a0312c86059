"""The models that are measured on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.config import Dtype, RunConfig
from contracts.errors import UserError
from services.bench.processes import Turns, worker
from services.models.cache import cached
from services.models.resolve import BUILD_DEADLINE
from services.models.smollm2 import smollm2_build


@dataclass(frozen=True, slots=True)
class BenchModel:
    """A model to measure on: its folder, and the type it is computed in."""

    name: str
    folder: Path
    dtype: Dtype

    @property
    def config(self) -> dict[str, Any]:
        """Its ``config.json``."""
        config: dict[str, Any] = json.loads((self.folder / "config.json").read_text())
        return config


def bench_model(name: str, scratch: Path, progress: Callable[[str], None]) -> BenchModel:
    """The model called ``name``.

    ``tiny`` is the built-in architecture with random weights in float32, written to
    ``scratch``; ``smollm2`` is SmolLM2-135M in bfloat16, from the cache of models.

    Raises:
        UserError: there is no such model, or its package is not installed.
        BuildError, DeadlineError: it could not be built.
    """
    match name:
        case "tiny":
            progress("building the tiny model")
            folder, log = scratch / "tiny", scratch / "tiny.log"
            with worker("the tiny model", f"{__name__}:build", folder, threads=1, log=log) as one:
                one.wait_ready()
                one.end()
            return BenchModel(name, folder, "float32")
        case "smollm2":
            cache = RunConfig().cache_dir
            folder = cached(
                smollm2_build(),
                cache,
                log=cache / "build.log",
                deadline=BUILD_DEADLINE,
                progress=progress,
            )
            return BenchModel(name, folder, "bfloat16")
        case _:
            raise UserError(
                f"{name!r} is not a model to measure on",
                where="--models",
                remedy="use tiny or smollm2",
            )


def build(folder: Path, turns: Turns) -> None:
    """Write the tiny model, in a process of its own: what is heavy and talks stays there."""
    from services.models.tiny_model import build_tiny_model

    build_tiny_model(folder, seed=0)
    turns.begin()
