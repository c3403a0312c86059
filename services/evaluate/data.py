"""Which questions are meant by ``--data``: held-out tasks, a published file, a reward benchmark.

========================  ==========================================================
``held-out``              the tasks that the model's run keeps back
``arithmetic``            the held-out sums of the built-in tasks
``NAME=FILE``             a published file by name: those of ``services.tasks.presets``, and
                          ``rewardbench2`` and ``pairwise``
``FILE``                  the same, its form seen from its first record; else the fields
                          ``question`` and ``answer``
========================  ==========================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from contracts.config import FieldMapping, RunConfig, TaskConfig
from contracts.errors import UserError
from contracts.types import Task
from services.tasks import load_tasks
from services.tasks.mapping import tasks_of
from services.tasks.preferences import READERS, Preference, read_preferences
from services.tasks.presets import PRESETS, preset_format
from services.tasks.published import read_benchmarks
from services.tasks.rows import read_rows

HELD_OUT, ARITHMETIC = "held-out", "arithmetic"

SIGNS: tuple[tuple[str, frozenset[str]], ...] = (
    ("rewardbench2", frozenset(("prompt", "chosen", "rejected"))),
    ("pairwise", frozenset(("query", "response", "human_ranking"))),
    ("spark", frozenset(("problem", "answer", "image_path"))),
    ("svamp", frozenset(("Body", "Question", "Answer"))),
    ("math500", frozenset(("problem", "answer", "unique_id"))),
    ("aime", frozenset(("Problem", "Answer", "ID"))),
    ("amc", frozenset(("problem", "answer", "id"))),
)
"""Fields that a published form is known by, the more telling ones first."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Questions under a name: with gold answers, or with responses to be judged."""

    name: str
    tasks: tuple[Task, ...] = ()
    preferences: tuple[Preference, ...] = ()

    @property
    def images(self) -> bool:
        """Whether any question shows an image."""
        return any(task.images for task in self.tasks) or any(p.images for p in self.preferences)


@dataclass(frozen=True, slots=True)
class Questions:
    """What the command was given to ask; see ``load_data``."""

    given: tuple[str, ...]
    limit: int | None = None
    verifier: str = "math"
    images: Path | None = None
    keep: Path | None = None

    def of(self, config: RunConfig) -> tuple[Dataset, ...]:
        """The data sets, worded for a model with this configuration."""
        return tuple(
            dataset
            for given in self.given
            for dataset in load_data(
                given,
                config,
                limit=self.limit,
                verifier=self.verifier,
                images=self.images,
                keep=self.keep,
            )
        )


def load_data(
    given: str,
    config: RunConfig,
    *,
    limit: int | None = None,
    verifier: str = "math",
    images: Path | None = None,
    keep: Path | None = None,
) -> list[Dataset]:
    """The questions meant by ``given``; several where a file holds several benchmarks.

    Args:
        given: see above.
        config: of the model's run, for its held-out tasks and its wording of sums.
        limit: at most so many of each, chosen by a hash, in their order; None: all.
        verifier: grader of a file's answers.
        images: folder that image paths are relative to; the file's own where None.
        keep: folder for images that are within a file.

    Raises:
        UserError: nothing is meant by it, or the file cannot be read; names the record.
    """
    return [
        replace(
            found,
            tasks=_limited(found.tasks, [task.id for task in found.tasks], limit),
            preferences=_limited(found.preferences, [p.id for p in found.preferences], limit),
        )
        for found in _load(given, config, verifier, images, keep)
    ]


def _load(
    given: str, config: RunConfig, verifier: str, images: Path | None, keep: Path | None
) -> list[Dataset]:
    style = config.recycle.style
    if given == HELD_OUT:
        return [Dataset(config.tasks.source, tuple(load_tasks(config.tasks, style).held_out))]
    if given == ARITHMETIC:
        settings = config.tasks if config.tasks.source == ARITHMETIC else TaskConfig()
        return [Dataset(ARITHMETIC, tuple(load_tasks(settings, style).held_out))]
    name, path = _named(given)
    if name in READERS:
        return [Dataset(path.stem, preferences=tuple(read_preferences(name, path, images, keep)))]
    if name in PRESETS:
        found = read_benchmarks(name, path, verifier, images)
        return [Dataset(each, tuple(tasks)) for each, tasks in found.items()]
    rows = read_rows(path, preset_format(path))
    tasks = tasks_of(rows, FieldMapping(), verifier, name=path.stem, folder=path.parent)
    if not tasks:
        raise UserError("no task in it", where=given, remedy="check --data")
    return [Dataset(path.stem, tuple(tasks))]


def _named(given: str) -> tuple[str, Path]:
    """Name and file of ``NAME=FILE`` or ``FILE``; an unknown form has no name."""
    name, mark, file = given.partition("=")
    if mark and (name in PRESETS or name in READERS):
        return name, _present(Path(file).expanduser(), given)
    path = _present(Path(given).expanduser(), given)
    first = next(iter(read_rows(path, preset_format(path))), None)
    return form_of(first.fields) if first is not None else "", path


def _present(path: Path, given: str) -> Path:
    if path.exists():
        return path
    names = ", ".join((*PRESETS, *READERS))
    raise UserError(
        "there are no such data",
        where=f"--data {given}",
        remedy=f"give {HELD_OUT}, {ARITHMETIC}, a file, or NAME=FILE with NAME one of {names}",
    )


def form_of(fields: Mapping[str, Any]) -> str:
    """The published form that a record's fields are of; empty where none is known by them."""
    if "####" in str(fields.get("answer", "")):
        return "gsm8k"
    return next((name for name, needed in SIGNS if needed <= set(fields)), "")


def _limited(items: Sequence[T], ids: Sequence[str], limit: int | None) -> tuple[T, ...]:
    """``limit`` of the items, whatever their order, in their order."""
    if limit is None or limit >= len(items):
        return tuple(items)
    kept = set(sorted(range(len(items)), key=lambda place: _draw(ids[place]))[:limit])
    return tuple(item for place, item in enumerate(items) if place in kept)


def _draw(content: str) -> bytes:
    return hashlib.blake2b(content.encode(errors="surrogatepass"), digest_size=16).digest()
