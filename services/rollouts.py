"""From prompts to graded groups: generators and verifier pool as one stream."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from actors.generator_pool import GeneratorPool
from actors.refs import GroupRef
from actors.verifier_pool import VerifierPool
from contracts.config import RunConfig
from contracts.errors import IntegrityError
from contracts.types import Prompt
from services.clock import PhaseClock

if TYPE_CHECKING:
    from ray import ObjectRef

    from contracts.types import Generation


class Rollouts:
    """Samples completions of prompts and has them graded as they arrive.

    Args:
        generators, verifiers: the pools.
        config: the run.
    """

    def __init__(
        self, generators: GeneratorPool, verifiers: VerifierPool, config: RunConfig
    ) -> None:
        self._generators = generators
        self._verifiers = verifiers
        self._config = config

    def sample(
        self,
        prompts: Sequence[Prompt],
        *,
        completions: int,
        temperature: float,
        seed: int,
        clock: PhaseClock | None = None,
    ) -> list[GroupRef]:
        """Graded groups of ``prompts``, in their order. Temperature 0 is greedy.

        Every prompt has one group, also where a generator failed and another was asked.

        Raises:
            IntegrityError: a prompt has no group, or two have the same id.
            DeadlineError: generation or grading took too long.
        """
        if len({prompt.id for prompt in prompts}) != len(prompts):
            raise IntegrityError("two prompts of one batch have the same id")
        groups: dict[str, GroupRef] = {}
        start = last = time.perf_counter()

        def watched() -> Iterator[ObjectRef[Generation]]:
            nonlocal last
            for ref in self._generators.generate(
                prompts,
                completions=completions,
                max_tokens=self._config.sampling.max_tokens,
                temperature=temperature,
                seed=seed,
                done=groups,
            ):
                last = time.perf_counter()
                yield ref

        for ref, summary in self._verifiers.grade(watched()):
            groups.setdefault(summary.prompt_id, GroupRef(ref, summary))
        if clock is not None:
            clock.add("generate", last - start)
            clock.add("grade", time.perf_counter() - last)
        missing = [prompt.id for prompt in prompts if prompt.id not in groups]
        if missing:
            raise IntegrityError(f"{len(missing)} prompts have no group, the first is {missing[0]}")
        return [groups[prompt.id] for prompt in prompts]
