"""What is wrong with a configuration, in plain words."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from contracts.errors import UserError
from contracts.yaml_lines import KeyPath

Origin = Callable[[KeyPath], str]
"""Where a field was given: ``file:line``, ``override key=value``, or empty for a default."""

_WHOLE, _NUMBER, _TEXT = "must be a whole number", "must be a number", "must be text"
_KINDS = {
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": _TEXT,
    "path_type": "must be a path",
    "dict_type": "must be a mapping (key: value)",
    "model_type": "must be a section (key: value)",
    "model_attributes_type": "must be a section (key: value)",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
}
_BOUNDS = {
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must match {pattern}",
    "too_long": "must have at most {max_length} items",
    "too_short": "must have at least {min_length} items",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where it was given, what it is, and what can be done."""

    where: str
    what: str
    remedy: str = ""


def together(problems: Sequence[Problem], heading: str) -> UserError:
    """One error of all ``problems``, of which there is at least one.

    ``heading`` follows their number, where there are several: ``problems in the configuration``.
    """
    if len(problems) == 1:
        only = problems[0]
        return UserError(only.what, where=only.where, remedy=only.remedy)
    lines = [f"  {p.where}: {p.what}" + (f"\n    {p.remedy}" if p.remedy else "") for p in problems]
    return UserError("\n".join([f"{len(problems)} {heading}", *lines]))


def problems_of(error: ValidationError, root: type[BaseModel], origin: Origin) -> list[Problem]:
    """The problems pydantic found in a ``root`` whose values came from ``origin``."""
    return [_problem(details, root, origin) for details in error.errors()]


def _problem(details: ErrorDetails, root: type[BaseModel], origin: Origin) -> Problem:
    # Pydantic adds "[key]" behind a bad key of a mapping.
    bad_key = details["loc"][-1:] == ("[key]",)
    path: KeyPath = details["loc"][:-1] if bad_key else details["loc"]
    if bad_key or details["type"] == "extra_forbidden":
        return Problem(_where(path, origin), "unknown key", _suggest(path, root))
    if details["type"] == "value_error":
        what = details["msg"].removeprefix("Value error, ")
        return Problem(_first_mentioned(what, root, origin) or origin(path), what)
    remedy = ""
    if details["type"] == "literal_error":
        remedy = _nearest_choice(details)
    elif details["type"] == "string_type":
        remedy = "Put it in quotes."
    return Problem(_where(path, origin), _plain(details), remedy)


def _where(path: KeyPath, origin: Origin) -> str:
    dotted = ".".join(map(str, path))
    place = origin(path)
    if place.startswith(f"override {dotted}="):
        return place
    return f"{place}: {dotted}" if place else dotted


def _plain(details: ErrorDetails) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind in _KINDS:
        what = _KINDS[kind]
    elif kind in _BOUNDS:
        what = _BOUNDS[kind].format(**context)
    else:
        what = details["msg"]
    return f"{what}, not {_show(details['input'])}"


def _show(value: Any) -> str:
    """``value`` as it would stand in YAML, cut short."""
    if value is None:
        return "empty"
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest_choice(details: ErrorDetails) -> str:
    choices = re.findall(r"'([^']*)'", str(details.get("ctx", {}).get("expected", "")))
    near = difflib.get_close_matches(str(details["input"]), choices, n=1)
    return f"Did you mean {near[0]}?" if near else ""


def _suggest(path: KeyPath, root: type[BaseModel]) -> str:
    """The nearest valid names for the unknown key at the end of ``path``."""
    *above, last = map(str, path)
    fields = dict(_fields(root))
    if last in fields:
        section, _, name = last.rpartition(".")
        return f"Keys are nested in a file: write {name} below {section}."
    prefix = "".join(f"{key}." for key in above)
    siblings = [
        dotted.removeprefix(prefix)
        for dotted in fields
        if dotted.startswith(prefix) and "." not in dotted.removeprefix(prefix)
    ]
    if namesakes := [dotted for dotted in fields if dotted.rpartition(".")[2] == last]:
        return f"Did you mean {_either(namesakes)}?"
    if near := difflib.get_close_matches(last, siblings, n=3):
        return f"Did you mean {_either(near)}?"
    valid = f"Valid keys here: {', '.join(siblings)}."
    everywhere = {dotted.rpartition(".")[2]: dotted for dotted in fields}
    near = difflib.get_close_matches(last, everywhere, n=3)
    return f"Did you mean {_either([everywhere[n] for n in near])}? {valid}" if near else valid


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All dotted names below ``model``, sections and keys of mappings too, with defaults."""
    for name, info in model.model_fields.items():
        yield f"{prefix}{name}", info.default
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _fields(info.annotation, f"{prefix}{name}.")
        elif isinstance(info.default, dict):
            for key, value in info.default.items():
                yield f"{prefix}{name}.{key}", value


def _first_mentioned(message: str, root: type[BaseModel], origin: Origin) -> str:
    """Where the first field that ``message`` names was given, if any was."""
    fields = dict(_fields(root))
    for dotted in re.findall(r"[a-z_]+(?:\.[a-z_]+)*", message):
        if dotted in fields and (place := origin(tuple(dotted.split(".")))):
            return place
    return ""
