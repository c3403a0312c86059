"""From a study to its runs: arms x axes x seeds, each with its whole configuration."""

from __future__ import annotations

import difflib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.loading import find_config, load_config
from contracts.nested import flat
from contracts.problems import Problem, together
from contracts.yaml_lines import Document, KeyPath
from services.study.place import Place
from services.study.spec import OWN_FIELDS, Arm, Study, hold_field, place_of

RUN_OF = re.compile(r"\{run:([^{}]*)\}")
"""In a value: the run folder of another arm with the same seed."""

BETWEEN = "--"
"""Between the parts of a run's name."""


@dataclass(frozen=True, slots=True)
class Change:
    """A field's value, and where in the study it was given."""

    field: str
    value: Any
    origin: KeyPath

    def text(self) -> str:
        """As an override ``field=value``."""
        return f"{self.field}={override_value(self.value)}"


@dataclass(frozen=True, slots=True)
class Planned:
    """A run of a study. ``needs``: names of runs that must have ended before it."""

    arm: str
    point: tuple[tuple[str, Any], ...]
    """Values of the axes, by field."""
    seed: int
    configuration: str
    """Name of what it shares with the runs of other seeds."""
    base: str
    changes: tuple[Change, ...]
    needs: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the run, of its folder, and of its files."""
        return run_name(self.configuration, self.seed)


def run_name(configuration: str, seed: int) -> str:
    """The name of the run of a configuration with a seed."""
    return f"{configuration}{BETWEEN}{seed}"


def expand(study: Study, place: Place) -> list[Planned]:
    """All runs, in the order they are run: seed by seed, what is needed before what needs it.

    Raises:
        UserError: an arm is named that is not there, two need each other, two runs would have
            one name, or a field is set that the study sets itself.
    """
    _check_fields(study)
    planned = [
        _planned(study, name, point, seed, place)
        for seed in study.seed_list
        for point in points(study)
        for name in study.arms or ("",)
    ]
    names = [run.name for run in planned]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(
            f"two runs would be called {doubled[0]}",
            where=study.name,
            remedy="Values of an axis must differ in their letters and digits.",
        )
    known = sorted({run.configuration for run in planned})
    if study.baseline and not study.arms and study.baseline not in known:
        raise UserError(
            f"no configuration {study.baseline!r}",
            where="baseline",
            remedy=f"There are {', '.join(known)}.",
        )
    return _ordered(planned)


def points(study: Study) -> list[tuple[tuple[str, Any], ...]]:
    """All combinations of the axes' values; one empty combination without axes."""
    lists = [[(field, value) for value in axis.values] for field, axis in study.axes.items()]
    return list(itertools.product(*lists))


def labels(study: Study) -> dict[str, str]:
    """A short name for each axis: the last word of its field, unless two have the same."""
    last = {field: field.rpartition(".")[2] for field in study.axes}
    short = list(last.values())
    return {f: name if short.count(name) == 1 else f.replace(".", "-") for f, name in last.items()}


def configuration_name(study: Study, arm: str, point: Sequence[tuple[str, Any]]) -> str:
    """The name of arm and point: ``spark--completions-4``."""
    names = labels(study)
    parts = [arm] if arm else []
    parts += [f"{names[field]}-{slug(value)}" for field, value in point]
    return BETWEEN.join(parts) or "all"


def slug(value: Any) -> str:
    """``value`` as part of a file name."""
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") or "none"


def override_value(value: Any) -> str:
    """``value`` as it stands behind the equals sign of an override."""
    if isinstance(value, str):
        doubled = value.replace("'", "''")
        return f"'{doubled}'"
    return json.dumps(value)


def configure(run: Planned, place: Place) -> RunConfig:
    """The configuration of a run.

    Raises:
        UserError: it is not a valid one.
    """
    own = {"name": run.name, "runs_dir": str(place.runs)}
    texts = [change.text() for change in run.changes]
    texts += [f"{field}={override_value(value)}" for field, value in own.items()]
    return load_config(find_config(run.base), texts)


def configure_all(
    planned: Sequence[Planned], place: Place, path: Path, document: Document
) -> dict[str, RunConfig]:
    """The configurations of all runs, by name; every one is checked before any is started.

    Raises:
        UserError: all that is wrong, with the lines of the study.
    """
    configs: dict[str, RunConfig] = {}
    problems: dict[str, Problem] = {}
    for run in planned:
        try:
            configs[run.name] = configure(run, place)
        except UserError as error:
            problem = _located(error, run, path, document)
            problems.setdefault(f"{problem.where}{problem.what}", problem)
    if problems:
        raise together(list(problems.values()), "problems in the study's configurations")
    return configs


