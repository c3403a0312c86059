"""``coevolve templates``: the wordings of all prompts, and one of them filled in."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer

from contracts.errors import UserError

NameArgument = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="A template, to be printed filled with an example."),
]


def templates(name: NameArgument = None) -> None:
    """List the prompt templates with their versions, or print one filled with an example."""
    typer.echo(listing() if name is None else example(name))


def listing() -> str:
    """One line per template: style, objective, name, version, digest of the wording."""
    from recycler.templates import ALL_TEMPLATES

    rows = [("style", "objective", "name", "version", "digest")]
    rows += [
        (style, str(objective), template.name, str(template.version), template.digest)
        for style, objective, template in ALL_TEMPLATES.values()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def example(name: str) -> str:
    """The template called ``name`` (or ``name.v1``) as a prompt of an example task.

    Raises:
        UserError: there is none of that name and version.
    """
    from contracts.types import Task
    from recycler.templates import ALL_TEMPLATES
    from services.records import transcript

    by_id = {template.id: template.name for _, _, template in ALL_TEMPLATES.values()}
    known = by_id.get(name, name)
    if known not in ALL_TEMPLATES:
        near = difflib.get_close_matches(name, [*ALL_TEMPLATES, *by_id], n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise UserError(
            "no such template", where=name, remedy=f"{hint}coevolve templates lists them."
        )
    style, _, template = ALL_TEMPLATES[known]
    terse = style == "terse"
    task = Task("example", "12+34" if terse else "What is 12 + 34?", "46")
    given = {"candidate": "46", "first": "46", "second": "45"}
    shown = {key: value for key, value in given.items() if f"${key}" in template.text}
    return transcript(template.render(task, **shown))
