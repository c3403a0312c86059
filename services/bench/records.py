"""The form of every benchmark's result, and the statistics in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from pydantic import BaseModel, ConfigDict

from contracts.errors import UserError


class Record(BaseModel):
    """A frozen part of a result; fields it does not know are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def write(self, file: Path) -> None:
        """Write this as JSON.

        Raises:
            UserError: ``file`` cannot be written.
        """
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.model_dump_json(indent=1) + "\n")
        except OSError as error:
            raise UserError(
                f"cannot be written ({error.strerror})", where=str(file), remedy="name another"
            ) from error


class Case(Record):
    """What one variant came to: median, least and most of ``n`` values in ``unit``."""

    model: str
    mix: str
    variant: str
    unit: str
    median: float
    min: float
    max: float
    n: int


class Ratio(Record):
    """How many times ``to`` the variant ``of`` is, over paired rounds."""

    model: str
    mix: str
    of: str
    to: str
    median: float
    min: float
    max: float


class Benchmark(Record):
    """A whole result: of which benchmark, on which machine, with which versions."""

    benchmark: str
    machine: str
    versions: dict[str, str]
    cases: tuple[Case, ...]
    ratios: tuple[Ratio, ...]


def case(model: str, mix: str, variant: str, unit: str, values: Sequence[float]) -> Case:
    """The case that ``values``, one a round, come to.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError(f"no values of {variant} ({unit})")
    return Case(
        model=model,
        mix=mix,
        variant=variant,
        unit=unit,
        median=median(values),
        min=min(values),
        max=max(values),
        n=len(values),
    )


def ratio(
    model: str, mix: str, of: tuple[str, Sequence[float]], to: tuple[str, Sequence[float]]
) -> Ratio:
    """Value by value, ``of`` over ``to``: what disturbs a round disturbs both of its values.

    Args:
        model, mix: what they were measured on.
        of, to: name and values of each, by round.

    Raises:
        ValueError: there are no rounds, or not equally many of both.
    """
    shares = [mine / other for mine, other in zip(of[1], to[1], strict=True)]
    if not shares:
        raise ValueError(f"no rounds of {of[0]} and {to[0]}")
    return Ratio(
        model=model,
        mix=mix,
        of=of[0],
        to=to[0],
        median=median(shares),
        min=min(shares),
        max=max(shares),
    )