def _located(error: UserError, run: Planned, path: Path, document: Document) -> Problem:
    """``error`` with the lines of the study in place of the overrides that came from there."""
    where, what = error.where, error.what
    for change in run.changes:
        text, place = f"override {change.text()}", place_of(document, path, change.origin)
        named = f"{place}: {change.field}"
        if where == text:
            where = named
        what = what.replace(text, named)
    of = f" (of {run.configuration})" if where.startswith(str(path)) else ""
    return Problem(where or f"{path}: {run.configuration}", f"{what}{of}", error.remedy)


def _planned(
    study: Study, name: str, point: tuple[tuple[str, Any], ...], seed: int, place: Place
) -> Planned:
    arm = study.arms.get(name, Arm())
    changes, needs = [], []
    for change in _changes(study, name, arm, point, seed):
        value = change.value
        for other in RUN_OF.findall(value) if isinstance(value, str) else ():
            if other not in study.arms or other == name:
                near = difflib.get_close_matches(other, study.arms, n=1)
                remedy = f"Did you mean {near[0]}?" if near else "Name another arm of the study."
                raise UserError(f"no other arm {other!r}", where=change.field, remedy=remedy)
            needed = run_name(configuration_name(study, other, point), seed)
            needs.append(needed)
            value = value.replace(f"{{run:{other}}}", str(place.runs / needed))
        changes.append(Change(change.field, value, change.origin))
    return Planned(
        arm=name,
        point=point,
        seed=seed,
        configuration=configuration_name(study, name, point),
        base=arm.base or study.base,
        changes=tuple(changes),
        needs=tuple(dict.fromkeys(needs)),
    )


def _changes(
    study: Study, name: str, arm: Arm, point: Sequence[tuple[str, Any]], seed: int
) -> Iterator[Change]:
    """All that a run has of its own; what comes later goes over what came before."""
    yield from _given(study.changes, ("set",))
    for what, amount in study.hold.items():
        value = amount if what == "seconds" else int(amount)
        yield Change(hold_field(what), value, ("hold", what))
    yield from _given(arm.changes, ("arms", name, "set"))
    for field, value in point:
        axis = study.axes[field]
        place = axis.values.index(value)
        yield Change(field, value, ("axes", field))
        for other, values in axis.together.items():
            yield Change(other, values[place], ("axes", field, "with", other))
    for field in study.seed_fields:
        yield Change(field, seed, ("seed_fields",))
    yield from _given(study.force, ("force",))


def _given(values: Mapping[str, Any], origin: KeyPath) -> Iterator[Change]:
    for field, value in flat(values).items():
        yield Change(field, value, (*origin, *_written(values, field)))


def _written(values: Mapping[str, Any], field: str) -> KeyPath:
    """The keys under which ``field`` stands in ``values``, dotted or nested."""
    for key, below in values.items():
        if key == field:
            return (key,)
        if field.startswith(f"{key}.") and isinstance(below, Mapping):
            return (key, *_written(below, field.removeprefix(f"{key}.")))
    return ()


def _check_fields(study: Study) -> None:
    """Nobody sets what the study itself sets."""
    own = {*OWN_FIELDS, *study.seed_fields}
    given: list[tuple[str, Mapping[str, Any]]] = [("set", study.changes), ("force", study.force)]
    given += [(f"arms.{name}.set", arm.changes) for name, arm in study.arms.items()]
    given += [("axes", study.axes)]
    given += [(f"axes.{field}.with", axis.together) for field, axis in study.axes.items()]
    for where, values in given:
        # Not `flat` for axes: what is below their keys are no fields.
        fields = values if where.startswith("axes") else flat(values)
        if taken := sorted(own & set(fields)):
            raise UserError(
                f"{taken[0]} is set by the study itself",
                where=f"{study.name}: {where}",
                remedy="Leave it out; say `seeds`, or another name of the study.",
            )


def _ordered(planned: Sequence[Planned]) -> list[Planned]:
    """In the same order, but nothing before what it needs.

    Raises:
        UserError: runs need each other.
    """
    names = {run.name for run in planned}
    waiting, done, ordered = list(planned), set[str](), list[Planned]()
    while waiting:
        ready = next((run for run in waiting if done.issuperset(set(run.needs) & names)), None)
        if ready is None:
            raise UserError(
                f"arms need each other's runs: {waiting[0].arm}",
                where="arms",
                remedy="One of them must do without {run:...}.",
            )
        waiting.remove(ready)
        done.add(ready.name)
        ordered.append(ready)
    return ordered
