"""Whether weights may be replaced while completions are being sampled."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Keeps sampling and weight updates apart, or does not.

    Args:
        closed: whether an update waits for the batch that is being sampled to end. A waiting
            update goes before the next batch.
    """

    def __init__(self, *, closed: bool) -> None:
        self._closed = closed
        self._turn, self._busy = threading.Lock(), threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Sample, or replace weights, within it."""
        if not self._closed:
            yield
            return
        # Who waits holds the turn, so that the other cannot come by again and again.
        with self._turn:
            self._busy.acquire()
        try:
            yield
        finally:
            self._busy.release()
