"""Published data sets as they are distributed: format and fields known beforehand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from contracts.config import FieldMapping
from contracts.errors import UserError
from contracts.types import Task
from services.tasks.rows import Format

PRESETS: dict[str, FieldMapping] = {
    "gsm8k": FieldMapping(question="question", answer="answer", answer_after="####"),
    "svamp": FieldMapping(question="Body+Question", answer="Answer"),
}
"""Fields of each preset."""

_FORMATS: dict[str, Format] = {".jsonl": "jsonl", ".json": "json", ".parquet": "parquet"}
_THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?")


def preset_format(path: Path) -> Format:
    """The format of a published file, by its ending; a folder is a saved dataset.

    Raises:
        UserError: an ending that none of them has.
    """
    if path.is_dir():
        return "hf"
    if path.suffix not in _FORMATS:
        raise UserError(
            f"ending {path.suffix!r} is none of {', '.join(_FORMATS)}",
            where=str(path),
            remedy="name the published file in tasks.path",
        )
    return _FORMATS[path.suffix]


def without_thousands_marks(task: Task) -> Task:
    """``1,080`` as ``1080``: these sets ask for one number, never for a list."""
    if _THOUSANDS.fullmatch(task.gold):
        return replace(task, gold=task.gold.replace(",", ""))
    return task
