"""Seeds that depend on what they are for, and on nothing that happened before."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A seed in 0..2**31-1 for ``purpose`` (for example ``"generate", step``) of a run's ``seed``.

    Hashed, not drawn: an interrupted run that is resumed derives the same seeds.
    """
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
