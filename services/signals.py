"""Ctrl-C and SIGTERM end a run in order: an exception in the main thread, once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """A signal asked the run to end. ``exit_code`` is 128 plus the signal's number.

    Not an ``Exception``: nothing that handles errors on the way up may swallow it.
    """

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        super().__init__(f"ended by {signal.Signals(number).name}")


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise ``Stopped`` in the block on SIGINT or SIGTERM; further ones are ignored.

    Ignored, so that the tidying up that follows is not itself cut short.
    """
    watched = (signal.SIGINT, signal.SIGTERM)
    received: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in watched:
            signal.signal(each, signal.SIG_IGN)
        received.append(number)
        # Ray passes this one on from within its own code, and makes a fault of any other.
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in watched}
    try:
        yield
    except KeyboardInterrupt:
        if not received:
            raise
        raise Stopped(received[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
