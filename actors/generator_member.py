"""One place in the pool of generators: the actor that holds it now, and what it is good for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import ray
from ray import ObjectRef

from actors.waiting import NamedActor, wait_for
from contracts.errors import CoevolveError

State = Literal["starting", "started", "serving"]
"""``started``: it runs, with the initial weights. ``serving``: it has the run's weights."""


class Member:
    """A generator that is launched at once, and may be launched anew.

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
        self.actor = self._launch(self.index)
        self._started: ObjectRef[Any] = self.actor.handle.start.remote()

    @property
    def name(self) -> str:
        """Its name in messages."""
        return self.actor.name

    def wait_until_started(self, seconds: float) -> None:
        """Wait until its engine runs.

        Raises:
            DeadlineError: it does not, after ``seconds``.
            CoevolveError: the engine or its actor failed.
        """
        what = f"{self.name} to start"
        wait_for(self._started, seconds=seconds, what=what, actors=[self.actor])
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
