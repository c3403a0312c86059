"""Grader processes with a hard kill at the deadline. Usable without Ray."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psutil
from pebble import ProcessExpired, ProcessFuture, ProcessPool

from actors.graders.registry import quick_grade
from actors.graders.worker import DEADLINE_SIGNAL, Failure, grade_all, prepare
from contracts.grammar import last_boxed
from contracts.types import Grade, Reason

_PRELOAD = ["__main__", "actors.graders.preload"]
_ATTEMPTS = 3
_START_SECONDS = 90.0
_STALL_SECONDS = 10.0
_POLL_SECONDS = 0.5
_WALL_FACTOR = 3.0
_WALL_EACH = 0.5
_KILL_SECONDS = 5.0
_SHOWN = 200

_log = logging.getLogger(__name__)

Trouble = TimeoutError | ProcessExpired | BrokenProcessPool | CancelledError
Results = list[Grade | Failure]


@dataclass(frozen=True, slots=True)
class Question:
    """Responses to be graded by grader ``name`` against one gold answer."""

    name: str
    gold: str
    responses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Responses in a pool."""

    name: str
    gold: str
    responses: list[str]
    pool: ProcessPool
    future: ProcessFuture[Results]


class _Watch:
    """Whether a pool still gets anywhere. Its processes may be frozen, and then nothing ends."""

    def __init__(self) -> None:
        self._seen, self._works, self._longest = time.monotonic(), False, 0.0

    def submitted(self, wall: float, *, first: bool) -> None:
        """A batch was handed in that may take ``wall`` seconds; ``first``: the pool was idle."""
        self._longest = max(self._longest, wall)
        if first:
            self._seen = time.monotonic()

    def ended(self) -> None:
        """A batch has come to an end, this way or that."""
        self._seen, self._works = time.monotonic(), True

    @property
    def stalled(self) -> bool:
        """Whether nothing has come to an end for longer than any batch may take."""
        patience = _STALL_SECONDS if self._works else _START_SECONDS
        return time.monotonic() - self._seen > patience + self._longest + _KILL_SECONDS


