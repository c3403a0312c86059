"""Facts about this machine, for the doctor and for the checks before a run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

GIB = 1024**3
COMPILE_SECONDS = 60.0
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Memory:
    """Bytes of memory that this process may use at most, and how many of them are free."""

    total: int
    available: int


def memory() -> Memory:
    """Memory of the machine, or of the container where that has less."""
    machine = psutil.virtual_memory()
    total, available = machine.total, machine.available
    limit, used = _cgroup_value("memory.max"), _cgroup_value("memory.current")
    if limit is not None and limit < total:
        # File cache counts as used, but is given back when memory is needed.
        reclaimable = _cgroup_stat("inactive_file")
        total, available = limit, min(available, limit - (used or 0) + reclaimable)
    return Memory(total, max(0, available))


def _cgroup_value(name: str) -> int | None:
    """A limit or counter of this process's control group; None without one."""
    try:
        text = (CGROUP / name).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _cgroup_stat(name: str) -> int:
    try:
        lines = (CGROUP / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    values = (line.split() for line in lines)
    return next((int(value) for key, value in values if key == name), 0)


def cores() -> int:
    """CPU cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_flags() -> frozenset[str]:
    """Instruction sets of the CPU, as Linux calls them; empty where that is not known."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    flags = (line.partition(":")[2].split() for line in lines if line.startswith("flags"))
    return frozenset(next(flags, []))


def gpus() -> int:
    """CUDA devices that torch can use here; 0 with a CPU build of torch.

    Raises:
        ImportError, OSError: torch is not installed, or cannot load its libraries.
    """
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def installed(distribution: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def compiler() -> str | None:
    """The C++ compiler that torch would call, or None."""
    return shutil.which(os.environ.get("CXX", "c++"))


def compile_failure(command: str) -> str | None:
    """What ``command`` says when it cannot build a small shared library; None if it can."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "try.cpp")
        source.write_text("#include <atomic>\nstd::atomic<int> counter{0};\n")
        build = [command, "-std=c++17", "-shared", "-fPIC", "-fopenmp", str(source)]
        try:
            done = subprocess.run(
                [*build, "-o", str(Path(folder, "try.so"))],
                capture_output=True,
                text=True,
                timeout=COMPILE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"no answer within {COMPILE_SECONDS:g} s"
        except OSError as error:
            return str(error)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]


def port_is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def nearest_existing(path: Path) -> Path:
    """``path`` itself, or the closest folder above it that exists."""
    path = path.resolve()
    while not path.exists():
        path = path.parent
    return path
