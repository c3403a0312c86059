"""Weights that the engines of one machine read where the learner has put them.

A segment is anonymous memory of the sender (``memfd``): it has no name that could be left
behind, and is gone with the last process that has it mapped. Engines find it through the
sender's entry in ``/proc``, and know it by a token at its head: in another container the same
process id may be anybody's.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import struct
import time
import weakref
from dataclasses import dataclass

import torch

HEAD = mmap.PAGESIZE
"""Bytes before the weights: the token, how far they are there, and room up to the next page."""
TOKEN_BYTES = 32
READY = struct.Struct("<q")
"""How many bytes of the weights are there; right after the token."""
LOOK_SECONDS = 0.0005
"""Between two looks at it."""


@dataclass(frozen=True)
class SegmentPlace:
    """Where to find a segment: open file ``descriptor`` of ``process``, ``nbytes`` of weights."""

    process: int
    descriptor: int
    nbytes: int
    token: str


class Segment:
    """The sender's memory for ``nbytes`` of weights.

    Raises:
        OSError: this system has no such memory, or not enough.
    """

    def __init__(self, nbytes: int) -> None:
        if not hasattr(os, "memfd_create"):
            raise OSError("anonymous files in memory are Linux's")
        descriptor = os.memfd_create("coevolve-weights")
        # Who has it mapped keeps the memory.
        weakref.finalize(self, os.close, descriptor)
        token = secrets.token_bytes(TOKEN_BYTES)
        os.posix_fallocate(descriptor, 0, HEAD + nbytes)
        memory = mmap.mmap(descriptor, HEAD + nbytes)
        memory[:TOKEN_BYTES] = token
        self.place = SegmentPlace(os.getpid(), descriptor, nbytes, token.hex())
        self._descriptor = descriptor
        self.room = torch.frombuffer(memory, dtype=torch.uint8)[HEAD:]
        """The weights' bytes: uint8 [nbytes]."""

    def say_ready(self, nbytes: int) -> None:
        """Let the engines read the first ``nbytes`` bytes.

        A call of the system, not a mere store: it comes after the bytes on every processor.
        """
        os.pwrite(self._descriptor, READY.pack(nbytes), TOKEN_BYTES)


class Reached:
    """A segment as an engine sees it. Made by ``reach``.

    Args:
        descriptor: of the segment's open file; closed with this object.
        nbytes: of the weights.
    """

    def __init__(self, descriptor: int, nbytes: int) -> None:
        self._descriptor, self._nbytes = descriptor, nbytes
        weakref.finalize(self, os.close, descriptor)

    def weights(self) -> torch.Tensor:
        """The weights' bytes as they are now: uint8 [nbytes].

        Mapped anew by each call, and privately: what a weight loader changes in place is its
        own copy, and is not met again at the next broadcast.
        """
        memory = mmap.mmap(self._descriptor, HEAD + self._nbytes, mmap.MAP_PRIVATE)
        return torch.frombuffer(memory, dtype=torch.uint8)[HEAD:]

    def wait_ready(self, nbytes: int, seconds: float) -> int:
        """Wait until at least ``nbytes`` bytes may be read; how many are.

        Raises:
            RuntimeError: they were not there after ``seconds``.
        """
        end = time.monotonic() + seconds
        while (ready := self._ready()) < nbytes:
            if time.monotonic() > end:
                raise RuntimeError(f"{nbytes - ready} bytes of weights were missing at the end")
            time.sleep(LOOK_SECONDS)
        return ready

    def _ready(self) -> int:
        (ready,) = READY.unpack(os.pread(self._descriptor, READY.size, TOKEN_BYTES))
        return int(ready)


def reach(place: SegmentPlace) -> Reached | None:
    """The segment at ``place``; None where it is out of reach, on another machine say."""
    try:
        descriptor = os.open(f"/proc/{place.process}/fd/{place.descriptor}", os.O_RDONLY)
    except OSError:
        return None
    found = Reached(descriptor, place.nbytes)
    with contextlib.suppress(OSError):
        sized = os.fstat(descriptor).st_size == HEAD + place.nbytes
        if sized and os.pread(descriptor, TOKEN_BYTES, 0) == bytes.fromhex(place.token):
            return found
    return None
