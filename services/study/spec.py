"""A study as its YAML file says it: what is varied, over which seeds, and what is measured."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from contracts.errors import UserError
from contracts.loading import preset_names
from contracts.problems import problems_of, together
from contracts.shipped import DEPLOY, find_shipped, names_in
from contracts.yaml_lines import Document, KeyPath, dump, read_document
from services.study.measures import DEFAULT_MEASURES, MEASURES

SHIPPED = DEPLOY / "studies"
"""Where the studies are that come with Coevolve."""

OWN_FIELDS = ("name", "runs_dir", "seed")
"""Fields of a run that its study sets."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$")]
"""Letters and digits, with single dots, underscores or hyphens between."""

Held = Literal["steps", "sampled_tokens", "trained_tokens", "seconds"]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values cannot change afterwards."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        validate_by_name=True,
    )


class Arm(Section):
    """One way of training that is compared with the others."""

    about: str = ""
    """What it is, in words, for the report."""
    base: str | None = None
    """Preset or configuration file to start from; null: that of the study."""
    changes: dict[str, Any] = Field(default={}, alias="set")
    """Values of its own, over those of the study; dotted or nested. `{run:ARM}` in a text is the
    run folder of that arm with the same seed, which is so run before."""
    take: dict[str, str] = {}
    """Measures that are taken from the run of another arm with the same seed: measure -> arm."""


def _as_axis(value: Any) -> Any:
    return {"values": value} if isinstance(value, list) else value


class AxisSpec(Section):
    """A field that is varied."""

    values: Annotated[list[Any], Field(min_length=1)]
    """Its values."""
    kind: Literal["setting", "size", "strong", "weak"] = "setting"
    """`size`: a power law is fitted over it. `strong`: so many workers do the same work, `weak`:
    so many do as many times the work; both get efficiencies."""
    title: str = ""
    """What plots call it; empty: the field."""
    together: dict[str, list[Any]] = Field(default={}, alias="with")
    """Other fields that move with it: a value for each of its values."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for field, values in self.together.items():
            if len(values) != len(self.values):
                raise ValueError(f"{field} has {len(values)} values for {len(self.values)}")
        if self.kind != "setting" and not all(is_number(v) and v > 0 for v in self.values):
            raise ValueError(f"an axis of kind {self.kind} needs numbers above 0 as values")
        if len({json.dumps(value) for value in self.values}) < len(self.values):
            raise ValueError("a value of the axis is given twice")
        return self


class Study(Section):
    """A study: arms x axes x seeds."""

    name: Name
    """Name of the study and of its folder."""
    about: str = ""
    """What it asks, for the report."""
    base: str = "demo"
    """Preset or configuration file that every run starts from."""
    changes: dict[str, Any] = Field(default={}, alias="set")
    """Values of all runs, over those of the base; dotted or nested."""
    arms: dict[Name, Arm] = {}
    """Ways of training, by name."""
    axes: dict[str, Annotated[AxisSpec, BeforeValidator(_as_axis)]] = {}
    """Fields to be varied, each with its values; all combinations are run, with every arm."""
    seeds: Annotated[int, Field(ge=1)] | Annotated[tuple[int, ...], Field(min_length=1)] = 3
    """Seeds, or how many: 0, 1, 2 ..."""
    seed_fields: tuple[str, ...] = ("seed",)
    """Fields that are set to the seed. With `model.warm_start.seed` among them the tiny model is
    another one for every seed, too."""
    measure: tuple[str, ...] = DEFAULT_MEASURES
    """What is collected: see docs/studies.md."""
    hold: Annotated[dict[Held, Annotated[float, Field(gt=0)]], Field(max_length=1)] = {}
    """What is the same for all runs, and how much of it: `{sampled_tokens: 500000}`."""
    baseline: str | None = None
    """The arm that the others are compared with, seed by seed; without arms a configuration."""
    longest: Annotated[float, Field(gt=0)] = 86400.0
    """Seconds after which a run is ended, and counts as failed."""
    force: dict[str, Any] = {}
    """Values that go over all others: what is given on the command line."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_arms(self)
        _check_measures(self)
        moved = [*self.axes, *(field for axis in self.axes.values() for field in axis.together)]
        if doubled := sorted({field for field in moved if moved.count(field) > 1}):
            raise ValueError(f"two axes set {doubled[0]}")
        if len(set(self.seed_list)) < len(self.seed_list):
            raise ValueError("seeds: one is given twice")
        return self

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    def text(self) -> str:
        """The study as YAML; ``load_study`` of it gives an equal one."""
        return dump(self.model_dump(mode="json", by_alias=True, exclude_defaults=True))


