"""Images of a record: paths, or bytes in the data file that are written out once."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from contracts.errors import UserError
from services.tasks.rows import Row

_ENDINGS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"RIFF": ".webp"}


def image_path(row: Row, name: str, image: Any, folder: Path, keep: Path | None = None) -> str:
    """The absolute path of an image.

    Args:
        row: the record, for messages.
        name: the field the image is in.
        image: a path, or ``{"bytes": ..., "path": ...}`` as Parquet files and saved datasets
            keep images.
        folder: what a path is relative to.
        keep: where bytes are written, under a name made of their hash; None refuses them.

    Raises:
        UserError: there is no such file, or what there is, is no image.
    """
    content = image.get("bytes") if isinstance(image, dict) else None
    if isinstance(content, bytes) and keep is not None:
        return _kept(row, name, content, keep)
    if isinstance(image, dict) and content is None:
        image = image.get("path")
    if not isinstance(image, str):
        raise UserError(
            f"field {name!r} holds no path of an image, but a {type(image).__name__}",
            where=row.where,
            remedy="save the images as files and name them in the field",
        )
    found = (folder / image).resolve()
    if not found.is_file():
        raise UserError(
            f"no such image: {found}",
            where=row.where,
            remedy="image paths are relative to the folder of the data file",
        )
    return str(found)


def _kept(row: Row, name: str, content: bytes, keep: Path) -> str:
    endings = (ending for magic, ending in _ENDINGS.items() if content.startswith(magic))
    ending = next(endings, None)
    if ending is None:
        raise UserError(
            f"field {name!r} holds {len(content)} bytes that are no PNG, JPEG, GIF or WebP image",
            where=row.where,
            remedy="mend or remove the record",
        )
    keep.mkdir(parents=True, exist_ok=True)
    path = keep / (hashlib.blake2b(content, digest_size=16).hexdigest() + ending)
    if not path.exists():
        # A name that is there is a whole file, also for others who write it now.
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(content)
        part.replace(path)
    return str(path.resolve())
