"""From prompts to graded groups: generators and verifier pool as one stream."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actors.generator_pool import GeneratorPool
from actors.refs import GroupRef
from actors.verifier_pool import VerifierPool
from contracts.config import RunConfig
from contracts.errors import IntegrityError
from contracts.types import Prompt

if TYPE_CHECKING:
    from ray import ObjectRef

    from contracts.types import Generation


@dataclass
class PhaseClock:
    """Seconds spent in each phase since the last ``take``."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of the block as ``name``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """Count ``seconds`` as ``name``."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def take(self) -> dict[str, float]:
        """The seconds by phase, starting anew."""
        taken, self.seconds = self.seconds, {}
        return taken


class Rollouts:
    """Samples completions of prompts and has them graded as they arrive."""

    def __init__(
        self,
        generators: GeneratorPool,
        verifiers: VerifierPool,
        config: RunConfig,
        clock: PhaseClock,
    ) -> None:
        self._generators = generators
        self._verifiers = verifiers
        self._config = config
        self._clock = clock

    def sample(
        self, prompts: Sequence[Prompt], *, completions: int, temperature: float, seed: int
    ) -> list[GroupRef]:
        """Graded groups of ``prompts``, in their order. Temperature 0 is greedy.

        Raises:
            IntegrityError: a prompt has no group, or two have the same id.
            DeadlineError: generation or grading took too long.
        """
        if len({prompt.id for prompt in prompts}) != len(prompts):
            raise IntegrityError("two prompts of one batch have the same id")
        start = time.perf_counter()
        last_generation = start

        def watched() -> Iterator[ObjectRef[Generation]]:
            nonlocal last_generation
            for ref in self._generators.generate(
                prompts,
                completions=completions,
                max_tokens=self._config.sampling.max_tokens,
                temperature=temperature,
                seed=seed,
            ):
                last_generation = time.perf_counter()
                yield ref

        groups = {
            summary.prompt_id: GroupRef(ref, summary)
            for ref, summary in self._verifiers.grade(watched())
        }
        self._clock.add("generate", last_generation - start)
        self._clock.add("grade", time.perf_counter() - last_generation)
        missing = [prompt.id for prompt in prompts if prompt.id not in groups]
        if missing:
            raise IntegrityError(f"{len(missing)} prompts have no group, the first is {missing[0]}")
        return [groups[prompt.id] for prompt in prompts]