def _check_arms(study: Study) -> None:
    for name, arm in study.arms.items():
        for measure, other in arm.take.items():
            if measure not in MEASURES:
                raise ValueError(f"arms.{name}.take: {_no_measure(measure)}")
            if other not in study.arms or other == name:
                raise ValueError(f"arms.{name}.take: there is no other arm {other!r}")
    if study.baseline is not None and study.arms and study.baseline not in study.arms:
        raise ValueError(f"baseline: there is no arm {study.baseline!r}")


def _check_measures(study: Study) -> None:
    for name in study.measure:
        if name not in MEASURES:
            raise ValueError(f"measure: {_no_measure(name)}")


def _no_measure(name: str) -> str:
    near = difflib.get_close_matches(name, MEASURES, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(MEASURES)}"
    return f"no measure {name!r}; {hint}"


def is_number(value: Any) -> bool:
    """Whether ``value`` is a number, which yes and no are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def load_study(path: Path) -> tuple[Study, Document]:
    """The study in a YAML file, and the file's lines for messages.

    Raises:
        UserError: the file is missing or malformed, or a value is wrong.
    """
    document = read_document(path)
    try:
        study = Study.model_validate_json(json.dumps(document.data, default=str), strict=True)
    except ValidationError as error:
        problems = problems_of(error, Study, lambda key: place_of(document, path, key))
        raise together(problems, "problems in the study") from None
    bases = {"base": _located(study.base, path)}
    arms = {
        name: arm if arm.base is None else arm.model_copy(update={"base": _located(arm.base, path)})
        for name, arm in study.arms.items()
    }
    return study.model_copy(update={**bases, "arms": arms}), document


def _located(base: str, study: Path) -> str:
    """``base`` as it is found from anywhere: presets by name, files beside the study by path."""
    beside = study.parent / base
    if base in preset_names() or not beside.is_file():
        return base
    return str(beside.resolve())


def place_of(document: Document, path: Path, key: KeyPath) -> str:
    """``file:line`` of ``key``, or of what it is part of."""
    for length in range(len(key), 0, -1):
        if line := document.lines.get(key[:length]):
            return f"{path}:{line}"
    return str(path)


def shipped_names() -> list[str]:
    """Names of the studies that come with Coevolve, sorted."""
    return names_in(SHIPPED)


def find_study(argument: str) -> Path:
    """The file meant by a STUDY argument: the name of one that is shipped, or a path.

    Raises:
        UserError: it is neither.
    """
    return find_shipped(argument, SHIPPED, "study")


def hold_field(what: str) -> str:
    """The field of a run by which ``what`` is held equal."""
    return what if what == "steps" else f"budget.{what}"


def changed(
    study: Study,
    *,
    name: str | None = None,
    seeds: int | None = None,
    arms: Sequence[str] = (),
    force: Mapping[str, Any] | None = None,
) -> Study:
    """The study with what the command line says instead.

    Raises:
        UserError: it has no such arm, or is no study any more.
    """
    values = study.model_dump(mode="json", by_alias=True)
    values["name"] = name or study.name
    values["seeds"] = seeds or values["seeds"]
    forced = {**study.force, **(force or {})}
    # What is held equal stays so, at another amount.
    values["hold"] = {
        what: forced.pop(hold_field(what), amount) for what, amount in study.hold.items()
    }
    values["force"] = forced
    if unknown := [arm for arm in arms if arm not in study.arms]:
        raise UserError(
            f"no arm {unknown[0]!r}",
            where="--arms",
            remedy=f"The study has {', '.join(study.arms) or 'none'}.",
        )
    if arms:
        values["arms"] = {name: arm for name, arm in values["arms"].items() if name in arms}
        if values["baseline"] not in arms:
            values["baseline"] = None
    try:
        return Study.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        raise together(problems_of(error, Study, lambda _: ""), "problems in the study") from None
