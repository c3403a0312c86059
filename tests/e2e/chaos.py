"""Breaks the processes of a run: kills them, or freezes them. Finds them by what they are."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass

import psutil

TITLES = {
    "generator": "ray::Generator",
    "engine": "VLLM::EngineCore",
    "verifier": "ray::Verifier",
    "recycler": "ray::RecyclerActor",
    "learner": "ray::LearnerRank",
}
"""Beginning of the command line of each kind of process; graders are children of verifiers."""

KINDS = (*TITLES, "grader")
SIGNALS = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}


@dataclass(frozen=True)
class Deed:
    """What was done to whom, and when (seconds since 1970)."""

    kind: str
    how: str
    pid: int
    at: float


def processes(driver: int, kind: str) -> list[psutil.Process]:
    """Running processes of ``kind`` of the run whose driver is ``driver``."""
    try:
        family = psutil.Process(driver).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    if kind == "grader":
        verifiers = [p for p in family if _is(p, TITLES["verifier"])]
        inner = [child for v in verifiers for child in v.children(recursive=True)]
        return [p for p in inner if "forkserver" in " ".join(_command(p))]
    return [p for p in family if _is(p, TITLES[kind])]


def _is(process: psutil.Process, title: str) -> bool:
    command = _command(process)
    running = _status(process) not in (psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED)
    return bool(command) and command[0].startswith(title) and running


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.Error:
        return str(psutil.STATUS_ZOMBIE)


def do(driver: int, kind: str, how: str, draw: random.Random, seconds: float = 120.0) -> Deed:
    """Break one process of ``kind``, as soon as there is one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := processes(driver, kind):
            victim = draw.choice(found)
            victim.send_signal(SIGNALS[how])
            return Deed(kind, how, victim.pid, time.time())
        time.sleep(0.1)
    raise AssertionError(f"no {kind} of the run {driver} within {seconds} s")
