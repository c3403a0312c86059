"""From a YAML file and ``dotted.key=value`` overrides to a checked ``RunConfig``, and back.

All problems are reported together, each with the file and line, or the override, it came from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.nested import merged
from contracts.problems import Problem, problems_of, together
from contracts.shipped import DEPLOY, find_shipped, names_in
from contracts.yaml_lines import KeyPath, dump, parse_value, read_document

FORMER_NAMES: dict[str, tuple[str, ...]] = {"metrics_port": ("metrics", "port")}
"""Top-level fields by former names, which files of theirs may still have."""

PRESETS = DEPLOY / "presets"
"""Where the presets are: one YAML file each."""


def load_config(
    path: Path | None, overrides: Sequence[str] = (), base: Mapping[str, Any] | None = None
) -> RunConfig:
    """The configuration of a run: defaults, then ``base``, then the file, then overrides.

    A key given in an outer layer replaces the one below it; sections and mappings are merged.

    Args:
        path: a YAML file; None for none.
        overrides: ``dotted.key=value`` each, the value as in YAML. Text needs no quotes.
        base: values below the file, nested as in the file.

    Raises:
        UserError: the file is missing or malformed, a key is unknown, a value has the wrong
            type, or values do not go together.
    """
    draft = _Draft()
    if base:
        draft.merge(base)
    if path is not None:
        document = read_document(path)
        draft.merge(document.data)
        draft.origins.update({key: f"{path}:{line}" for key, line in document.lines.items()})
    problems = [problem for text in overrides for problem in _override(draft, text)]
    _rename(draft)
    _fill_mappings(RunConfig, draft.data)
    # Strict JSON types are those of YAML: a list becomes a tuple and text a path, but `yes` no
    # number and `true` no 1.
    as_json = json.dumps(draft.data, default=str)
    try:
        config = RunConfig.model_validate_json(as_json, strict=True)
    except ValidationError as error:
        problems += problems_of(error, RunConfig, draft.origin)
    if problems:
        raise together(problems, "problems in the configuration")
    return config


def dump_config(config: RunConfig) -> str:
    """The whole configuration as YAML; ``load_config`` of it gives an equal one."""
    return dump(config.model_dump(mode="json"))


def preset_names() -> list[str]:
    """The names of the presets, sorted."""
    return names_in(PRESETS)


def find_config(argument: str) -> Path:
    """The file meant by a CONFIG argument: the name of a preset, or a path.

    Raises:
        UserError: it is neither.
    """
    return find_shipped(argument, PRESETS, "preset")


@dataclass(slots=True)
class _Draft:
    """Values put together so far, and where each of them came from."""

    data: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)

    def merge(self, values: Mapping[str, Any]) -> None:
        self.data = merged(self.data, values)

    def put(self, path: tuple[str, ...], value: Any, origin: str) -> None:
        inside = self.data
        for depth, key in enumerate(path[:-1], start=1):
            below = inside.get(key)
            if not isinstance(below, dict):
                below = inside[key] = {}
                self.origins.pop(path[:depth], None)
            inside = below
        old = inside.get(path[-1])
        if isinstance(old, dict) and isinstance(value, dict):
            value = merged(old, value)
        else:
            self._forget_below(path)
        inside[path[-1]] = value
        self.origins[path] = origin

    def _forget_below(self, path: KeyPath) -> None:
        for known in [known for known in self.origins if known[: len(path)] == path]:
            del self.origins[known]

    def origin(self, path: KeyPath) -> str:
        """Where ``path`` was given: itself, what it is part of, or a part of it; else empty."""
        for length in range(len(path), 0, -1):
            if found := self.origins.get(path[:length]):
                return found
        below = (where for known, where in self.origins.items() if known[: len(path)] == path)
        return next(below, "") if path else ""


def _override(draft: _Draft, text: str) -> Iterator[Problem]:
    """Put ``dotted.key=value`` into ``draft``; yields a problem where it is not one."""
    dotted, equals, value = text.partition("=")
    path = tuple(dotted.strip().split("."))
    if not equals or not all(path):
        yield Problem(text, "an override must have the form key=value", "For example: steps=10")
        return
    origin = f"override {text}"
    try:
        parsed = _read_text(value) if _is_text(path) else parse_value(value, origin)
    except UserError as error:
        yield Problem(origin, error.what, "Quote the value for YAML and for the shell.")
        return
    draft.put(path, parsed, origin)


def _rename(draft: _Draft) -> None:
    """Move values given by a former name to where they are now; a present name goes first."""
    for old, path in FORMER_NAMES.items():
        if old not in draft.data:
            continue
        value, origin = draft.data.pop(old), draft.origins.pop((old,), "")
        section = draft.data.get(path[0])
        if not (isinstance(section, dict) and path[-1] in section):
            draft.put(path, value, origin)


def _read_text(value: str) -> str:
    """``value`` itself, without the quotes around it if there are any."""
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def _is_text(path: tuple[str, ...]) -> bool:
    """Whether ``path`` is a field of plain text: `tasks.operators=-` is no YAML list."""
    model: type[BaseModel] = RunConfig
    for key in path[:-1]:
        section = model.model_fields.get(key)
        below = None if section is None else _section(section.annotation)
        if below is None:
            return False
        model = below
    last = model.model_fields.get(path[-1])
    return last is not None and last.annotation is str


def _section(annotation: Any) -> type[BaseModel] | None:
    """``annotation`` if it is a section of the configuration."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None


def _fill_mappings(model: type[BaseModel], data: dict[str, Any]) -> None:
    """Give mappings (``learner.weights``) the default entries that were not mentioned."""
    for name, info in model.model_fields.items():
        given, section = data.get(name), _section(info.annotation)
        if not isinstance(given, dict):
            continue
        if section is not None:
            _fill_mappings(section, given)
        elif isinstance(info.default, dict):
            data[name] = {**info.default, **given}
