"""How a long command says how it goes."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from services.bench import display


def test_a_log_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(display, "monotonic", lambda: float(next(clock)))
    file = io.StringIO()
    with display.live_line(Console(file=file, width=80)) as say:
        for number in range(30):
            say(f"round {number} of 30")
    lines = file.getvalue().splitlines()
    assert lines == ["round 9 of 30", "round 19 of 30", "round 29 of 30"]


def test_what_is_soon_over_says_nothing() -> None:
    file = io.StringIO()
    with display.live_line(Console(file=file)) as say:
        say("starting")
    assert file.getvalue() == ""
