"""From a record to a task: where question, gold answer and images are, and how they are read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from contracts.config import FieldMapping
from contracts.errors import UserError
from contracts.grammar import last_boxed
from contracts.types import Task
from services.tasks.images import image_path
from services.tasks.rows import Row


def tasks_of(
    rows: Iterable[Row], fields: FieldMapping, verifier: str, *, name: str, folder: Path
) -> list[Task]:
    """The tasks in ``rows``.

    Args:
        rows: records of one file.
        fields: where the parts of a task are.
        verifier: grader of all of them.
        name: of the source; begins the id of tasks that have none of their own.
        folder: what image paths are relative to.

    Raises:
        UserError: a field is missing or empty, an id is given twice, an image is not there,
            or there is no record at all; names the row.
    """
    tasks: list[Task] = []
    places: dict[str, str] = {}
    for row in rows:
        task = Task(
            id=text_of(row, fields.id) if fields.id else f"{name}-{row.number}",
            question=_question(row, fields.question),
            gold=_gold(row, fields),
            verifier=verifier,
            images=_images(row, fields.image, folder) if fields.image else (),
        )
        if task.id in places:
            raise UserError(
                f"id {task.id!r} was given before, at {places[task.id]}",
                where=row.where,
                remedy="ids must be unique; leave tasks.fields.id empty to use row numbers",
            )
        places[task.id] = row.where
        tasks.append(task)
    return tasks


def _field(row: Row, name: str) -> Any:
    if name not in row.fields:
        raise UserError(
            f"no field {name!r}; there are {', '.join(map(repr, row.fields)) or 'none'}",
            where=row.where,
            remedy="set tasks.fields to the names of the file",
        )
    return row.fields[name]


def text_of(row: Row, name: str) -> str:
    """A field as text that is not empty.

    Raises:
        UserError: it is missing or empty, or neither text nor a number.
    """
    text = _plain(_field(row, name))
    if not text:
        raise UserError(
            f"field {name!r} is empty, or neither text nor a number",
            where=row.where,
            remedy="mend or remove the record, or mend tasks.fields",
        )
    return text


def _plain(value: Any) -> str:
    """Text or a number as text, whole floats without their ``.0``; else the empty string."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float):
        if not math.isfinite(value):
            return ""
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return ""


def _question(row: Row, names: str) -> str:
    return " ".join(text_of(row, name.strip()) for name in names.split("+"))


def _gold(row: Row, fields: FieldMapping) -> str:
    """The gold answer: the whole field, what follows a mark in it, or its last box."""
    text = _plain(_field(row, fields.answer))
    missing = "" if text else f"field {fields.answer!r} holds no text and no number"
    if text and fields.answer_after:
        _, found, text = text.rpartition(fields.answer_after)
        text = text.strip()
        if not (found and text):
            missing = f"nothing behind {fields.answer_after!r} in field {fields.answer!r}"
    if not missing and fields.answer_boxed:
        text = last_boxed(text) or ""
        missing = "" if text else f"no \\boxed{{}} in field {fields.answer!r}"
    if missing:
        raise UserError(
            f"no gold answer: {missing}",
            where=row.where,
            remedy="add the answer, remove the record, or mend tasks.fields",
        )
    return text


def _images(row: Row, name: str, folder: Path) -> tuple[str, ...]:
    """Absolute paths of a record's images; a record may have none."""
    value = _field(row, name)
    given = value if isinstance(value, list) else [value]
    present = (image for image in given if image not in (None, ""))
    return tuple(image_path(row, name, image, folder) for image in present)
