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

from actors.graders.registry import grader
from contracts.types import Grade

MEMORY_LIMIT = 4 * 2**30
"""Address space of a grader process, in bytes: a huge number ends as a MemoryError."""

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
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY_LIMIT if hard == resource.RLIM_INFINITY else min(MEMORY_LIMIT, hard)
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


def grade_all(name: str, gold: str, responses: Sequence[str]) -> list[Grade | Failure]:
    """Grade every response; one that makes the grader raise gives a ``Failure``.

    Raises:
        UserError: there is no grader of that name.
    """
    function = grader(name)
    out: list[Grade | Failure] = []
    for response in responses:
        try:
            out.append(function(response, gold))
        except Exception:  # noqa: BLE001 - a user's grader, or sympy, may raise anything
            out.append(Failure(traceback.format_exc(limit=-8)))
    return out
