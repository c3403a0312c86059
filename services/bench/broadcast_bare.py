"""A bare gloo broadcast: nothing but torch and as many bytes, between as many processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.bench.processes import Turns, Worker, worker

SEND = 0
"""Rank of the process that sends."""


@dataclass(frozen=True, slots=True)
class Member:
    """One process of the bare broadcast: its rank among ``size``, and where they meet."""

    rank: int
    size: int
    nbytes: int
    meeting: Path


class Bare:
    """All processes of a bare broadcast, driven together."""

    def __init__(self, members: Sequence[Worker]) -> None:
        self._members = tuple(members)

    def turn(self) -> float:
        """One broadcast: seconds from the sender's call until the last receiver has all bytes.

        The processes share one machine and so one monotonic clock.

        Raises:
            DeadlineError, BenchError: a process did not come to its end.
        """
        with ThreadPoolExecutor(len(self._members)) as threads:
            times: list[float] = list(
                threads.map(lambda member: member.turn().value, self._members)
            )
        return float(max(times[SEND + 1 :]) - times[SEND])


@contextmanager
def bare_broadcast(receivers: int, nbytes: int, scratch: Path) -> Iterator[Bare]:
    """One sender and ``receivers`` receivers, which are gone when the block is left.

    Args:
        receivers: how many processes receive.
        nbytes: of the message.
        scratch: empty folder for logs and the meeting place.
    """
    size = receivers + 1
    with ExitStack() as stack:
        members = [
            stack.enter_context(
                worker(
                    f"bare gloo, rank {rank} of {size}",
                    f"{__name__}:run",
                    Member(rank, size, nbytes, scratch / "meeting"),
                    threads=1,
                    log=scratch / f"bare-{rank}.log",
                )
            )
            for rank in range(size)
        ]
        for member in members:
            member.wait_ready()
        yield Bare(members)


def run(member: Member, turns: Turns) -> None:
    """Broadcast one message a turn, out of and into memory that is there already."""
    import torch
    import torch.distributed as dist

    dist.init_process_group(
        "gloo", init_method=f"file://{member.meeting}", rank=member.rank, world_size=member.size
    )
    message = torch.full((member.nbytes,), member.rank, dtype=torch.uint8)

    def broadcast() -> float:
        dist.barrier()
        started = time.monotonic()
        dist.broadcast(message, SEND)
        return started if member.rank == SEND else time.monotonic()

    turns.drive(broadcast)
