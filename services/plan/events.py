"""A clock that jumps from event to event, processes that wait for events, and shared processors.

A process is a generator that yields the events it waits for. What happens at one and the same
time happens in the order in which it was asked for, so that a simulation is repeatable.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any

Process = Generator["Event", Any, Any]
Callback = Callable[[], None]


class Event:
    """Something that happens once. ``value`` is what a process gets that waited for it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.happened = False
        self.value: Any = None
        self._waiting: list[Callback] = []

    def happen(self, value: Any = None) -> None:
        """Let it happen now; those who wait go on. Once only.

        Raises:
            ValueError: it has happened already.
        """
        if self.happened:
            raise ValueError("an event happens once")
        self.happened, self.value = True, value
        for callback in self._waiting:
            self.clock.soon(callback)
        self._waiting.clear()

    def then(self, callback: Callback) -> None:
        """Call ``callback`` when it happens; soon, if it has."""
        if self.happened:
            self.clock.soon(callback)
        else:
            self._waiting.append(callback)


class Clock:
    """Simulated time in seconds, and what is to happen at what time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Callback]] = []
        self._count = 0

    def at(self, time: float, callback: Callback) -> None:
        """Call ``callback`` at ``time``, or now where that is past."""
        self._count += 1
        heapq.heappush(self._queue, (max(time, self.now), self._count, callback))

    def soon(self, callback: Callback) -> None:
        """Call ``callback`` at this time, after what was asked for before."""
        self.at(self.now, callback)

    def sleep(self, seconds: float) -> Event:
        """An event that happens in ``seconds``."""
        event = Event(self)
        self.at(self.now + seconds, event.happen)
        return event

    def start(self, process: Process) -> Event:
        """Run ``process``; the event of its end has what it returned."""
        end = Event(self)

        def go_on(before: Event | None = None) -> None:
            try:
                event = process.send(before.value if before is not None else None)
            except StopIteration as stop:
                end.happen(stop.value)
                return
            event.then(lambda: go_on(event))

        self.soon(go_on)
        return end

    def all(self, events: Iterable[Event]) -> Event:
        """An event that happens when all of ``events`` have."""
        waiting = [event for event in events if not event.happened]
        end, left = Event(self), len(waiting)
        if not waiting:
            self.soon(end.happen)

        def one() -> None:
            nonlocal left
            left -= 1
            if not left:
                end.happen()

        for event in waiting:
            event.then(one)
        return end

    def run(self, until: Event) -> Any:
        """Let time pass until ``until`` happens; its value.

        Raises:
            RuntimeError: everybody waits, and nothing will happen any more.
        """
        while not until.happened:
            if not self._queue:
                raise RuntimeError("the simulation stands still: everybody waits for somebody")
            self.now, _, callback = heapq.heappop(self._queue)
            callback()
        return until.value


class Work(Event):
    """A job on processors; it happens when it is done. Can be stopped."""

    def __init__(self, processors: Processors, seconds: float, demand: float) -> None:
        super().__init__(processors.clock)
        self.demand = demand
        self._processors = processors
        self._begin = processors.progress
        self.end = self._begin + seconds
        self.stopped = False

    @property
    def done(self) -> float:
        """Seconds of it that are done, as it would take alone."""
        return min(self._processors.progress, self.end) - self._begin

    def stop(self) -> None:
        """Give it up: it will not happen, and takes nothing any more."""
        if not self.happened and not self.stopped:
            self.stopped = True
            self._processors.leave(self)


class Processors:
    """``count`` processors that all jobs share evenly: each has its demand, or as much less.

    A job of demand d keeps d processors busy when it is alone. Where all demands come to more
    than there are processors, every job goes slower by the same factor. (Egalitarian processor
    sharing: Kleinrock, Queueing Systems II, 1976, 4.4.) With ``math.inf`` processors nobody
    waits for anybody. ``background``: demand of jobs that are always there.

    ``progress`` is how far a job has come that has always been there: one number for all jobs,
    so that an arrival or an end costs the logarithm of the number of jobs.
    """

    def __init__(self, clock: Clock, count: float = math.inf, background: float = 0.0) -> None:
        self.clock = clock
        self.count = count
        self._background = background
        self._demand = 0.0
        self._jobs: list[tuple[float, int, Work]] = []
        self._progress = 0.0
        self._looked = 0.0
        self._number = 0
        self._alarm = 0

    @property
    def rate(self) -> float:
        """Seconds of progress a second: 1 where there is enough for all."""
        demand = self._demand + self._background
        return 1.0 if demand <= self.count else self.count / demand

    @property
    def progress(self) -> float:
        """Progress of a job that has been there from the start, in seconds of its own."""
        return self._progress + (self.clock.now - self._looked) * self.rate

    def work(self, seconds: float, demand: float = 1.0) -> Work:
        """A job that takes ``seconds`` alone, on ``demand`` processors."""
        self._look()
        job = Work(self, seconds, demand)
        self._number += 1
        heapq.heappush(self._jobs, (job.end, self._number, job))
        self._demand += demand
        self._set_alarm()
        return job

    def leave(self, job: Work) -> None:
        """Take ``job`` out; for ``Work.stop``."""
        self._look()
        self._demand -= job.demand
        self._set_alarm()

    def _look(self) -> None:
        self._progress, self._looked = self.progress, self.clock.now

    def _set_alarm(self) -> None:
        """Look again when the next job would be done. Alarms set before are out of date."""
        while self._jobs and self._jobs[0][2].stopped:
            heapq.heappop(self._jobs)
        self._alarm += 1
        if not self._jobs:
            self._demand = 0.0
            return
        number = self._alarm
        left = max(0.0, self._jobs[0][0] - self._progress) / self.rate
        self.clock.at(self.clock.now + left, lambda: self._ring(number))

    def _ring(self, number: int) -> None:
        if number != self._alarm:
            return
        self._look()
        _, _, job = heapq.heappop(self._jobs)
        self._progress = max(self._progress, job.end)
        self._demand -= job.demand
        job.happen()
        self._set_alarm()


class Turns:
    """One at a time, first come, first served: ``take``, and ``give`` when through."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._taken = False
        self._waiting: deque[Event] = deque()

    def take(self) -> Event:
        """An event that happens when it is one's turn."""
        event = Event(self._clock)
        if self._taken:
            self._waiting.append(event)
        else:
            self._taken = True
            self._clock.soon(event.happen)
        return event

    def give(self) -> None:
        """It is the next one's turn."""
        if self._waiting:
            self._clock.soon(self._waiting.popleft().happen)
        else:
            self._taken = False
