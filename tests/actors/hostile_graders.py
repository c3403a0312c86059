"""Graders of a user that misbehave, for the tests of what keeps them away from everything else."""

from __future__ import annotations

import os
import signal
import time

from contracts.types import Grade, Reason

RIGHT = Grade(1.0, True, "fine", Reason.OK)


def misbehave(response: str, gold: str) -> Grade:
    """Do what the response says."""
    match response:
        case "hang":
            time.sleep(3600)
        case "wait":
            time.sleep(1.5)
        case "count":
            # One operation in C that no signal handler of Python interrupts.
            pow(9, 9**9, 10**2_000_000)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "leave":
            os._exit(0)
        case "raise":
            raise LookupError("on purpose")
        case "eat":
            bytearray(64 * 2**30)
        case "recurse":
            return misbehave(response, gold)
    return RIGHT


def process_id(response: str, gold: str) -> Grade:
    return Grade(1.0, True, str(os.getpid()), Reason.OK)
