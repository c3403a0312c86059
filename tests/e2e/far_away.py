"""A generator whose answers lie on a node of their own, for tests that take the node away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from actors.generator import Sampling
from contracts.types import Generation, Prompt
from services.bench.simulated import SimulatedGenerator

LARGE = 100_000
"""Tokens of a prompt: what is small travels with the call, and is never lost with a node."""


class FarGenerator(SimulatedGenerator):
    """Answers so large that they stay on its node; falls silent after ``answers``."""

    def __init__(self, log: Path, answers: int | None) -> None:
        super().__init__(log)
        self._answers = answers

    async def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling
    ) -> AsyncIterator[Generation]:
        said = 0
        async for generation in super().generate(prompts, sampling):
            if said == self._answers:
                await asyncio.sleep(600)
            said += 1
            yield replace(generation, prompt_tokens=np.ones(LARGE, np.int32))
