"""The generators of a run as one: start, deal prompts out, gather, stop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import ObjectRef, ObjectRefGenerator

from actors.engine import WORKER_EXTENSION, engine_environment, with_devices
from actors.generator import Generator, Sampling
from actors.stopping import stop_actors
from actors.waiting import NamedActor, wait_for
from contracts.config import RunConfig
from contracts.errors import DeadlineError
from contracts.types import Generation, Prompt
from learner.packing import balance


class GeneratorPool:
    """All generators of a run. Made by ``start``.

    Args:
        config: the run, with devices settled.
        actors: the running generators.
    """

    def __init__(self, config: RunConfig, actors: Sequence[NamedActor]) -> None:
        self._config = config
        self.actors = tuple(actors)

    @classmethod
    def start(
        cls,
        config: RunConfig,
        model_folder: Path,
        log_folder: Path,
        *,
        worker_extension: str = WORKER_EXTENSION,
    ) -> GeneratorPool:
        """Start all engines at once, and wait until each can sample.

        Args:
            config: the run; ``auto`` devices are settled here.
            model_folder: a Hugging Face model folder, readable where the actors run.
            log_folder: where ``generator-0.log`` and so on go.
            worker_extension: qualified name of the class added to vLLM's worker.

        Raises:
            DeadlineError: an engine did not start within ``deadlines.start``.
            CoevolveError: an engine failed to start.
        """
        pool = cls.launch(config, model_folder, log_folder, worker_extension=worker_extension)
        pool.wait_until_started()
        return pool

    @classmethod
    def launch(
        cls,
        config: RunConfig,
        model_folder: Path,
        log_folder: Path,
        *,
        worker_extension: str = WORKER_EXTENSION,
    ) -> GeneratorPool:
        """Like ``start``, without waiting: other actors can start meanwhile.

        ``wait_until_started`` must be called before anything else.
        """
        config = with_devices(config)
        kind = ray.remote(Generator).options(**_resources(config))
        actors = []
        for index in range(config.generators.count):
            name = f"generator {index}"
            log = log_folder.resolve() / f"generator-{index}.log"
            handle = kind.remote(name, config, model_folder.resolve(), log, worker_extension)
            actors.append(NamedActor(handle, name, log))
        pool = cls(config, actors)
        pool._starting = [actor.handle.start.remote() for actor in actors]
        return pool

    _starting: Sequence[ObjectRef[Any]] = ()

    def wait_until_started(self) -> None:
        """Wait until each engine can sample; on failure stop them all."""
        try:
            wait_for(
                self._starting,
                seconds=self._config.deadlines.start,
                what="the generators to start",
                actors=self.actors,
            )
        except BaseException:
            self.stop()
            raise

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        completions: int,
        max_tokens: int,
        temperature: float,
        seed: int,
    ) -> Iterator[ObjectRef[Generation]]:
        """Sample ``completions`` completions of each prompt.

        The work is handed out at once; references to ``Generation`` come as prompts end,
        in no fixed order: sort by prompt where order matters. The same prompts, seed and
        weights give the same tokens and log-probabilities (CPU).

        Args:
            prompts: the batch.
            completions: completions per prompt.
            max_tokens: longest completion; less where the context has less room.
            temperature: 0 is greedy, with one completion per prompt.
            seed: fixes all that is drawn.

        Raises:
            DeadlineError: the batch was not done within ``deadlines.generate``.
            CoevolveError: a generator failed.
        """
        end = time.monotonic() + self._config.deadlines.generate
        weights = [_expected_tokens(prompt, completions, max_tokens) for prompt in prompts]
        streams: dict[ObjectRefGenerator, NamedActor] = {}
        shares = balance(weights, len(self.actors))
        seeds = np.random.SeedSequence(seed).generate_state(len(self.actors))
        for actor, share, own_seed in zip(self.actors, shares, seeds, strict=True):
            if share:
                sampling = Sampling(completions, max_tokens, temperature, int(own_seed))
                method = actor.handle.generate.options(num_returns="streaming")
                streams[method.remote([prompts[i] for i in share], sampling)] = actor
        return self._gather(streams, end, len(prompts))

    def _gather(
        self, streams: dict[ObjectRefGenerator, NamedActor], end: float, expected: int
    ) -> Iterator[ObjectRef[Generation]]:
        """References from all streams, whichever has one first."""
        seconds = self._config.deadlines.generate
        got = 0
        held: dict[ObjectRefGenerator, ObjectRef[Generation]] = {}
        while streams:
            ready, _ = ray.wait(
                list(streams), num_returns=1, timeout=max(0.0, end - time.monotonic())
            )
            if not ready:
                names = ", ".join(actor.name for actor in streams.values())
                raise DeadlineError(f"{expected - got} of {expected} prompts from {names}", seconds)
            stream = ready[0]
            actor = streams[stream]
            try:
                reference = next(stream)
            except StopIteration:
                del streams[stream]
                self._check(stream, actor)
                if stream in held:
                    yield self._sound(held.pop(stream), actor)
                continue
            got += 1
            if stream in held:
                yield held[stream]
            held[stream] = reference

    def _check(self, stream: ObjectRefGenerator, actor: NamedActor) -> None:
        """Raise what a stream that has come to its end died of, if it did."""
        wait_for(stream.completed(), seconds=30.0, what=f"the end of {actor.name}", actors=[actor])

    def _sound(self, reference: ObjectRef[Generation], actor: NamedActor) -> ObjectRef[Generation]:
        """The last reference of a stream: Ray puts what an actor raised in its place."""
        wait_for(reference, seconds=30.0, what=f"the last prompt of {actor.name}", actors=[actor])
        return reference

    def checksums(self) -> list[dict[str, str]]:
        """Per engine: SHA-256 of what it computes with, by Hugging Face parameter name."""
        return self._each("checksums", "checksums of the generators' weights")

    def versions(self) -> list[int]:
        """Per engine: version of its weights."""
        return self._each("version", "the generators' weight versions")

    def _each(self, method: str, what: str) -> list[Any]:
        references = [getattr(actor.handle, method).remote() for actor in self.actors]
        seconds = self._config.transfer.deadline
        return list(wait_for(references, seconds=seconds, what=what, actors=self.actors))

    def stop(self) -> None:
        """End all engines: in good order within ``deadlines.stop``, then by force."""
        stop_actors(self.actors, seconds=self._config.deadlines.stop)


def _expected_tokens(prompt: Prompt, completions: int, max_tokens: int) -> float:
    """Rough work of a prompt, in tokens: the driver has no tokenizer, so four letters are one."""
    letters = sum(len(message.text()) for message in prompt.messages)
    return letters / 4 + completions * max_tokens


def _resources(config: RunConfig) -> dict[str, Any]:
    """Ray options of a generator: cores or GPUs, and the environment of its processes."""
    generators = config.generators
    gpu = generators.device == "cuda"
    return {
        "num_cpus": 1 if gpu else generators.threads,
        "num_gpus": generators.tensor_parallel if gpu else 0,
        "runtime_env": {"env_vars": engine_environment(generators)},
    }