class GraderProcesses:
    """Grades responses; whatever a response does to a grader, a grade comes back.

    What can be graded in linear time is graded in the calling process. The rest is sent, one
    batch per call, to a pool of processes, which start when they are first needed. A batch that
    runs into the deadline, or kills its process, is graded again one by one, so that only the
    culprits are graded ``timeout`` or ``error``. Safe to call from several threads.

    Args:
        workers: grader processes.
        deadline: seconds of processor time a grader may take for one response. One that waits
            without computing is killed after about three times as long.
    """

    def __init__(self, *, workers: int, deadline: float) -> None:
        self._workers, self._deadline = workers, deadline
        self._lock = threading.Lock()
        self._pending = 0
        self._closed = False
        self._pool, self._watch = self._new_pool(), _Watch()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def grade(self, name: str, gold: str, responses: Sequence[str]) -> list[Grade]:
        """Grade ``responses`` to one question by grader ``name``, in order.

        Raises:
            UserError: there is no grader of that name.
        """
        return self.grade_many([Question(name, gold, tuple(responses))])[0]

    def grade_many(self, questions: Sequence[Question]) -> list[list[Grade]]:
        """Grade the responses to several questions, in order; all processes take part.

        Raises:
            UserError: there is no grader of a name that is asked for.
        """
        quick = [
            [quick_grade(asked.name, response, asked.gold) for response in asked.responses]
            for asked in questions
        ]
        batches = [
            self._submit(asked.name, asked.gold, rest) if rest else None
            for asked, grades in zip(questions, quick, strict=True)
            for rest in [[r for r, g in zip(asked.responses, grades, strict=True) if g is None]]
        ]
        graded = []
        for grades, batch in zip(quick, batches, strict=True):
            slow = iter(self._slow(batch) if batch else ())
            graded.append([grade or next(slow) for grade in grades])
        return graded

    def close(self) -> None:
        """End all grader processes, what they are doing included. Later calls raise."""
        with self._lock:
            self._closed = True
            _end(self._pool)

    def _new_pool(self) -> ProcessPool:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
        return ProcessPool(max_workers=self._workers, initializer=prepare, context=context)

    def _slow(self, batch: _Batch) -> list[Grade]:
        """Grades from the processes: of the batch, or one by one where that failed."""
        name, gold, responses = batch.name, batch.gold, batch.responses
        results = self._results(batch)
        if not isinstance(results, list) and len(responses) > 1:
            batches = [self._submit(name, gold, [response]) for response in responses]
            outcomes = [self._results(batch) for batch in batches]
        else:
            outcomes = [results]
        flat: list[Grade | Failure | Trouble] = []
        for outcome in outcomes:
            flat.extend(outcome if isinstance(outcome, list) else [outcome])
        return [
            _settled(name, gold, response, result)
            for response, result in zip(responses, flat, strict=True)
        ]

    def _submit(self, name: str, gold: str, responses: list[str]) -> _Batch:
        with self._lock:
            if self._closed:
                raise RuntimeError("the grader processes have been closed")
            self._pending += 1
            try:
                future = self._schedule(name, gold, responses)
            except RuntimeError:  # what pebble raises when the pool has broken
                self._pool, self._watch = self._new_pool(), _Watch()
                future = self._schedule(name, gold, responses)
            self._watch.submitted(self._wall(responses), first=self._pending == 1)
            return _Batch(name, gold, responses, self._pool, future)

    def _schedule(self, name: str, gold: str, responses: list[str]) -> ProcessFuture[Results]:
        return self._pool.schedule(
            grade_all, args=(name, gold, responses, self._deadline), timeout=self._wall(responses)
        )

    def _wall(self, responses: list[str]) -> float:
        """Seconds by the clock for a batch: only for graders that wait, so it may be generous."""
        return _WALL_FACTOR * self._deadline + _WALL_EACH * len(responses)

    def _results(self, batch: _Batch) -> Results | Trouble:
        """What became of ``batch``; sent again where the pool, not the batch, was at fault."""
        trouble: Trouble
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._result(batch)
            except ProcessExpired as error:
                return error
            except TimeoutError as error:
                if batch.future.done():
                    return error
                trouble = error
            except (BrokenProcessPool, CancelledError) as error:
                trouble = error
            finally:
                with self._lock:
                    self._pending -= 1
            self._replace(batch.pool)
            if attempt < _ATTEMPTS:
                batch = self._submit(batch.name, batch.gold, batch.responses)
        return BrokenProcessPool(f"the grader pool broke {_ATTEMPTS} times: {trouble!r}")

    def _result(self, batch: _Batch) -> Results:
        """Wait for ``batch`` as long as its pool gets anywhere.

        Raises:
            TimeoutError: the batch took too long (its future is done), or the pool is stalled.
        """
        while True:
            try:
                return batch.future.result(timeout=_POLL_SECONDS)
            except TimeoutError:
                stalled = batch.pool is not self._pool or self._watch.stalled
                if batch.future.done() or stalled:
                    raise
            finally:
                if batch.future.done():
                    self._watch.ended()

    def _replace(self, pool: ProcessPool) -> None:
        """Make the pool anew, unless another thread has done so already."""
        with self._lock:
            if pool is self._pool and not self._closed:
                _log.warning("the grader pool broke; starting it again")
                _kill_frozen()
                _end(pool)
                self._pool, self._watch = self._new_pool(), _Watch()


def _kill_frozen() -> None:
    """Kill what is stopped among this process's own.

    That may be the server that grader processes are forked from: nothing can be started, or
    ended in good order, until it is gone and has been started anew.
    """
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if process.status() == psutil.STATUS_STOPPED:
                process.kill()


def _end(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


def _settled(name: str, gold: str, response: str, result: Grade | Failure | Trouble) -> Grade:
    """``result``, or the grade of a response that its grader could not cope with, logged."""
    if isinstance(result, Grade):
        return result
    answer = last_boxed(response)
    reason = Reason.TIMEOUT if _ran_out_of_time(result) else Reason.ERROR
    why = result.traceback if isinstance(result, Failure) else repr(result)
    _log.warning(
        "grader %s: %s on %s against %s: %s", name, reason, _clip(answer), _clip(gold), why
    )
    return Grade(0.0, False, answer, reason)


def _ran_out_of_time(result: Failure | Trouble) -> bool:
    if isinstance(result, ProcessExpired):
        return bool(result.exitcode == -DEADLINE_SIGNAL)
    return isinstance(result, TimeoutError)


def _clip(text: str | None) -> str:
    if text is None or len(text) <= _SHOWN:
        return repr(text)
    return f"{text[:_SHOWN]!r} ({len(text)} characters)"
