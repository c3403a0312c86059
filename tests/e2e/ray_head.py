"""A Ray head as a cluster has it: token, dashboard, job API. It ends with the block."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

BIN = Path(sys.executable).parent
START_SECONDS = 90.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Head:
    """``environment``: of a client that has the token. ``metrics``: port of Ray's own."""

    folder: Path
    environment: dict[str, str]
    dashboard: int
    metrics: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.dashboard}"


@contextmanager
def ray_head(*, path: str = "", dashboard: bool = True) -> Iterator[Head]:
    """A Ray head of this machine.

    Args:
        path: put in front of PATH of its jobs.
        dashboard: whether it takes jobs.
    """
    # Not pytest's folder: Ray's sockets have names, which must be short.
    folder = Path(tempfile.mkdtemp(prefix="head-"))
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {
        "HOME": str(folder),
        "PATH": os.pathsep.join(filter(None, [path, str(BIN), os.environ["PATH"]])),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ADDRESS": f"127.0.0.1:{port}",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_JOB_STOP_WAIT_TIME_S": "60",
        "OMP_NUM_THREADS": "1",
    }
    head = Head(folder, environment, free_port(), free_port())
    options = {
        "port": port,
        "include-dashboard": str(dashboard).lower(),
        "dashboard-port": head.dashboard,
        "dashboard-agent-listen-port": free_port(),
        "metrics-export-port": head.metrics,
        "ray-client-server-port": free_port(),
        "node-ip-address": "127.0.0.1",
        "num-cpus": 16,
        "temp-dir": folder,
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    with (folder / "ray.log").open("w") as log:
        process = subprocess.Popen(
            [str(BIN / "ray"), "start", "--head", "--block", *words],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(head.dashboard if dashboard else port, process, folder / "ray.log")
        yield head
    finally:
        stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail(f"nobody listens on port {port}; Ray said:\n{log.read_text()}")


def stop(process: subprocess.Popen[bytes]) -> None:
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for each in psutil.wait_procs(below, timeout=10)[1]:
        each.kill()
