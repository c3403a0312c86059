"""Rows of a data file, each with the place it came from, for errors that can be acted on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from contracts.errors import UserError

Format = Literal["jsonl", "json", "parquet", "hf"]


@dataclass(frozen=True, slots=True)
class Row:
    """One record. ``number`` counts from 1, in lines of a JSONL file; ``where`` names both."""

    number: int
    where: str
    fields: Mapping[str, Any]


def read_rows(path: Path, form: Format) -> Iterator[Row]:
    """The records of a file or folder.

    Raises:
        UserError: there is no such file, or it cannot be read; names the line or row.
    """
    if not path.exists():
        raise UserError(
            "no such file or folder",
            where=str(path),
            remedy=f"check tasks.path; it is looked up from {Path.cwd()}",
        )
    if path.is_dir() and form in ("jsonl", "json"):
        raise UserError(
            f"a folder, but source {form!r} reads one file",
            where=str(path),
            remedy="name the file in tasks.path",
        )
    yield from _READERS[form](path)


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                where = f"{path}, line {number}"
                yield _row(number, where, _parse(line, where))


def _json(path: Path) -> Iterator[Row]:
    content = _parse(path.read_bytes(), str(path))
    if isinstance(content, dict):
        content = content.get("data")
    if not isinstance(content, list):
        raise UserError(
            'neither a list of records nor {"data": [records]}',
            where=str(path),
            remedy="for one record per line, use source 'jsonl'",
        )
    for number, record in enumerate(content, 1):
        yield _row(number, f"{path}, record {number}", record)


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow.parquet
    from pyarrow import ArrowException

    try:
        table = pyarrow.parquet.read_table(path)
    except (ArrowException, OSError) as error:
        raise UserError(
            f"cannot be read as Parquet: {error}", where=str(path), remedy="check tasks.source"
        ) from error
    number = 0
    for batch in table.to_batches():
        for record in batch.to_pylist():
            number += 1
            yield _row(number, f"{path}, row {number}", record)


def _saved_dataset(path: Path) -> Iterator[Row]:
    import datasets

    try:
        loaded = datasets.load_from_disk(str(path))
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UserError(
            f"not a saved Hugging Face dataset: {error}",
            where=str(path),
            remedy="name the folder that save_to_disk wrote",
        ) from error
    if isinstance(loaded, datasets.DatasetDict):
        loaded = _train_part(loaded, path)
    # Not decoded here: that takes a package of its own, and paths are all a task holds.
    for name, feature in loaded.features.items():
        if isinstance(feature, datasets.Image):
            loaded = loaded.cast_column(name, datasets.Image(decode=False))
    for number, record in enumerate(loaded, 1):
        yield _row(number, f"{path}, row {number}", record)


def _train_part(parts: Mapping[str, Any], path: Path) -> Any:
    if "train" in parts:
        return parts["train"]
    if len(parts) == 1:
        return next(iter(parts.values()))
    raise UserError(
        f"several parts ({', '.join(parts)}), and none is called train",
        where=str(path),
        remedy="name the folder of one part in tasks.path",
    )


_READERS = {"jsonl": _jsonl, "json": _json, "parquet": _parquet, "hf": _saved_dataset}


def _parse(content: bytes, where: str) -> Any:
    """JSON out of UTF-8 bytes.

    Python's own limits on digits and depth show up as ValueError and RecursionError.
    """
    try:
        return json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(
            f"not UTF-8 (byte {error.start})", where=where, remedy="convert the file to UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        several = b"\n" in content.strip()
        place = f"line {error.lineno}, column" if several else "column"
        raise UserError(
            f"malformed JSON at {place} {error.colno}: {error.msg}",
            where=where,
            remedy="mend or remove it",
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"malformed JSON: {error}", where=where, remedy="mend or remove it"
        ) from error


def _row(number: int, where: str, record: object) -> Row:
    if not isinstance(record, dict):
        raise UserError(
            f"a record must be a JSON object, this is a {type(record).__name__}",
            where=where,
            remedy="mend or remove it",
        )
    return Row(number, where, record)
