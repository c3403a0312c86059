"""The learner's line to the generators during a weight broadcast."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import ray

from actors.waiting import NamedActor, wait_for
from contracts.errors import CoevolveError, DeadlineError

Phase = Literal["init", "start", "transfer", "finish"]

GRACE_SECONDS = 3.0
"""How much longer than a phase the transport itself may take: the call to the engines, which
can name who is silent, is to give up first."""


class Progress:
    """How far one broadcast has come. Each has its own: a thread left behind spoils no other."""

    def __init__(self) -> None:
        self.phase: Phase | None = None
        self.since = 0.0
        self.seconds: dict[str, float] = {}
        self.failure: CoevolveError | None = None

    @contextmanager
    def during(self, phase: Phase) -> Iterator[None]:
        """Time the block as (a part of) ``phase``, and keep the error it ends with."""
        self.phase, self.since = phase, time.monotonic()
        try:
            yield
        except CoevolveError as error:
            self.failure = error
            raise
        finally:
            taken = time.monotonic() - self.since
            self.seconds[phase] = self.seconds.get(phase, 0.0) + taken
            self.phase = None


class GeneratorClient:
    """vLLM's weight-sync client over Ray, with a rank for each engine and deadlines for all.

    vLLM's own client tells every engine the same ``rank_offset``, so that the workers of
    several engines would claim the same ranks.

    Args:
        generators: the engines' actors.
        workers: workers per engine (tensor parallelism).
        seconds: deadline of each phase.
    """

    def __init__(self, generators: Sequence[NamedActor], *, workers: int, seconds: float) -> None:
        self.generators = tuple(generators)
        self.workers = workers
        self.seconds = seconds
        self.version = 0
        self.progress = Progress()

    @property
    def world_size(self) -> int:
        """Members of a transfer group: the sender and every worker of every engine."""
        return 1 + self.workers * len(self.generators)

    def begin(self, version: int) -> None:
        """A new broadcast: what is timed and announced from now on is of ``version``."""
        self.version = version
        self.progress = Progress()

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Call every engine into a transfer group, each with ranks of its own.

        Each is asked for a sign of life first: inside, all wait for one that is missing, and
        it could not be told from the others.
        """
        self._call("init", "version")
        invited = invitations(init_info, len(self.generators), self.workers)
        self._call("init", "init_weight_transfer_engine", invited)

    def start_weight_update(self) -> None:
        """Make every engine stop sampling and get ready."""
        self._call("start", "start_weight_update")

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Make every engine receive. Runs while this side sends."""
        # By reference: names and shapes of a large model are stored once, not once an engine.
        shared = ray.put(update_info)
        self._call("transfer", "update_weights", [shared] * len(self.generators))

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Make every engine take the weights into use, under the announced version."""
        version = weight_version or str(self.version)
        self._call("finish", "finish_weight_update", [version] * len(self.generators))

    def abandon(self) -> None:
        """Tell every engine that the update is off. Nobody is waited for."""
        for generator in self.generators:
            generator.handle.abandon_weight_update.remote()

    def trouble(self) -> CoevolveError | None:
        """Why the running phase will not come to its end, as soon as that is known."""
        progress = self.progress
        if progress.failure is not None or progress.phase is None:
            return progress.failure
        if time.monotonic() - progress.since < self.seconds + 2 * GRACE_SECONDS:
            return None
        return DeadlineError(self._what(progress.phase), self.seconds)

    def _call(self, phase: Phase, method: str, arguments: Sequence[Any] | None = None) -> None:
        with self.progress.during(phase):
            references = [
                getattr(generator.handle, method).remote(
                    *(() if arguments is None else (arguments[index],))
                )
                for index, generator in enumerate(self.generators)
            ]
            wait_for(
                references, seconds=self.seconds, what=self._what(phase), actors=self.generators
            )

    def _what(self, phase: Phase) -> str:
        names = ", ".join(generator.name for generator in self.generators)
        of = "" if phase == "init" else f" of version {self.version}"
        return f"phase '{phase}' of the weight broadcast{of} to {names}"


def invitations(init_info: dict[str, Any], engines: int, workers: int) -> list[dict[str, Any]]:
    """``init_info`` for each of ``engines``, with ranks of its own for its ``workers``."""
    first = int(init_info["rank_offset"])
    return [init_info | {"rank_offset": first + index * workers} for index in range(engines)]
