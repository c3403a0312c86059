"""Where the members of a process group find each other."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import Any

import psutil
from torch.distributed import TCPStore  # type: ignore[attr-defined]


def serve_store(
    address: str, port: int, world_size: int, seconds: float, *, wait: bool = False
) -> Any:
    """A store on ``address`` alone, for ``world_size`` members to meet at.

    Left to itself torch listens on every address of the machine, and asks nobody who they are.

    Args:
        address: of this machine, that the members can reach.
        port: 0: any that is free.
        world_size: members, this process among them.
        seconds: deadline of whatever is asked of the store.
        wait: for all members to come.

    Raises:
        OSError: this machine has no such address, or the port is taken.
        torch.distributed.DistError: not all members came.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, port), family=family)
    return TCPStore(
        address,
        listener.getsockname()[1],
        world_size,
        is_master=True,
        timeout=timedelta(seconds=seconds),
        wait_for_workers=wait,
        master_listen_fd=listener.detach(),
    )


def own_address(towards: str) -> str:
    """This machine's address on the route to ``towards``. Nothing is sent."""
    family = socket.AF_INET6 if ":" in towards else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        # Any port will do: the route is all that is asked for.
        probe.connect((towards, 9))
        return str(probe.getsockname()[0])


def interface_towards(address: str) -> str | None:
    """Name of this machine's network interface on the route to ``address``; None: not known."""
    own = own_address(address)
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == own for one in addresses):
            return name
    return None


def reach_store(
    address: str, port: int, world_size: int, seconds: float, *, wait: bool = False
) -> Any:
    """The store that ``serve_store`` opened elsewhere.

    Raises:
        torch.distributed.DistError: it could not be reached in time, or not all members came.
    """
    return TCPStore(
        address,
        port,
        world_size,
        is_master=False,
        timeout=timedelta(seconds=seconds),
        wait_for_workers=wait,
    )
