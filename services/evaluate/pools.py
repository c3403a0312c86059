"""The actors that answer: one Ray session, verifiers, and the engines of one model at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from actors.generator_pool import GeneratorPool
from actors.runtime import ray_session
from actors.verifier_pool import VerifierPool
from actors.waiting import wait_for
from contracts.config import RunConfig
from contracts.errors import CoevolveError
from contracts.types import Group, Prompt
from services.evaluate.engine import Sampler
from services.evaluate.models import Model
from services.rollouts import Rollouts

Progress = Callable[[str], None]
"""Called with a line on what is being done."""


@dataclass(frozen=True)
class Pools:
    """Verifiers that all models share. Made by ``started``."""

    verifiers: VerifierPool
    logs: Path
    progress: Progress

    @classmethod
    @contextmanager
    def started(cls, config: RunConfig, logs: Path, progress: Progress) -> Iterator[Pools]:
        """A Ray session with verifiers, for the length of the block."""
        progress("starting")
        with ray_session(logs):
            verifiers = VerifierPool.start(config, logs)
            try:
                yield cls(verifiers, logs, progress)
            finally:
                verifiers.stop()

    @contextmanager
    def of_model(self, model: Model) -> Iterator[Sampler]:
        """Engines of ``model`` with the verifiers, for the length of the block."""
        with engines(model, self.logs, self.progress) as generators:
            rollouts = Rollouts(generators, self.verifiers, model.config)

            def sampled(
                prompts: Sequence[Prompt], *, completions: int, temperature: float, seed: int
            ) -> list[Group]:
                refs = rollouts.sample(
                    prompts, completions=completions, temperature=temperature, seed=seed
                )
                seconds = model.config.deadlines.grade
                return list(wait_for([r.ref for r in refs], seconds=seconds, what="graded groups"))

            yield sampled


@contextmanager
def engines(model: Model, logs: Path, progress: Progress) -> Iterator[GeneratorPool]:
    """The engines of a model, for the length of the block; a Ray session runs already."""
    progress(f"starting {model.name}")
    folder = logs / model.name.strip("/").replace("/", "_")
    folder.mkdir(parents=True, exist_ok=True)
    pool = GeneratorPool.start(
        model.config, model.folder, folder, tell=lambda fault: progress(f"mended: {fault.name}")
    )
    try:
        with kept_serving(pool):
            yield pool
    finally:
        pool.stop()


@contextmanager
def kept_serving(pool: GeneratorPool) -> Iterator[None]:
    """Let an engine that started anew serve at once: its model's own weights are the right ones."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(1.0):
            try:
                if pool.lacks_weights:
                    pool.serve(pool.actors)
            except CoevolveError:
                # Whoever waits for the generators is told of it by the pool.
                return

    thread = threading.Thread(target=watch, name="kept-serving", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=5.0)
