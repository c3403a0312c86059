#!/opt/coevolve/venv/bin/python
"""Hook that Kubernetes runs before it stops a pod of Ray: a run saves before its nodes go.

Kubernetes signals the first process of a container only, which is Ray's, and Ray's end takes the
run with it. So the driver, where it is on this pod, is asked to stop, which makes it save; and
every pod stays until the actors that the driver saves with are gone.

Usage: coevolve-stop-run [--seconds N]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import PurePath

import psutil

ACTORS = ("ray::LearnerRank", "ray::Generator")
"""How Ray names the processes of the actors that a checkpoint takes."""
LOOK_SECONDS = 0.5

Processes = Callable[[], Iterable[psutil.Process]]


def main() -> int:
    """Ask the drivers to stop, and wait. The exit code is 1 if something was still there."""
    parser = argparse.ArgumentParser(prog="coevolve-stop-run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=270.0, help="longest wait")
    left = stop_run(psutil.process_iter, parser.parse_args().seconds)
    if left:
        print("still there: " + ", ".join(left), file=sys.stderr)  # noqa: T201 - the answer
    return 1 if left else 0


def stop_run(processes: Processes, seconds: float) -> list[str]:
    """Send SIGTERM to every driver, once, and wait until drivers and actors are gone.

    Args:
        processes: gives the processes to look at: those of this pod.
        seconds: longest wait.

    Returns:
        The names of what is still there; empty if all ended.
    """
    end = time.monotonic() + seconds
    asked: set[int] = set()
    while True:
        left = []
        for process in processes():
            command = command_of(process)
            if is_driver(command):
                left.append(" ".join(command))
                if process.pid not in asked:
                    asked.add(process.pid)
                    terminate(process)
            elif command and command[0].startswith(ACTORS):
                left.append(command[0])
        if not left or time.monotonic() >= end:
            return left
        time.sleep(LOOK_SECONDS)


def is_driver(command: list[str]) -> bool:
    """Whether a command line is one of ours: `coevolve ...`, or `python .../coevolve ...`.

    The shell that Ray starts a job by has it all in one word, and is not meant.
    """
    return any(PurePath(word).name == "coevolve" for word in command[:2])


def command_of(process: psutil.Process) -> list[str]:
    """The command line of a process; empty if it is gone, dying, or someone else's."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return []
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


def terminate(process: psutil.Process) -> None:
    """SIGTERM, unless the process is gone meanwhile."""
    try:
        process.terminate()
    except psutil.NoSuchProcess:
        return


if __name__ == "__main__":
    sys.exit(main())
