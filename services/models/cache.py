"""A cache of model folders: each is built once, whole or not at all, by one process at a time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from contracts.errors import CoevolveError, DeadlineError

RECORD = "coevolve.json"
"""File of a cached folder with what was built and how. It is written last."""

PROGRESS = "progress.txt"
"""File a builder writes its progress to, one line, overwritten."""

ROOT = Path(__file__).resolve().parents[2]


class BuildError(CoevolveError):
    """A model could not be built. The message names the log."""


@dataclass(frozen=True)
class Build:
    """How a cached folder comes to be.

    ``module`` is run as ``python -m module REQUEST FOLDER``; it writes the folder and, last of
    all, its ``coevolve.json``. ``request`` is handed over as a JSON file, ``environment`` added
    to the process's. ``key`` names the folder and holds everything that matters to its contents.
    """

    key: str
    module: str
    request: dict[str, object]
    what: str
    environment: dict[str, str] = field(default_factory=dict)


def digest(*parts: object) -> str:
    """16 hexadecimal digits of the SHA-256 of ``parts`` as JSON."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cached(
    build: Build,
    cache: Path,
    *,
    log: Path,
    deadline: float,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """The folder of ``build``, built if it is not there yet.

    The build runs in a process of its own, its output appended to ``log``. It writes to a
    temporary folder that is renamed when it is whole. A second process that wants the same
    folder waits for the first.

    Args:
        deadline: seconds to wait for another process, and then for the build.
        progress: called with lines such as ``warm start: 120 of 970 updates``.

    Raises:
        BuildError: the build failed.
        DeadlineError: the build, or the one of another process, took too long.
    """
    folder = cache / build.key
    if (folder / RECORD).is_file():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    lock = FileLock(cache / f"{build.key}.lock", timeout=deadline)
    try:
        with lock:
            if not (folder / RECORD).is_file():
                _build(build, folder, log, deadline, progress)
    except Timeout as error:
        raise DeadlineError(
            f"{build.what} in another process ({lock.lock_file})", deadline
        ) from error
    return folder


def read_record(folder: Path) -> dict[str, object]:
    """What ``coevolve.json`` of a cached folder says."""
    record: dict[str, object] = json.loads((folder / RECORD).read_text())
    return record


def write_record(folder: Path, parameters: int, warm_start: str = "", **more: object) -> None:
    """Write ``coevolve.json``, which makes a folder whole. Builders call it last."""
    record = {"parameters": parameters, "warm_start": warm_start, **more}
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")


def end_with_parent() -> None:
    """End this process when the one that started it ends, however that came about.

    Builders call it first. Their standard input is a pipe nobody writes to; its end is seen
    even when the parent was killed and could not tidy up.
    """

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # unbuffered: a buffer's lock would outlive this thread
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _build(
    build: Build,
    folder: Path,
    log: Path,
    deadline: float,
    progress: Callable[[str], None] | None,
) -> None:
    """Run the builder into a temporary folder and rename that. The caller holds the lock."""
    temporary = folder.with_name(f".{folder.name}.building")
    shutil.rmtree(temporary, ignore_errors=True)  # what a killed builder left
    shutil.rmtree(folder, ignore_errors=True)  # a folder without its record is not whole
    temporary.mkdir()
    try:
        request = temporary / "request.json"
        request.write_text(json.dumps(build.request))
        _run(build, temporary, log, deadline, progress)
        if not (temporary / RECORD).is_file():
            raise BuildError(f"{build.what} ended without a model; see {log}")
        request.unlink()
        (temporary / PROGRESS).unlink(missing_ok=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _run(
    build: Build,
    folder: Path,
    log: Path,
    deadline: float,
    progress: Callable[[str], None] | None,
) -> None:
    """Run the builder to its end, relaying its progress; leave no process behind."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", build.module, str(folder / "request.json"), str(folder)]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **build.environment}
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        code = _wait(process, build.what, folder / PROGRESS, deadline, progress)
    finally:
        _end(process)
    if code:
        raise BuildError(f"{build.what} failed with exit code {code}; see {log}\n{_tail(log)}")


def _wait(
    process: subprocess.Popen[bytes],
    what: str,
    note: Path,
    deadline: float,
    progress: Callable[[str], None] | None,
) -> int:
    """The exit code of ``process``, its note passed on to ``progress`` as it changes."""
    end, said = time.monotonic() + deadline, ""
    while True:
        try:
            return process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            if time.monotonic() > end:
                raise DeadlineError(what, deadline) from None
        if progress and note.is_file() and (line := note.read_text().strip()) not in ("", said):
            progress(said := line)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the builder and what it started, if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait(timeout=10)
    if process.stdin is not None:
        process.stdin.close()


def _tail(log: Path, lines: int = 5) -> str:
    return "\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-lines:])
