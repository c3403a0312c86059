"""A signal ends a run at once, or after it has saved; a second one does not wait."""

from __future__ import annotations

import os
import signal
import time

import pytest

from services.signals import Stopped, StopRequest, stop_on_signals

LONG = 60.0


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    # Python runs the handler between two instructions of the main thread.
    time.sleep(0)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_block_with_its_code(number: signal.Signals, code: int) -> None:
    with pytest.raises(Stopped, match=number.name) as caught, stop_on_signals():
        send(number)
    assert caught.value.exit_code == code


def test_put_off_it_is_noted_and_the_block_goes_on() -> None:
    reached = []
    with pytest.raises(Stopped), stop_on_signals() as stop:
        with stop.put_off(LONG):
            send(signal.SIGTERM)
            assert stop.requested
            reached.append("saved")
        # What comes now is tidied up undisturbed.
        send(signal.SIGTERM)
        reached.append("tidied")
        raise KeyboardInterrupt
    assert reached == ["saved", "tidied"]


def test_a_second_signal_does_not_wait() -> None:
    with pytest.raises(Stopped, match="SIGTERM"), stop_on_signals() as stop, stop.put_off(LONG):
        send(signal.SIGTERM)
        send(signal.SIGINT)
        pytest.fail("the second signal was put off")


def test_putting_off_has_an_end() -> None:
    with pytest.raises(Stopped), stop_on_signals() as stop, stop.put_off(0.05):
        send(signal.SIGTERM)
        time.sleep(LONG)
        pytest.fail("the time to save was not over")


def test_an_interrupt_that_is_no_signal_of_ours_is_passed_on() -> None:
    with pytest.raises(KeyboardInterrupt), stop_on_signals():
        raise KeyboardInterrupt


def test_handlers_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop, stop.put_off(LONG):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
    assert isinstance(stop, StopRequest)
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0
