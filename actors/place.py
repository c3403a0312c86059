"""A place for an actor that holds nothing between calls, and so can be started anew at any time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

import ray
from ray.exceptions import RayError

from actors.faults import RestartBudget
from actors.waiting import NamedActor, wait_for
from contracts.errors import CoevolveError

HEALTH = "health"
"""Concurrency group in which an actor gives signs of life while it is at work."""

F = TypeVar("F", bound=Callable[..., Any])


def sign_of_life(method: F) -> F:
    """Mark a method of an actor class as answered at once, whatever the actor is doing.

    The class must be made an actor with ``concurrency_groups={HEALTH: 1}``.
    """
    return cast("F", ray.method(concurrency_group=HEALTH)(method))


class Place:
    """Safe to use from several threads.

    Args:
        launch: starts the actor.
        budget: of starting it anew.
    """

    def __init__(self, launch: Callable[[], NamedActor], budget: RestartBudget) -> None:
        self._launch, self._budget = launch, budget
        self._lock = threading.Lock()
        self._closed = False
        self.actor = launch()

    def failed(self, actor: NamedActor, error: CoevolveError) -> None:
        """Start it anew in the place of ``actor``, unless that was done already.

        Raises:
            BudgetSpentError: it failed too often.
            CoevolveError: ``error``, where the place is closed.
        """
        with self._lock:
            if self._closed:
                raise error
            if self.actor is actor:
                kill(actor)
                self._budget.spend(actor.name, error)
                self.actor = self._launch()

    def close(self) -> None:
        """End the actor by force, and start none any more."""
        with self._lock:
            self._closed = True
            kill(self.actor)


def kill(actor: NamedActor) -> None:
    """End an actor by force, dead or alive."""
    with contextlib.suppress(RayError):
        ray.kill(actor.handle)


def wait_until_alive(actors: list[NamedActor], *, seconds: float, what: str) -> Any:
    """Wait until all ``actors`` give a first sign of life.

    Raises:
        DeadlineError: one did not, within ``seconds``.
    """
    pings = [actor.handle.ping.remote() for actor in actors]
    return wait_for(pings, seconds=seconds, what=what, actors=actors)
