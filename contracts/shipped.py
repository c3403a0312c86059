"""Files that come with the project, by name: presets, studies, plans."""

from __future__ import annotations

import difflib
from pathlib import Path

from contracts.errors import UserError

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
"""Where they are, a folder for each kind."""


def names_in(folder: Path) -> list[str]:
    """The names of the YAML files in ``folder``, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def find_shipped(argument: str, folder: Path, kind: str) -> Path:
    """The file meant by ``argument``: the name of one in ``folder``, or a path.

    Args:
        argument: what a person gave.
        folder: of the files that come with the project.
        kind: what one of them is called, for example ``preset``.

    Raises:
        UserError: it is neither.
    """
    names = names_in(folder)
    if argument in names:
        return folder / f"{argument}.yaml"
    path = Path(argument)
    if path.is_file():
        return path
    near = difflib.get_close_matches(argument, names, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    several = "studies" if kind == "study" else f"{kind}s"
    raise UserError(
        f"no such file, and no {kind} of that name",
        where=argument,
        remedy=f"{hint}Give a YAML file or one of the {several} {', '.join(names)}.",
    )
