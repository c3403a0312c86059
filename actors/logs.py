"""Output of an actor and of all its children: into a file of its own, never to the terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def redirect_output(path: Path) -> None:
    """Send this process's standard output and error to ``path``, appending.

    File descriptors are replaced, not only Python's objects, so that what C libraries and
    child processes write goes there too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
