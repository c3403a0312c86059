"""One place in the pool of generators: the actor that holds it now, and what it is good for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import ray
from ray import ObjectRef

from actors.waiting import NamedActor, wait_for
from contracts.errors import CoevolveError, DeadlineError

State = Literal["starting", "started", "serving"]
"""``started``: it runs, with the initial weights. ``serving``: it has the run's weights."""


class Member:
    """A generator that is launched at once, and may be launched anew.

    ``missed``: it was told that no machine has room for it.

    Args:
        index: its number.
        launch: starts an actor of that number.
    """

    def __init__(self, index: int, launch: Callable[[int], NamedActor]) -> None:
        self.index = index
        self.outstanding = 0.0
        self._launch = launch
        self.launch()

    def launch(self) -> None:
        """Start an actor in this place."""
        self.state: State = "starting"
        self.outstanding = 0.0
        self.missed = False
        self._since, self._on_machine = time.monotonic(), False
        self.actor = self._launch(self.index)
        self._placed: ObjectRef[Any] = self.actor.handle.__ray_ready__.remote()
        self._started: ObjectRef[Any] = self.actor.handle.start.remote()

    @property
    def name(self) -> str:
        """Its name in messages."""
        return self.actor.name

    @property
    def is_placed(self) -> bool:
        """Whether a machine had room for it: its process runs, or ran."""
        if not self._on_machine and ray.wait([self._placed], timeout=0)[0]:
            self._on_machine, self._since = True, time.monotonic()
        return self._on_machine

    @property
    def waited(self) -> float:
        """Seconds since it was launched; once it is placed, since that was seen."""
        return time.monotonic() - self._since

    def wait_until_started(self, seconds: float) -> None:
        """Wait until its engine runs.

        Raises:
            DeadlineError: it does not, after ``seconds``.
            CoevolveError: the engine or its actor failed.
        """
        what = f"{self.name} to start"
        try:
            wait_for(self._started, seconds=seconds, what=what, actors=[self.actor])
        except DeadlineError as error:
            if self.is_placed:
                raise
            raise DeadlineError(f"a machine with room for {self.name}", seconds) from error
        if self.state == "starting":
            self.state = "started"

    def look(self) -> CoevolveError | None:
        """See whether a start has come to its end, without waiting; what it failed of."""
        if self.state != "starting":
            return None
        done, _ = ray.wait([self._started], timeout=0)
        if not done:
            return None
        try:
            self.wait_until_started(0.0)
        except CoevolveError as error:
            return error
        return None
