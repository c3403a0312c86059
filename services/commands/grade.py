"""``coevolve grade``: what the graders say of responses in a file."""

from __future__ import annotations

import os
from typing import Annotated

import typer

FileArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help='JSON Lines: {"answer": "12", "response": "... \\\\boxed{12}"}, and "verifier" '
        "where it is not math. - reads standard input.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, show_default="all cores", help="Processes for answers that need sympy."),
]
Deadline = Annotated[
    float, typer.Option(min=0.1, help="Seconds of processor time a response may take.")
]


def grade(file: FileArgument, workers: Workers = None, deadline: Deadline = 5.0) -> None:
    """Grade responses: each line comes back with reward, correct, extracted and reason.

    Every line is checked before the first is graded.
    """
    from actors.grade_file import grade_rows, read_rows
    from actors.graders.processes import GraderProcesses
    from services.commands.lines import opened, print_json, watched

    with opened(file) as lines:
        total = sum(1 for _ in read_rows(lines, lines.name))
        with GraderProcesses(workers=workers or cores(), deadline=deadline) as processes:
            graded = grade_rows(read_rows(lines, lines.name), processes)
            for row in watched(graded, total, "Grading"):
                print_json(row)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))
