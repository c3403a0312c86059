"""What came of a broadcast. Apart from the sender, so that the driver need not import vLLM."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TransferReport:
    """One broadcast: its version, the bytes of the weights, seconds by phase.

    Phases are ``start``, ``transfer`` and ``finish``; ``init`` where a group was made for it.
    ``generators``: that it reached; 0: not known.
    """

    version: int
    bytes: int
    seconds: dict[str, float]
    generators: int = 0
