"""Ctrl-C and SIGTERM end a run in order: at once, or when it has saved what it did."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

WATCHED = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal asked the run to end. ``exit_code`` is 128 plus the signal's number.

    Not an ``Exception``: nothing that handles errors on the way up may swallow it.
    """

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        super().__init__(f"ended by {signal.Signals(number).name}")


class StopRequest:
    """Whether a signal has asked the run to end.

    A signal raises ``KeyboardInterrupt``, unless it can be ``put_off``. After that one signals
    are ignored, so that the tidying up that follows is not itself cut short.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._grace: float | None = None

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.number is not None

    @contextmanager
    def put_off(self, seconds: float) -> Iterator[None]:
        """Within it the first signal is only noted; a second, or ``seconds`` after it, raises."""
        self._grace = seconds
        try:
            yield
        finally:
            self._grace = None
            signal.setitimer(signal.ITIMER_REAL, 0)
            if self.requested:
                self._ignore()

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        if self._grace is not None and not self.requested:
            self.number = number
            signal.signal(signal.SIGALRM, self.receive)
            signal.setitimer(signal.ITIMER_REAL, self._grace)
            return
        self.number = self.number or number
        self._ignore()
        # Ray passes this one on from within its own code, and makes a fault of any other.
        raise KeyboardInterrupt

    def _ignore(self) -> None:
        for each in (*WATCHED, signal.SIGALRM):
            signal.signal(each, signal.SIG_IGN)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Raise ``Stopped`` in the block on SIGINT or SIGTERM, or when it has been put off."""
    request = StopRequest()
    watched = (*WATCHED, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in watched}
    for number in WATCHED:
        signal.signal(number, request.receive)
    try:
        yield request
    except KeyboardInterrupt:
        if request.number is None:
            raise
        raise Stopped(request.number) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
