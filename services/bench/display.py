"""What a benchmark shows: one live line while it runs, a table at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.table import Table

from services.bench.records import Benchmark

BETWEEN = 10.0
"""Seconds between lines where they are not shown in place of each other."""


@contextmanager
def live_line(console: Console) -> Iterator[Callable[[str], None]]:
    """A function that shows how it goes: at a terminal in place of what it showed before, in a log
    as a line now and then, and none of what is soon over."""
    if console.is_terminal:
        with console.status("starting") as status:
            yield status.update
        return
    last = monotonic()

    def tell(message: str) -> None:
        nonlocal last
        now = monotonic()
        if now - last >= BETWEEN:
            last = now
            console.print(message, highlight=False)

    yield tell


def show(result: Benchmark, console: Console) -> None:
    """Print cases and ratios as tables."""
    console.print(f"{result.benchmark}: {result.machine}", highlight=False)
    names = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    console.print(names, style="dim", highlight=False)
    cases = _table("model", "mix", "variant", "unit")
    for case in result.cases:
        numbers = (_number(value) for value in (case.median, case.min, case.max))
        cases.add_row(case.model, case.mix, case.variant, case.unit, *numbers)
    console.print(cases)
    if not result.ratios:
        return
    ratios = _table("model", "mix", "of", "to")
    for ratio in result.ratios:
        numbers = (f"{value:.2f}" for value in (ratio.median, ratio.min, ratio.max))
        ratios.add_row(ratio.model, ratio.mix, ratio.of, ratio.to, *numbers)
    console.print(ratios)


def _table(*heads: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for head in heads:
        table.add_column(head)
    for head in ("median", "least", "most"):
        table.add_column(head, justify="right")
    return table


def _number(value: float) -> str:
    """Three digits that mean something, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
