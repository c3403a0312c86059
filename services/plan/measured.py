"""What a session measures, a line each: parts of the system alone, and stretches of whole runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from contracts.config import RunConfig
from contracts.types import GroupSummary, Objective
from services.bench.records import Record

if TYPE_CHECKING:
    from actors.refs import GroupRef


@dataclass(frozen=True, slots=True)
class SessionWork:
    """What a session measures. ``sizes``: tasks that one generator is given at once; ``points``:
    generators and staleness of the runs; ``steps`` of each a round. ``file`` takes the lines."""

    config: RunConfig
    generators: tuple[int, ...]
    points: tuple[tuple[int, int], ...]
    sizes: tuple[int, ...]
    steps: int
    file: Path

    def __str__(self) -> str:
        return f"learner of {self.config.learner.ranks} ranks"


class GroupSeen(Record):
    """A group that was sampled: tokens of its prompt and of its completions."""

    objective: Objective
    prompt: int
    lengths: tuple[int, ...]
    signal: bool

    @classmethod
    def of(cls, summary: GroupSummary) -> GroupSeen:
        """Out of what the controller knows of it."""
        return cls(
            objective=summary.objective,
            prompt=summary.prompt_tokens,
            lengths=summary.completion_tokens,
            signal=summary.has_signal,
        )


def seen(groups: Sequence[GroupRef]) -> tuple[GroupSeen, ...]:
    """All of ``groups``."""
    return tuple(GroupSeen.of(group.summary) for group in groups)


class Usage(Record):
    """Processor seconds in a stretch of ``wall`` seconds, by what used them.

    ``driver``: what is neither generator nor learner of ours: driver, verifiers, Ray. ``others``:
    processes that are not ours.
    """

    wall: float
    generators: float
    learner: float
    driver: float
    others: float


class MachineSeen(Record):
    """Where it was measured: ``cores`` of a machine, and whether others went first (``yields``) or
    shared them."""

    kind: Literal["machine"] = "machine"
    machine: str
    versions: dict[str, str]
    cores: int
    yields: bool = False


class SampleSeen(Record):
    """``generators`` sampled ``groups`` in ``seconds``; not ``whole``: one token of each only."""

    kind: Literal["sample"] = "sample"
    round: int
    groups: tuple[GroupSeen, ...]
    seconds: float
    usage: Usage
    generators: int = 1
    whole: bool = True


class UpdateSeen(Record):
    """``ranks`` ranks made an update of ``groups`` in ``seconds``."""

    kind: Literal["update"] = "update"
    round: int
    ranks: int
    groups: tuple[GroupSeen, ...]
    seconds: float
    usage: Usage


class SendSeen(Record):
    """New weights to ``receivers`` generators in ``seconds``."""

    kind: Literal["send"] = "send"
    round: int
    ranks: int
    receivers: int
    seconds: float


class StepSeen(Record):
    """A step of a run; see ``StepTiming``. ``groups``: by objective."""

    seconds: float
    phases: dict[str, float]
    idle: dict[str, float]
    tokens: int
    groups: dict[Objective, int]


class RunSeen(Record):
    """Some steps of the whole loop on ``generators`` and ``ranks``."""

    kind: Literal["run"] = "run"
    round: int
    ranks: int
    generators: int
    staleness: int
    steps: tuple[StepSeen, ...]
    usage: Usage

    @property
    def point(self) -> tuple[int, int, int]:
        """Generators, ranks, staleness."""
        return self.generators, self.ranks, self.staleness

    @property
    def steady(self) -> tuple[StepSeen, ...]:
        """Without the steps at either end, in which nothing is ahead."""
        return self.steps[self.staleness : len(self.steps) - self.staleness]


Seen: TypeAlias = MachineSeen | SampleSeen | UpdateSeen | SendSeen | RunSeen
_ADAPTER: TypeAdapter[Seen] = TypeAdapter(Annotated[Seen, Field(discriminator="kind")])


def write_seen(file: Path, one: Seen) -> None:
    """Add ``one`` to ``file``."""
    with file.open("a") as lines:
        lines.write(one.model_dump_json() + "\n")


def read_seen(file: Path) -> list[Seen]:
    """All that is in ``file``."""
    return [_ADAPTER.validate_json(line) for line in file.read_text().splitlines()]
