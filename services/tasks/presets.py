"""Published data sets as they are distributed: format and fields known beforehand."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from contracts.config import FieldMapping
from contracts.errors import UserError
from contracts.types import Task
from services.tasks.rows import Format

PRESETS: dict[str, tuple[FieldMapping, ...]] = {
    "gsm8k": (FieldMapping(question="question", answer="answer", answer_after="####"),),
    "svamp": (FieldMapping(question="Body+Question", answer="Answer"),),
    # HuggingFaceH4/MATH-500, test.jsonl.
    "math500": (FieldMapping(question="problem", answer="answer", id="unique_id"),),
    # AI-MO/aimo-validation-aime, HuggingFaceH4/aime_2024 and math-ai/aime25; Maxwell-Jia/AIME_2024;
    # opencompass/AIME2025.
    "aime": (
        FieldMapping(question="problem", answer="answer", id="id"),
        FieldMapping(question="Problem", answer="Answer", id="ID"),
        FieldMapping(question="question", answer="answer"),
    ),
    # AI-MO/aimo-validation-amc; math-ai/amc23.
    "amc": (
        FieldMapping(question="problem", answer="answer", id="id"),
        FieldMapping(question="question", answer="answer", id="id"),
    ),
    # internlm/Spark-Data, benchmark_combine.json: several multimodal sets in one file.
    "spark": (FieldMapping(question="problem", answer="answer", image="image_path"),),
}
"""Fields of each preset. Where publishers differ, the first mapping that the file has counts."""

ONE_NUMBER = frozenset(("gsm8k", "svamp", "aime", "amc"))
"""Presets whose answers are one number each, so that a comma in one groups its digits."""

_FORMATS: dict[str, Format] = {".jsonl": "jsonl", ".json": "json", ".parquet": "parquet"}
_THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?")


def preset_fields(name: str, given: Collection[str]) -> FieldMapping:
    """The mapping of preset ``name`` that fits records with the fields ``given``.

    Where none fits it is the first one, so that what is missing can be named.
    """
    mappings = PRESETS[name]
    fits = (mapping for mapping in mappings if _needed(mapping) <= set(given))
    return next(fits, mappings[0])


def _needed(mapping: FieldMapping) -> set[str]:
    names = {*mapping.question.split("+"), mapping.answer, mapping.image, mapping.id}
    return names - {""}


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
    """``1,080`` as ``1080``, for the sets in ``ONE_NUMBER``."""
    if _THOUSANDS.fullmatch(task.gold):
        return replace(task, gold=task.gold.replace(",", ""))
    return task
