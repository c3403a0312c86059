"""Grading rows of a file: tries a data set's answers before GPU hours are spent on it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from actors.graders.processes import GraderProcesses, Question
from actors.graders.registry import grader
from contracts.errors import UserError
from contracts.grammar import verdict_of

VERIFIER = "math"
"""Grader of rows that name none."""

_AHEAD = 256
"""Rows read before the first of them is given back: rows with one answer are graded together."""


def read_rows(lines: Iterable[str], where: str = "") -> Iterator[dict[str, Any]]:
    """Rows of JSON Lines; blank lines are skipped.

    Args:
        lines: the lines.
        where: name of the file, for messages.

    Raises:
        UserError: a line is no JSON object, or lacks ``answer`` or ``response``, or these (or
            ``verifier``) are not what they should be. Names the line and the field.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _row(line, f"{where or 'input'}:{number}")


def _row(line: str, where: str) -> dict[str, Any]:
    row = json_object(line, where)
    for key in ("answer", "response"):
        if key not in row:
            raise UserError(
                f"the row has no {key!r}",
                where=where,
                remedy='a row is {"answer": "12", "response": "... \\\\boxed{12}"}, '
                'and "verifier" if it is not math',
            )
    if isinstance(row["answer"], int | float) and not isinstance(row["answer"], bool):
        row["answer"] = json.dumps(row["answer"])
    for key in ("answer", "response", "verifier"):
        if key in row and not isinstance(row[key], str):
            raise UserError(f"{key!r} is no string: {row[key]!r}", where=where)
    check_verifier(row.get("verifier", VERIFIER), row["answer"], where)
    return row


def json_object(line: str, where: str) -> dict[str, Any]:
    """The JSON object that ``line`` is.

    Raises:
        UserError: it is none.
    """
    try:
        row = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"this line is not JSON ({error})", where=where, remedy="write one JSON object a line"
        ) from error
    if not isinstance(row, dict):
        raise UserError("this line is no JSON object", where=where)
    return row


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def check_verifier(name: str, gold: str, where: str) -> None:
    """Make sure that ``name`` is a grader and ``gold`` an answer that it can hold others to.

    Raises:
        UserError: it is not; the message begins with ``where`` and the field.
    """
    try:
        grader(name)
    except UserError as error:
        raise UserError(f"'verifier': {error.what}", where=where, remedy=error.remedy) from error
    if name == "verdict" and verdict_of(gold) is None:
        raise UserError(
            f"'answer' is no verdict: {gold!r}",
            where=where,
            remedy="label verdicts with yes, no, A or B",
        )


def grade_rows(
    rows: Iterable[dict[str, Any]], processes: GraderProcesses
) -> Iterator[dict[str, Any]]:
    """Each row with ``reward``, ``correct``, ``extracted`` and ``reason`` added, in order.

    Args:
        rows: rows with ``answer``, ``response`` and perhaps ``verifier``; see ``read_rows``.
        processes: where they are graded.

    Raises:
        UserError: a row names a grader that does not exist.
    """
    rows = iter(rows)
    while chunk := list(islice(rows, _AHEAD)):
        graded: dict[int, dict[str, Any]] = {}
        by_question = _by_question(chunk)
        questions = [
            Question(name, gold, tuple(chunk[place]["response"] for place in places))
            for (name, gold), places in by_question.items()
        ]
        for places, grades in zip(
            by_question.values(), processes.grade_many(questions), strict=True
        ):
            for place, grade in zip(places, grades, strict=True):
                graded[place] = {
                    **chunk[place],
                    "reward": grade.reward,
                    "correct": grade.correct,
                    "extracted": grade.extracted,
                    "reason": str(grade.reason),
                }
        yield from (graded[place] for place in range(len(chunk)))


def _by_question(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[int]]:
    """Places of the rows by grader and gold answer."""
    places: dict[tuple[str, str], list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault((row.get("verifier", VERIFIER), row["answer"]), []).append(place)
    return places
