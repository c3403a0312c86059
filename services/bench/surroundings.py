"""Where a benchmark ran: the machine in words, and the versions that count."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from services.machine import GIB, cores, cpu_flags, gpus, memory
from services.versions import versions as of_packages

WIDTHS = ("avx512_bf16", "amx_bf16", "avx512f", "avx2", "neon")
"""Instruction sets that decide how fast a CPU multiplies matrices, those to name first."""


def machine() -> str:
    """This machine in words, without its name."""
    flags = cpu_flags()
    sets = [name for name in WIDTHS if name in flags]
    parts = [f"{cores()} cores", _processor()]
    parts += [" ".join(sets)] if sets else []
    parts += [f"{memory().total / GIB:.0f} GiB memory", _gpu()]
    return ", ".join(part for part in parts if part)


def _processor() -> str:
    """The model of the CPU, as Linux calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _gpu() -> str:
    """The GPU that would be used, if there is one."""
    if not gpus():
        return "no GPU"
    import torch

    return torch.cuda.get_device_name(0)


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Installed versions of ``packages`` and of Python; those that are missing are left out."""
    return {"python": platform.python_version(), **of_packages(packages)}
