"""A file that one process at a time may hold."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contracts.errors import UserError


@contextmanager
def locked(file: Path, refusal: UserError) -> Iterator[None]:
    """Hold ``file``, made if missing; the lock goes with the process, however it ends.

    Raises:
        UserError: ``refusal``, where another process holds it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise refusal from error
        yield
