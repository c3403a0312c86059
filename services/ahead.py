"""Work for the generators on a thread of its own, so that the learner can work meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from services.batches import Batch


class Ahead:
    """Batches made ahead of the learner: a bounded number, so that none gets too old.

    Batch n is begun when weight version n - 1 - ``staleness`` is there, so its oldest token is
    at most ``staleness`` versions behind when it is trained on.

    Args:
        make: makes the batch of a number; called in order, on one thread.
        staleness: batches ahead.
        last: number of the last batch of the run.
    """

    def __init__(self, make: Callable[[int], Batch], *, staleness: int, last: int) -> None:
        self._make, self._staleness, self._last = make, staleness, last
        self._queue: deque[Future[Batch]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")

    def fill(self, version: int) -> None:
        """Begin all batches that may be begun while the weights have ``version``."""
        upto = min(self._last, version + 1 + self._staleness)
        for number in range(version + 1 + len(self._queue), upto + 1):
            self._queue.append(self._thread.submit(self._make, number))

    @property
    def ready(self) -> int:
        """Batches that are made and wait for the learner."""
        return sum(batch.done() for batch in self._queue)

    def take(self) -> Future[Batch]:
        """The next batch, perhaps still in the making."""
        return self._queue.popleft()

    def close(self) -> None:
        """Begin nothing any more. What is under way fails when its actors end."""
        self._thread.shutdown(wait=False, cancel_futures=True)
