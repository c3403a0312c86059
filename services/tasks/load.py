"""From configuration to tasks: train and held-out parts."""

from __future__ import annotations

from pathlib import Path

from contracts.config import TaskConfig
from contracts.errors import UserError
from contracts.types import Task
from services.tasks.arithmetic import Wording, arithmetic_tasks, same_sum
from services.tasks.mapping import tasks_of
from services.tasks.published import read_published
from services.tasks.rows import read_rows
from services.tasks.split import TaskSplit, split_tasks


def load_tasks(config: TaskConfig, style: str) -> TaskSplit:
    """The tasks of a run. The same configuration gives the same parts in every run.

    Args:
        config: source, mapping, size of the held-out part, seed.
        style: wording of the prompts; ``terse`` has sums asked as ``12+34``.

    Raises:
        UserError: the source cannot be read; the message names file, line and field.
    """
    if config.source == "arithmetic":
        wording: Wording = "terse" if style == "terse" else "sentence"
        tasks = arithmetic_tasks(config, wording)
        where = f"arithmetic tasks of {config.low} to {config.high}"
        return split_tasks(tasks, config.held_out, config.seed, key=same_sum, where=where)
    if config.path is None:
        raise UserError(f"source {config.source!r} needs a file", where="tasks.path")
    tasks = _read(config, config.path)
    return split_tasks(tasks, config.held_out, config.seed, where=str(config.path))


def _read(config: TaskConfig, path: Path) -> list[Task]:
    """All tasks of a file or folder."""
    match config.source:
        case "jsonl" | "json" | "parquet" | "hf":
            rows = read_rows(path, config.source)
        case _:
            return read_published(config.source, path, config.verifier)
    folder = path if path.is_dir() else path.parent
    tasks = tasks_of(rows, config.fields, config.verifier, name=path.stem, folder=folder)
    if not tasks:
        raise UserError("no task in it", where=str(path), remedy="check tasks.path")
    return tasks
