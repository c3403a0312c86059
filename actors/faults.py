"""Faults that a run survives: they are told, counted, and no more of them put up with than said."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from contracts.config import FaultConfig
from contracts.errors import CoevolveError


class BudgetSpentError(CoevolveError):
    """Actors of one kind failed more often than the run puts up with."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something failed and is mended. ``kind`` is one of few; ``name`` tells which of them."""

    kind: str
    name: str
    cause: CoevolveError


Tell = Callable[[Fault], None]


class RestartBudget:
    """Restarts of one kind of actor. Safe to use from several threads.

    Args:
        kind: ``generator``, ``verifier``, ...
        config: how many restarts within what time.
        tell: called with each fault that the budget covers.
        clock: seconds.
    """

    def __init__(
        self,
        kind: str,
        config: FaultConfig,
        tell: Tell,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kind, self._limit, self._window = kind, config.restarts, config.window
        self._tell, self._clock = tell, clock
        self._lock = threading.Lock()
        self._times: deque[float] = deque()

    def spend(self, name: str, cause: CoevolveError) -> None:
        """Count a fault of ``name``.

        Raises:
            BudgetSpentError: there were too many; says what died, how often, and of what last.
        """
        with self._lock:
            now = self._clock()
            while self._times and self._times[0] <= now - self._window:
                self._times.popleft()
            if len(self._times) >= self._limit:
                raise BudgetSpentError(
                    f"fault {len(self._times) + 1} of the {self._kind} within "
                    f"{self._window:.0f} s (faults.restarts={self._limit}); "
                    f"the last: {cause}"
                ) from cause
            self._times.append(now)
        self._tell(Fault(self._kind, name, cause))
