"""Checkpoints that are whole or not there.

A checkpoint is written to a temporary folder, listed in a manifest with sizes and hashes,
flushed to disk, renamed into place, and only then pointed to; older ones are pruned last. A
kill at any moment leaves the last good one intact. No DeepSpeed here: only files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import CoevolveError, UserError
from contracts.locks import locked

MANIFEST = "manifest.json"
POINTER = "latest.json"
LOCK = ".writer"
FORMAT = 1
_NAME = re.compile(r"step-\d{8}")
_ASIDE = re.compile(r"\.(step-\d{8})\.old")


class CheckpointError(CoevolveError):
    """A checkpoint could not be written, or does not hold what its manifest says."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A published checkpoint. ``facts`` are what the learner wrote of itself."""

    folder: Path
    step: int
    facts: Mapping[str, Any]

    @property
    def learner(self) -> Path:
        """Folder of weights and optimiser state, a file for each rank that wrote."""
        return self.folder / "learner"

    @property
    def model(self) -> Path:
        """The Hugging Face export beside it."""
        return self.folder / "model"

    def extra(self, name: str) -> bytes:
        """What the caller of ``save`` put in under ``name``.

        Raises:
            CheckpointError: nothing of that name was saved.
        """
        file = self.folder / "extra" / name
        if not file.is_file():
            raise CheckpointError(f"checkpoint {self.folder} holds no {name!r}")
        return file.read_bytes()


@contextlib.contextmanager
def claimed(root: Path) -> Iterator[None]:
    """Hold ``root`` for one writer; the lock goes with the process, however it ends.

    Raises:
        UserError: another process holds it.
    """
    refusal = UserError(
        "another run writes checkpoints here",
        where=str(root),
        remedy="give this run another name, or end the other one",
    )
    with locked(root / LOCK, refusal):
        yield


