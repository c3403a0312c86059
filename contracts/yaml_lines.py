"""YAML that remembers the line of every key.

Reads the part of YAML 1.2 a configuration needs. Unlike YAML 1.1, ``1e-5`` is a number, and
``on``, ``off``, ``yes``, ``no`` are text. Aliases and tags are refused: they only make a
configuration harder to read, and aliases can be circular.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from contracts.errors import UserError

KeyPath = tuple[str | int, ...]

_INT = re.compile(r"^[-+]?(?:[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2 scalars, without aliases and tags."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - the base class's protocol

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _marked("aliases (*name) are not supported", event)
        if getattr(event, "tag", None) is not None:
            raise _marked("tags (!name) are not supported", event)
        return super().compose_node(parent, index)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = node.value.lower()
        return int(text, 0) if "x" in text or "o" in text else int(text)


_Loader.add_implicit_resolver(_TAG + "null", _NULL, ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_TAG + "bool", _BOOL, list("tTfF"))
_Loader.add_implicit_resolver(_TAG + "int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+.0123456789"))
_Loader.add_constructor(_TAG + "int", _Loader.construct_yaml_int)


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes text which either YAML 1.1 or 1.2 would read as something else."""


_Dumper.add_implicit_resolver(_TAG + "int", _INT, list("-+0123456789"))
_Dumper.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+.0123456789"))


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML mapping and the 1-based line of each of its keys and list items."""

    data: dict[str, Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)


def read_document(path: Path) -> Document:
    """Read a YAML file whose top level is a mapping. An empty file is an empty mapping.

    Raises:
        UserError: no such file, not text, malformed, a key given twice, not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError("no such file", where=str(path), remedy="Check the path.") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"not a text file (byte {error.start} is not UTF-8)",
            where=str(path),
            remedy="A configuration is a YAML file in UTF-8.",
        ) from None
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise UserError(what, where=str(path), remedy="Check the path and its rights.") from None
    return parse_document(text, str(path))


def parse_document(text: str, name: str) -> Document:
    """As ``read_document``, for YAML at hand. ``name`` is said in errors."""
    lines: dict[KeyPath, int] = {}
    data = _load(text, name, lines)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise UserError(
            "the top level must be a mapping (key: value)",
            where=f"{name}:1",
            remedy="`coevolve config demo` prints a whole configuration to start from.",
        )
    return Document(data, lines)


def parse_value(text: str, name: str) -> Any:
    """One YAML value, as it is given on a command line. ``name`` is said in errors.

    Raises:
        UserError: malformed.
    """
    return _load(text, name, {})


def dump(data: dict[str, Any]) -> str:
    """``data`` as YAML, keys in their order; ``parse_document`` gives back the same."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


def _load(text: str, name: str, lines: dict[KeyPath, int]) -> Any:
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            return None if node is None else _build(loader, node, (), lines)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise _malformed(error.problem or str(error), f"{name}:{line}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _malformed(
            f"character {error.character!r} is not allowed", f"{name}:{line}"
        ) from None


def _marked(problem: str, place: yaml.Event | yaml.Node) -> yaml.MarkedYAMLError:
    error = yaml.MarkedYAMLError(problem=problem)
    if place.start_mark is not None:
        error.problem_mark = yaml.Mark("", 0, place.start_mark.line, 0, None, 0)
    return error


def _malformed(problem: str, where: str) -> UserError:
    return UserError(
        f"malformed YAML: {problem}",
        where=where,
        remedy="Check indentation, colons, quotes and brackets on this line and the one before.",
    )


def _build(loader: _Loader, node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int]) -> Any:
    """The value of ``node``; the lines of all keys below it go to ``lines``."""
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(loader, node, path, lines)
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            items.append(_build(loader, item, (*path, index), lines))
        return items
    return loader.construct_object(node)


def _build_mapping(
    loader: _Loader, node: yaml.MappingNode, path: KeyPath, lines: dict[KeyPath, int]
) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise _marked("a key must be text", key_node)
        key = key_node.value
        if key in data:
            first = lines[(*path, key)]
            raise _marked(f"key {key!r} is given twice, first on line {first}", key_node)
        lines[(*path, key)] = key_node.start_mark.line + 1
        data[key] = _build(loader, value_node, (*path, key), lines)
    return data
