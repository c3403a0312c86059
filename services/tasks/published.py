"""Published files read whole: tasks, and which benchmark each of them belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from contracts.errors import UserError
from contracts.types import Task
from services.tasks.mapping import tasks_of
from services.tasks.presets import (
    ONE_NUMBER,
    PRESETS,
    preset_fields,
    preset_format,
    without_thousands_marks,
)
from services.tasks.rows import Row, read_rows

DATASET_FIELD = "dataset"
"""Where a file that holds several benchmarks says which one a record is of."""


def read_published(
    name: str, path: Path, verifier: str = "math", images: Path | None = None
) -> list[Task]:
    """All tasks of a published file, in its order.

    Args:
        name: one of ``PRESETS``.
        path: the file as published (JSON Lines, JSON or Parquet), or a saved dataset.
        verifier: grader of the answers.
        images: folder that image paths are relative to; the file's own where None.

    Raises:
        UserError: the preset is unknown, or the file cannot be read as one; names the record.
    """
    rows = _rows(name, path)
    return _tasks(name, path, rows, verifier, images)


def read_benchmarks(
    name: str, path: Path, verifier: str = "math", images: Path | None = None
) -> dict[str, list[Task]]:
    """The tasks of a published file by benchmark: one, called ``name``, unless the file says more.

    Arguments and errors are those of ``read_published``.
    """
    rows = _rows(name, path)
    benchmarks: dict[str, list[Task]] = {}
    for row, task in zip(rows, _tasks(name, path, rows, verifier, images), strict=True):
        dataset = row.fields.get(DATASET_FIELD)
        benchmarks.setdefault(dataset if isinstance(dataset, str) else name, []).append(task)
    return benchmarks


def _rows(name: str, path: Path) -> Sequence[Row]:
    if name not in PRESETS:
        raise UserError(
            "no such published set", where=name, remedy=f"there are {', '.join(PRESETS)}"
        )
    rows = list(read_rows(path, preset_format(path)))
    if not rows:
        raise UserError("no task in it", where=str(path), remedy="check tasks.path")
    return rows


def _tasks(
    name: str, path: Path, rows: Sequence[Row], verifier: str, images: Path | None
) -> list[Task]:
    fields = preset_fields(name, rows[0].fields)
    folder = images or (path if path.is_dir() else path.parent)
    tasks = tasks_of(rows, fields, verifier, name=path.stem, folder=folder)
    return [without_thousands_marks(task) for task in tasks] if name in ONE_NUMBER else tasks