class Writer:
    """One checkpoint on its way to disk, in the order ``begin``, files, ``publish``.

    Args:
        root: folder of all checkpoints of a run.
        step: names the checkpoint; one of the same step is replaced.
        at: called with the name of each stage as it is reached.
    """

    def __init__(self, root: Path, step: int, at: Callable[[str], None] = lambda _: None) -> None:
        self.root, self.at = root, at
        self._step = step
        self.final = root / f"step-{step:08d}"
        self.folder = root / f".{self.final.name}.writing"

    def begin(self) -> None:
        """Make the temporary folder, empty, and clear away what killed writers left."""
        self.root.mkdir(parents=True, exist_ok=True)
        for aside in self.root.glob(".step-*.old"):
            _put_back(aside)
        for left in [*self.root.glob(".step-*.writing"), *self.root.glob(".step-*.pruned")]:
            shutil.rmtree(left)
        (self.folder / "learner").mkdir(parents=True)
        self.at("begun")

    def write_extras(self, extras: Mapping[str, bytes]) -> None:
        """Files of the caller, by plain name."""
        (self.folder / "extra").mkdir()
        for name, content in extras.items():
            (self.folder / "extra" / name).write_bytes(content)
        self.at("extras written")

    def publish(self, facts: Mapping[str, Any]) -> Checkpoint:
        """Manifest, flush, rename, pointer: after it the checkpoint is the latest."""
        known = dict(facts)
        listed = {str(f.relative_to(self.folder)): _entry(f) for f in _files(self.folder)}
        body = {"format": FORMAT, "step": self._step, "facts": known, "files": listed}
        self.at("hashed")
        (self.folder / MANIFEST).write_text(json.dumps(body, indent=1, sort_keys=True))
        self.at("manifest written")
        _flush_tree(self.folder)
        self.at("flushed")
        self._rename()
        self.at("renamed")
        point_to(self.root, self.final.name)
        self.at("pointed to")
        return Checkpoint(self.final, self._step, known)

    def _rename(self) -> None:
        replaced = self.root / f".{self.final.name}.old"
        if self.final.exists():
            self.final.rename(replaced)
            self.at("old one aside")
        self.folder.rename(self.final)
        _flush_folder(self.root)
        if replaced.exists():
            _put_back(replaced)

    def abandon(self) -> None:
        """Remove the temporary folder after a failure."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _put_back(aside: Path) -> None:
    """A checkpoint that was to be replaced: gone if it was, back in its place if not."""
    final = aside.with_name(_name_of(aside))
    if final.exists():
        shutil.rmtree(aside)
    else:
        aside.rename(final)


def point_to(root: Path, name: str) -> None:
    """Let the pointer name a checkpoint, at once and for good."""
    temporary = root / f".{POINTER}"
    temporary.write_text(json.dumps({"checkpoint": name}))
    _flush_file(temporary)
    temporary.replace(root / POINTER)
    _flush_folder(root)


def prune(root: Path, keep: int, at: Callable[[str], None] = lambda _: None) -> None:
    """Remove all but the newest ``keep`` checkpoints; the one pointed to is never removed."""
    pointed = _pointed(root)
    for folder in _published(root)[max(1, keep) :]:
        if _name_of(folder) == pointed:
            continue
        # Renamed first, so that a kill in mid-removal leaves no half of a checkpoint.
        doomed = root / f".{folder.name}.pruned"
        folder.rename(doomed)
        at("pruning")
        shutil.rmtree(doomed)


def newest(root: Path, skipped: Callable[[str], None] = lambda _: None) -> Checkpoint | None:
    """The newest whole checkpoint under ``root``; None if there is none.

    Args:
        root: folder of all checkpoints of a run.
        skipped: told, in a sentence, of each checkpoint that fails its manifest.
    """
    pointed = _pointed(root)
    candidates = _published(root)
    # The one pointed to first: one above it was renamed but its writer died before it said so.
    candidates.sort(key=lambda folder: _name_of(folder) != pointed)
    for folder in candidates:
        try:
            return verified(folder)
        except CheckpointError as error:
            skipped(f"{error}; trying the one before")
    return None


def verified(folder: Path) -> Checkpoint:
    """The checkpoint in ``folder``, every file of it as its manifest says.

    Raises:
        CheckpointError: a file is missing, too many, of another size or content.
    """
    checkpoint, listed = _manifest(folder)
    present = {str(f.relative_to(folder)): f for f in _files(folder) if f.name != MANIFEST}
    if missing := sorted(set(listed) ^ set(present)):
        raise CheckpointError(f"checkpoint {folder}: {missing[0]} is not as listed")
    for name, file in present.items():
        if listed[name]["size"] != file.stat().st_size or listed[name] != _entry(file):
            raise CheckpointError(f"checkpoint {folder}: {name} is damaged")
    return checkpoint


def described(folder: Path) -> Checkpoint:
    """The checkpoint in ``folder`` as its manifest tells of it; its files are not looked at.

    Raises:
        CheckpointError: there is no manifest that can be read.
    """
    return _manifest(folder)[0]


def _manifest(folder: Path) -> tuple[Checkpoint, dict[str, Any]]:
    """A checkpoint, and size and hash of its files by name."""
    try:
        body = json.loads((folder / MANIFEST).read_text())
        return Checkpoint(folder, int(body["step"]), dict(body["facts"])), dict(body["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"checkpoint {folder} has no readable manifest") from error


def room_for(root: Path, size: int) -> None:
    """Refuse early where ``size`` bytes will not fit.

    Raises:
        CheckpointError: the disk has less room than that.
    """
    free = shutil.disk_usage(root).free
    if free < size:
        raise CheckpointError(
            f"no room for a checkpoint in {root}: about {size / 2**20:.0f} MiB needed, "
            f"{free / 2**20:.0f} MiB free"
        )


def _published(root: Path) -> list[Path]:
    """Checkpoint folders, newest first; also one whose writer died while it replaced it."""
    if not root.is_dir():
        return []
    names = {f.name for f in root.iterdir()}
    aside = {n for n in names if (m := _ASIDE.fullmatch(n)) and m[1] not in names}
    found = {n for n in names if _NAME.fullmatch(n)} | aside
    return sorted((root / name for name in found), key=_name_of, reverse=True)


def _name_of(folder: Path) -> str:
    """The name of a checkpoint, also of one put aside."""
    aside = _ASIDE.fullmatch(folder.name)
    return aside[1] if aside else folder.name


def _pointed(root: Path) -> str | None:
    try:
        return str(json.loads((root / POINTER).read_text())["checkpoint"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _entry(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    return {"size": file.stat().st_size, "sha256": digest.hexdigest()}


def _flush_tree(folder: Path) -> None:
    for file in _files(folder):
        _flush_file(file)
    for inner in sorted(f for f in folder.rglob("*") if f.is_dir()):
        _flush_folder(inner)
    _flush_folder(folder)


def _flush_file(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
