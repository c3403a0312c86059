"""Checksums of weights: the one way in which they are taken, on every side of a comparison."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's elements, row-major and little-endian, all zeros as +0; hexadecimal.

    The sign of a zero does not survive where weights are read back out of an engine that has
    packed them, and nothing that is computed depends on it.
    """
    plain = tensor.detach().cpu()
    if plain.is_floating_point():
        plain = plain + 0.0
    return hashlib.sha256(plain.contiguous().view(-1).view(torch.uint8).numpy().data).hexdigest()


def digests_of(weights: Iterable[tuple[str, Tensor]]) -> dict[str, str]:
    """Checksum of each named tensor."""
    return {name: digest(tensor) for name, tensor in weights}
