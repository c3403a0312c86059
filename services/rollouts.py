"""From prompts to graded groups: generators and verifier pool as one stream."""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.faults import RestartBudget, Tell
from actors.generator_pool import GeneratorPool
from actors.nodes import gone, living_nodes
from actors.refs import GroupRef
from actors.verifier_pool import VerifierPool
from actors.waiting import LostError
from contracts.config import RunConfig
from contracts.errors import IntegrityError
from contracts.types import Prompt
from services.clock import PhaseClock
from services.seeds import derive_seed

if TYPE_CHECKING:
    from ray import ObjectRef

    from contracts.types import Generation

Groups = dict[str, GroupRef]
"""By id of the prompt."""


@dataclass(frozen=True, slots=True)
class Draw:
    """How prompts are answered. Temperature 0 is greedy."""

    completions: int
    temperature: float
    seed: int


class Rollouts:
    """Samples completions of prompts and has them graded as they arrive.

    Args:
        generators, verifiers: the pools.
        config: the run.
        tell: called with each loss that is mended.
    """

    def __init__(
        self,
        generators: GeneratorPool,
        verifiers: VerifierPool,
        config: RunConfig,
        *,
        tell: Tell = lambda _: None,
    ) -> None:
        self._generators = generators
        self._verifiers = verifiers
        self._config = config
        self._budget = RestartBudget("answers", config.faults, tell)

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

        Every prompt has one group, also where a generator failed and another was asked, or
        where answers or groups were lost with the machine that they lay on.

        Raises:
            IntegrityError: a prompt has no group, or two have the same id.
            DeadlineError: generation or grading took too long.
            BudgetSpentError: actors failed, or answers were lost, too often.
        """
        if len({prompt.id for prompt in prompts}) != len(prompts):
            raise IntegrityError("two prompts of one batch have the same id")
        clock = clock or PhaseClock()
        groups: Groups = {}
        missing, again = list(prompts), 0
        while missing:
            draw = Draw(completions, temperature, _seed(seed, again))
            losses = self._round(missing, draw, groups, clock)
            missing = [prompt for prompt in missing if prompt.id not in groups]
            if missing and not losses:
                first = missing[0].id
                raise IntegrityError(f"{len(missing)} prompts have no group, the first is {first}")
            if missing:
                self._budget.spend(f"{len(missing)} groups", losses[0])
                again += 1
        return [groups[prompt.id] for prompt in prompts]

    def _round(
        self, prompts: Sequence[Prompt], draw: Draw, groups: Groups, clock: PhaseClock
    ) -> list[LostError]:
        """Ask for ``prompts`` once; what comes is put into ``groups``. What was lost."""
        losses: list[LostError] = []
        nodes = living_nodes()
        start = last = time.perf_counter()

        def watched() -> Iterator[ObjectRef[Generation]]:
            nonlocal last
            for ref in self._ask(prompts, draw, groups):
                last = time.perf_counter()
                yield ref

        for ref, summary in self._verifiers.grade(watched(), lost=losses.append):
            groups.setdefault(summary.prompt_id, GroupRef(ref, summary))
        if nodes - living_nodes():
            losses += self._drop_lost(groups)
        clock.add("generate", last - start)
        clock.add("grade", time.perf_counter() - last)
        return losses

    def _ask(
        self, prompts: Sequence[Prompt], draw: Draw, done: Container[str]
    ) -> Iterator[ObjectRef[Generation]]:
        return self._generators.generate(
            prompts,
            completions=draw.completions,
            max_tokens=self._config.sampling.max_tokens,
            temperature=draw.temperature,
            seed=draw.seed,
            done=done,
        )

    def _drop_lost(self, groups: Groups) -> list[LostError]:
        """Take groups out that lay on a node that has died; an error for each."""
        known = dict(groups)
        refs = [group.ref for group in known.values()]
        seconds, what = self._config.deadlines.grade, "a graded group"
        for name, lost in zip(known, gone(refs, seconds=seconds, what=what), strict=True):
            if lost:
                del groups[name]
        lost_ones = [name for name in known if name not in groups]
        return [LostError(f"the group of {name}", "its node died") for name in lost_ones]


def _seed(seed: int, again: int) -> int:
    """Of the first round the seed as given; what is asked again is drawn anew."""
    return derive_seed(seed, "again", again) if again else seed
