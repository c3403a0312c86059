"""Lines in from a file or from standard input, JSON Lines out; progress for people who watch."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from contracts.errors import UserError

STDIN = "-"
"""The argument that stands for standard input."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Text that can be read more than once, and what it is called in messages."""

    name: str
    stream: IO[bytes]

    def __iter__(self) -> Iterator[str]:
        self.stream.seek(0)
        for number, line in enumerate(self.stream, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"not UTF-8 (byte {error.start})",
                    where=f"{self.name}:{number}",
                    remedy="convert the file to UTF-8",
                ) from error


@contextmanager
def opened(argument: str) -> Iterator[Lines]:
    """The lines of a file, or of standard input, which is kept in a temporary file meanwhile.

    All lines are checked before work on the first begins, so they are read twice.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    if argument == STDIN:
        with TemporaryFile() as kept:
            kept.writelines(sys.stdin.buffer)
            yield Lines("standard input", kept)
        return
    with _open(argument) as stream:
        yield Lines(argument, stream)


def _open(path: str) -> IO[bytes]:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise UserError(
            error.strerror or str(error),
            where=path,
            remedy="give a file of JSON Lines, or - for standard input",
        ) from error


def print_json(record: Mapping[str, Any]) -> None:
    """One line of JSON on standard output. ASCII, so that no terminal and no text breaks it."""
    sys.stdout.write(json.dumps(record, allow_nan=False) + "\n")


def watched(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
    """``items``, with a bar on standard error if that is a terminal and output goes elsewhere."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield from items
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # rich would take standard output over as well, and send it to the terminal.
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        yield from progress.track(items, total=total)
