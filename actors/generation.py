"""One batch of prompts on its way through the generators, whatever befalls them."""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import ray
from ray import ObjectRef, ObjectRefGenerator

from actors.waiting import ActorError, NamedActor, wait_for
from contracts.errors import DeadlineError
from contracts.types import Generation, Prompt

if TYPE_CHECKING:
    from actors.generator import Sampling
    from actors.generator_member import Member
    from actors.generator_pool import GeneratorPool
    from contracts.config import DeadlineConfig

POLL_SECONDS = 0.2
LAST_SECONDS = 30.0
"""How long what a stream has already ended with may take to be fetched."""


@dataclass(slots=True)
class Stream:
    """What one generator was asked for. ``each``: expected tokens of a prompt."""

    member: Member
    actor: NamedActor
    prompts: list[Prompt]
    each: float
    open: int
    held: ObjectRef[Generation] | None = None


@dataclass
class Streams:
    """Gathers a batch. Prompts of a generator that fails are dealt out again.

    ``expected``: prompts of the batch, for messages.
    """

    pool: GeneratorPool
    deadlines: DeadlineConfig
    expected: int
    got: int = 0
    rounds: int = 0
    _streams: dict[ObjectRefGenerator, Stream] = field(default_factory=dict)

    def run(
        self, prompts: list[Prompt], sampling: Sampling, done: Container[str]
    ) -> Iterator[ObjectRef[Generation]]:
        """Hand ``prompts`` out; references to their generations, as they end."""
        self._end = time.monotonic() + self.deadlines.generate
        todo = self._hand_out(prompts, sampling)
        return self._gather(todo, sampling, done)

    def _hand_out(self, prompts: list[Prompt], sampling: Sampling) -> list[Prompt]:
        """Deal ``prompts``; those that nobody can take now."""
        shares = self.pool.deal(prompts, sampling)
        if not shares:
            return prompts
        # Later rounds are of prompts that had to be asked again, with other draws.
        entropy = sampling.seed if self.rounds == 0 else [sampling.seed, self.rounds]
        seeds = np.random.SeedSequence(entropy).generate_state(1 + max(m.index for m in shares))
        for member, share in shares.items():
            self._open(member, share, replace(sampling, seed=int(seeds[member.index])))
        self.rounds += 1
        return []

    def _open(self, member: Member, share: list[Prompt], sampling: Sampling) -> None:
        actor = member.actor
        stream = actor.handle.generate.options(num_returns="streaming").remote(share, sampling)
        each = sum(expected_tokens(prompt, sampling) for prompt in share) / len(share)
        self._streams[stream] = Stream(member, actor, share, each, len(share))

    def _gather(
        self, todo: list[Prompt], sampling: Sampling, done: Container[str]
    ) -> Iterator[ObjectRef[Generation]]:
        looked = time.monotonic()
        while todo or self._streams:
            todo = self._hand_out(todo, sampling) if todo else todo
            ready = self._wait()
            if time.monotonic() - looked > self.deadlines.health:
                self.pool.check(self.deadlines.health)
                looked = time.monotonic()
            for stream in ready:
                try:
                    yield from self._take(stream)
                except ActorError as error:
                    lost = self._lost(stream, error)
                    todo += [prompt for prompt in lost if prompt.id not in done]

    def _wait(self) -> Sequence[ObjectRefGenerator]:
        """Streams that have something, after a moment at most.

        Raises:
            DeadlineError: the batch is overdue.
        """
        if time.monotonic() > self._end:
            names = {stream.member.name for stream in self._streams.values()}
            raise DeadlineError(
                f"{self.expected - self.got} of {self.expected} prompts from "
                f"{', '.join(sorted(names)) or 'a generator to start anew'}",
                self.deadlines.generate,
            )
        if not self._streams:
            time.sleep(POLL_SECONDS)
            return []
        ready, _ = ray.wait(list(self._streams), num_returns=1, timeout=POLL_SECONDS)
        return list(ready)

    def _take(self, generator: ObjectRefGenerator) -> Iterator[ObjectRef[Generation]]:
        """What a stream has now.

        Ray puts what an actor raised in the place of the last reference; so each is held back
        until the next one, or a sound end, shows that it is a generation.

        Raises:
            ActorError: the generator failed.
        """
        stream = self._streams[generator]
        try:
            reference = next(generator)
        except StopIteration:
            what = f"the end of {stream.actor.name}"
            last = [generator.completed(), *([stream.held] if stream.held is not None else [])]
            for one in last:
                wait_for(one, seconds=LAST_SECONDS, what=what, actors=[stream.actor])
            del self._streams[generator]
            self.pool.relieve(stream.member, stream.actor, stream.open * stream.each)
            if stream.held is not None:
                yield stream.held
            return
        self.got += 1
        if stream.held is not None:
            self.pool.relieve(stream.member, stream.actor, stream.each)
            stream.open -= 1
            yield stream.held
        stream.held = reference

    def _lost(self, generator: ObjectRefGenerator, error: ActorError) -> list[Prompt]:
        """Give up a stream whose generator failed; its prompts."""
        stream = self._streams.pop(generator)
        self.pool.failed(stream.actor, error)
        return stream.prompts


def expected_tokens(prompt: Prompt, sampling: Sampling) -> float:
    """Rough work of a prompt, in tokens: the driver has no tokenizer, so four letters are one."""
    letters = sum(len(message.text()) for message in prompt.messages)
    return letters / 4 + sampling.completions * sampling.max_tokens
