"""Published reward benchmarks: one question, several responses, and which of them are good.

RewardBench 2 (allenai/reward-bench-2) asks for the best of four: ``prompt``, a list ``chosen``
(one, but for its subset Ties), a list ``rejected``. Pairwise sets have the form of VL-RewardBench
(MMInstruction/VL-RewardBench): ``query``, two in ``response``, ``human_ranking`` with the rank of
each, 0 the better, and perhaps an ``image``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import UserError
from contracts.types import Candidate, Task
from services.tasks.images import image_path
from services.tasks.mapping import text_of
from services.tasks.presets import preset_format
from services.tasks.rows import Row, read_rows

TIES = "Ties"
"""The subset of RewardBench 2 in which several responses are right alike."""


@dataclass(frozen=True, slots=True)
class Preference:
    """A question with good and bad responses. ``subset``: the part of the benchmark, or empty."""

    id: str
    question: str
    good: tuple[str, ...]
    bad: tuple[str, ...]
    subset: str = ""
    images: tuple[str, ...] = ()

    def candidates(self, seed: int = 0) -> tuple[Candidate, ...]:
        """The responses as candidates of one task, in an order that tells nothing.

        Show them with their reasoning: it is the whole response. The task has no gold answer,
        only people's word on each response.
        """
        task = Task(self.id, self.question, gold="", images=self.images)
        responses = [(text, True) for text in self.good] + [(text, False) for text in self.bad]
        made = [
            Candidate(task, f"{self.id}#{place}", answer=text, reasoning=text, correct=good)
            for place, (text, good) in enumerate(responses)
        ]
        return tuple(sorted(made, key=lambda candidate: _draw(seed, candidate.completion_id)))


def read_preferences(
    name: str, path: Path, images: Path | None = None, keep: Path | None = None
) -> list[Preference]:
    """The records of a published reward benchmark, in their order.

    Args:
        name: ``rewardbench2`` or ``pairwise``.
        path: the file as published (JSON Lines, JSON or Parquet), or a saved dataset.
        images: folder that image paths are relative to; the file's own where None.
        keep: folder into which images that are in the file itself are written; where None,
            such a file is refused.

    Raises:
        UserError: no such benchmark, or a record is not of its form; names the record.
    """
    if name not in READERS:
        raise UserError(
            "no such reward benchmark", where=name, remedy=f"there are {', '.join(READERS)}"
        )
    folder = images or (path if path.is_dir() else path.parent)
    found: list[Preference] = []
    places: dict[str, str] = {}
    for row in read_rows(path, preset_format(path)):
        preference = READERS[name](row, path.stem, folder, keep)
        if preference.id in places:
            raise UserError(
                f"id {preference.id!r} was given before, at {places[preference.id]}",
                where=row.where,
                remedy="remove one of the two",
            )
        places[preference.id] = row.where
        found.append(preference)
    if not found:
        raise UserError("no record in it", where=str(path), remedy="name the published file")
    return found


def _rewardbench2(row: Row, name: str, _folder: Path, _keep: Path | None) -> Preference:
    return Preference(
        id=_id(row, name),
        question=text_of(row, "prompt"),
        good=_texts(row, "chosen"),
        bad=_texts(row, "rejected"),
        subset=_subset(row, "subset"),
    )


def _pairwise(row: Row, name: str, folder: Path, keep: Path | None) -> Preference:
    responses = _texts(row, "response")
    ranks = row.fields.get("human_ranking")
    if len(responses) != 2 or ranks not in ([0, 1], [1, 0]):
        raise _malformed(
            row, "two in 'response' and [0, 1] or [1, 0] in 'human_ranking' are needed"
        )
    better = ranks.index(0)
    given = row.fields.get("image")
    image = () if given in (None, "") else (image_path(row, "image", given, folder, keep),)
    return Preference(
        id=_id(row, name),
        question=text_of(row, "query"),
        good=(responses[better],),
        bad=(responses[1 - better],),
        subset=_subset(row, "query_source"),
        images=image,
    )


READERS: dict[str, Callable[[Row, str, Path, Path | None], Preference]] = {
    "rewardbench2": _rewardbench2,
    "pairwise": _pairwise,
}
"""How a record of each form is read."""


def _id(row: Row, name: str) -> str:
    return text_of(row, "id") if row.fields.get("id") not in (None, "") else f"{name}-{row.number}"


def _subset(row: Row, field: str) -> str:
    value = row.fields.get(field)
    return value if isinstance(value, str) else ""


def _texts(row: Row, field: str) -> tuple[str, ...]:
    """A field as texts that are not empty; one text alone counts as a list of one."""
    value: Any = row.fields.get(field)
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not given or not all(_is_text(text) for text in given):
        raise _malformed(row, f"field {field!r} must be a list of texts")
    return tuple(given)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _malformed(row: Row, what: str) -> UserError:
    return UserError(
        f"{what}; there are {', '.join(map(repr, row.fields)) or 'no fields'}",
        where=row.where,
        remedy="see services/tasks/preferences.py for the forms that are read",
    )


def _draw(seed: int, content: str) -> bytes:
    text = f"{seed}/{content}".encode(errors="surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()
