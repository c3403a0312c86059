"""Generators without a model: they answer at once, right half of the time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import ray

from actors.faults import RestartBudget
from actors.generator import Sampling
from actors.generator_member import Member
from actors.generator_pool import GeneratorPool
from actors.logs import redirect_output
from actors.waiting import NamedActor
from contracts.config import RunConfig
from contracts.types import Completion, Generation, Objective, Prompt, VersionSpan

TOKENS = 8
"""Of a completion, and of a prompt."""


class SimulatedGenerator:
    """Speaks as a generator does; what it says is made up, and takes no time.

    Args:
        log: file that takes the output of its process.
    """

    def __init__(self, log: Path) -> None:
        redirect_output(log)

    async def start(self) -> None:
        """Nothing is loaded."""

    async def ping(self) -> None:
        """A sign of life."""

    async def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling
    ) -> AsyncIterator[Generation]:
        """Answers to ``prompts``, in order."""
        draw = np.random.default_rng(sampling.seed)
        for prompt in prompts:
            right = draw.random(sampling.completions) < 0.5
            yield generation(prompt, [_said(prompt, bool(r), n) for n, r in enumerate(right)])

    async def stop(self) -> None:
        """Nothing to put in order."""


def _said(prompt: Prompt, right: bool, number: int) -> str:
    """An answer in a box: the label, or something else that could be one."""
    if right:
        return rf"so \boxed{{{prompt.label}}}"
    if prompt.objective in (Objective.SOLVE, Objective.REFLECT):
        return rf"so \boxed{{{int(prompt.label) + 1 + number}}}"
    return rf"so \boxed{{{'no' if prompt.label == 'yes' else 'B'}}}"


def generation(prompt: Prompt, texts: Sequence[str]) -> Generation:
    """Completions of ``prompt`` that read ``texts``, sampled at version 0."""
    return Generation(
        prompt=prompt,
        prompt_tokens=np.zeros(TOKENS, np.int32),
        completions=tuple(
            Completion(
                id=f"{prompt.id}/{index}",
                tokens=np.zeros(TOKENS, np.int32),
                logprobs=np.zeros(TOKENS, np.float32),
                finish="stop",
                spans=(VersionSpan(0, TOKENS, 0),),
                text=text,
            )
            for index, text in enumerate(texts)
        ),
    )


def simulated_pool(config: RunConfig, logs: Path) -> GeneratorPool:
    """A real pool of simulated generators, ready to be asked."""
    kind = ray.remote(num_cpus=0)(SimulatedGenerator)

    def launch(index: int) -> NamedActor:
        log = logs.resolve() / f"generator-{index}.log"
        return NamedActor(kind.remote(log), f"generator {index}", log)

    members = [Member(index, launch) for index in range(config.generators.count)]
    budget = RestartBudget("generators", config.faults, lambda _: None)
    pool = GeneratorPool(config, members, budget)
    pool.wait_until_started()
    pool.serve(pool.actors)
    return pool
