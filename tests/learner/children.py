"""Processes of their own for learners that are killed, or that are ranks of one.

They are forked from a process that has imported everything, so that a learner starts in a
second. Not multiprocessing's fork server: there is one per process, and the graders have it.
"""

from __future__ import annotations

import atexit
import importlib
import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

IMPORTED = ("learner.engine", "deepspeed", "transformers.models.qwen2.modeling_qwen2")
SECONDS = 300


class Child:
    """A forked process; ``code`` is its exit code once it has ended, as subprocess has it."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        self.code: int | None = None

    def wait(self, seconds: float) -> None:
        """Wait for its end, for so long."""
        if self._line.poll(seconds):
            self.code = self._line.recv()

    def kill(self) -> None:
        """End it, if it lives."""
        self._line.close()


def child(target: Callable[..., None], *arguments: Any) -> Child:
    """``target(*arguments)``, started in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    server = _server()
    server.send_bytes(pickle.dumps((target, arguments)))
    send_handle(server, theirs.fileno(), None)
    theirs.close()
    return Child(ours)


def ended(children: list[Child]) -> list[int]:
    """Exit codes, once all have ended; none is left behind."""
    codes = []
    try:
        for one in children:
            one.wait(SECONDS)
            assert one.code is not None, f"a learner did not end within {SECONDS} s"
            codes.append(one.code)
    finally:
        for one in children:
            one.kill()
    return codes


@cache
def _server() -> Connection:
    """The line to the process that forks; it ends with this one."""
    ours, theirs = multiprocessing.Pipe()
    # Whatever machine this is: DeepSpeed looks for its accelerator when it is imported.
    os.environ["DS_ACCELERATOR"] = "cpu"
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,))
    process.start()
    theirs.close()
    # Before multiprocessing waits for the process at the end of this one.
    atexit.register(ours.close)
    return ours


def _serve(orders: Connection) -> None:
    """Fork a keeper for each order, until whoever gives them is gone."""
    for name in IMPORTED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        try:
            order = orders.recv_bytes()
        except EOFError:
            return
        line = Connection(recv_handle(orders))
        if os.fork() == 0:
            orders.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _keep(line, order)
            os._exit(0)
        line.close()


def _keep(line: Connection, order: bytes) -> None:
    """Run an order in a process of its own; tell its exit code, or end it when left alone."""
    pid = os.fork()
    if pid == 0:
        line.close()
        os._exit(_run(order))
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            line.send(os.waitstatus_to_exitcode(status))
            return
        if line.poll(0.02):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return


def _run(order: bytes) -> int:
    try:
        target, arguments = pickle.loads(order)
        target(*arguments)
    except BaseException:  # noqa: BLE001 (the last thing this process does)
        traceback.print_exc()
        return 1
    return 0
