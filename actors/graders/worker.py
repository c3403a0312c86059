"""What runs inside a grader process."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from typing import Any

import psutil

from actors.graders.registry import grader
from contracts.types import Grade

MEMORY_LIMIT = 4 * 2**30
"""Address space a grader may take, in bytes, beyond what its libraries have: a huge number ends
as a MemoryError."""

DEADLINE_SIGNAL = signal.SIGPROF
"""What a process dies of that took too much processor time."""

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Failure:
    """A grader raised: its traceback."""

    traceback: str


def prepare() -> None:
    """Initialise a grader process: it dies with its parent, at once, and has limited memory."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _leave_fork_server_to_its_owner()
    # Python's handler would wait for a long computation in C to end before it runs.
    for number in (signal.SIGTERM, DEADLINE_SIGNAL):
        signal.signal(number, signal.SIG_DFL)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = psutil.Process().memory_info().vms + MEMORY_LIMIT
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _leave_fork_server_to_its_owner() -> None:
    """Close this process's end of the pipe that keeps the fork server alive.

    With it the server, and so this process, would outlive an owner that was killed while this
    process computes. There is no public way to reach it.
    """
    server: Any = forkserver._forkserver
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None


def grade_all(
    name: str, gold: str, responses: Sequence[str], seconds: float
) -> list[Grade | Failure]:
    """Grade every response; one that makes the grader raise gives a ``Failure``.

    A response that takes more than ``seconds`` of processor time ends the process by
    ``DEADLINE_SIGNAL``, whatever it is doing. Processor time, because grades must not depend
    on what else the machine has to do.

    Raises:
        UserError: there is no grader of that name.
    """
    function = grader(name)
    out: list[Grade | Failure] = []
    for response in responses:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            out.append(function(response, gold))
        except Exception:  # noqa: BLE001 - a user's grader, or sympy, may raise anything
            out.append(Failure(traceback.format_exc(limit=-8)))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    return out
