"""Learner ranks that each send to the generator on their own GPU. The ranks are stand-ins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray
from placements import placed

from actors.learner_group import LearnerGroup
from actors.transfer.report import TransferReport
from actors.waiting import NamedActor, wait_for
from contracts.errors import DeadlineError

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
SECONDS = 120.0


class Rank:
    """Tells whom it was connected to; sends, or fails to."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.mates: list[str] = []

    def connect(self, generators: Sequence[NamedActor]) -> None:
        self.mates = [generator.name for generator in generators]

    def connected(self) -> list[str]:
        return self.mates

    def broadcast(self, version: int) -> TransferReport | None:
        if version == 9 and self.rank == 2:
            raise DeadlineError("phase 'transfer' of generator 2", 1.0)
        seconds = {"start": 1.0, "transfer": float(self.rank)}
        return TransferReport(version, 10, seconds) if self.mates else None

    def ping(self) -> None:
        pass

    def stop(self) -> None:
        pass


@pytest.fixture(scope="module")
def learner(session: Path) -> Iterator[LearnerGroup]:
    kind = ray.remote(num_cpus=0)(Rank)
    log = session / "rank.log"
    ranks = [NamedActor(kind.remote(i), f"learner rank {i}", log, i) for i in range(4)]
    group = LearnerGroup(placed("shared", learner={"ranks": 4}), ranks)
    yield group
    group.stop()


def generator(number: int) -> NamedActor:
    absent: Any = None
    return NamedActor(absent, f"generator {number}", Path(), number)


def connected(learner: LearnerGroup) -> list[list[str]]:
    references = [actor.handle.connected.remote() for actor in learner.actors]
    return wait_for(references, seconds=SECONDS, what="their mates")


def test_each_rank_has_its_own_generator_or_none(learner: LearnerGroup) -> None:
    learner.connect([generator(2), generator(0)])
    assert connected(learner) == [["generator 0"], [], ["generator 2"], []]
    # The report is that of who took longest.
    assert learner.broadcast(5) == TransferReport(5, 10, {"start": 1.0, "transfer": 2.0})
    # One that is gone for the time being is left out; its rank only helps to gather.
    learner.connect([generator(2)])
    assert connected(learner) == [[], [], ["generator 2"], []]
    assert learner.broadcast(6).version == 6


def test_a_generator_that_fails_does_not_break_the_learner(learner: LearnerGroup) -> None:
    learner.connect([generator(0), generator(2)])
    with pytest.raises(DeadlineError, match="generator 2"):
        learner.broadcast(9)
    learner.check()
    learner.connect([generator(0), generator(2)])
    assert learner.broadcast(10).version == 10
