"""Variants in processes of their own, driven one at a time.

All are alive at once, so that their rounds can be paired: whatever else the machine does in a
minute falls on all of them. A process that waits for its turn sleeps, its threads too.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from contracts.errors import CoevolveError, DeadlineError

START_SECONDS = 600.0
"""How long a variant may take to load its model."""

TURN_SECONDS = 1800.0
"""How long one update may take."""

IDLE_SECONDS = 7200.0
"""How long a variant waits for its next turn."""

END_SECONDS = 60.0
"""How long a variant may take to say goodbye."""

TAIL = 15
"""Lines of a failed variant's output to show."""


LAUNCHED = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Variables by which a launcher tells a process that it is a rank of many: none of ours is."""


class BenchError(CoevolveError):
    """A variant's process ended by itself. The message has the end of its output."""


class Ended(BaseException):
    """No more turns. Not an ``Exception``: it has to come through a trainer's own handlers."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: what it took, and what it came to: an update's gradient norm, say."""

    seconds: float
    value: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a process: resident when it was ready for its first turn, and at its peak."""

    ready: int
    peak: int


class Turns:
    """A variant's side: it calls ``begin`` and ``end`` around each update."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ready = 0
        self._started = 0.0

    def begin(self) -> str:
        """Wait for the next turn, and say what is asked for.

        Raises:
            Ended: there is none.
            DeadlineError: nobody asked for hours.
        """
        if not self._ready:
            self._ready = status_bytes("VmRSS")
            self._connection.send("ready")
        if not self._connection.poll(IDLE_SECONDS):
            raise DeadlineError("the benchmark to ask for an update", IDLE_SECONDS)
        asked: str = self._connection.recv()
        if asked == "end":
            self._connection.send(Memory(self._ready, status_bytes("VmHWM")))
            raise Ended
        self._started = time.perf_counter()
        return asked

    def end(self, value: float = float("nan")) -> None:
        """Report the turn that has just ended."""
        seconds = time.perf_counter() - self._started
        give_back_memory()
        self._connection.send(Turn(seconds, value))

    def drive(self, update: Callable[[], float]) -> None:
        """Call ``update`` once a turn until there are none; what it returns is the value."""
        while True:
            self.begin()
            self.end(update())


def give_back_memory() -> None:
    """Let the C library return freed memory, so that one waiting variant leaves room for another.

    Nothing where there is no glibc.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def status_bytes(field: str) -> int:
    """``VmRSS`` or ``VmHWM`` of this process in bytes; 0 where Linux's /proc is missing.

    Not ``getrusage``: its peak is handed on from a parent to the children it starts.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    found = (line.split()[1] for line in lines if line.startswith(f"{field}:"))
    return int(next(found, "0")) * 1024


def _serve(target: str, argument: Any, connection: Connection, threads: int, log: Path) -> None:
    """Entry of the process: settle threads and output before anything heavy is imported."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    for name in LAUNCHED:
        os.environ.pop(name, None)
    os.environ |= {
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
    module, _, function = target.partition(":")
    run = getattr(importlib.import_module(module), function)
    with contextlib.suppress(Ended):
        run(argument, Turns(connection))


class Worker:
    """The driver's side of one process.

    Args:
        name: for messages.
        target: ``module:function``, called with ``argument`` and its ``Turns``.
        argument: pickled.
        threads: OpenMP threads.
        log: file that takes what the process prints.
    """

    def __init__(self, name: str, target: str, argument: Any, *, threads: int, log: Path) -> None:
        self.name, self._log = name, log
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(target, argument, theirs, threads, log), daemon=True, name=name
        )
        self._process.start()
        theirs.close()

    def wait_ready(self) -> None:
        """Wait until it could take its first turn.

        Raises:
            DeadlineError, BenchError: it did not come to that.
        """
        self._receive("to start", START_SECONDS)

    def turn(self, asked: str = "update") -> Turn:
        """Let it make one update, or what else it is ``asked`` for.

        Raises:
            DeadlineError, BenchError: it did not come to an end.
        """
        self._send(asked)
        turn: Turn = self._receive("to make an update", TURN_SECONDS)
        return turn

    def end(self) -> Memory:
        """Let it go, and say what memory it took.

        Raises:
            DeadlineError, BenchError: it did not answer.
        """
        self._send("end")
        memory: Memory = self._receive("to end", END_SECONDS)
        self._process.join(END_SECONDS)
        return memory

    def kill(self) -> None:
        """End it, whatever it is doing."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join(END_SECONDS)
        self._connection.close()

    def _send(self, word: str) -> None:
        try:
            self._connection.send(word)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._gone() from error

    def _receive(self, what: str, seconds: float) -> Any:
        try:
            if not self._connection.poll(seconds):
                raise DeadlineError(f"{self.name} {what}", seconds)
            return self._connection.recv()
        except (EOFError, ConnectionResetError) as error:
            raise self._gone() from error

    def _gone(self) -> BenchError:
        self._process.join(END_SECONDS)
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        tail = "\n".join(f"  {line}" for line in lines[-TAIL:])
        return BenchError(f"{self.name} ended with exit code {self._process.exitcode}\n{tail}")


@contextlib.contextmanager
def worker(name: str, target: str, argument: Any, *, threads: int, log: Path) -> Iterator[Worker]:
    """A ``Worker`` that is gone when the block is left."""
    started = Worker(name, target, argument, threads=threads, log=log)
    try:
        yield started
    finally:
        started.kill()
