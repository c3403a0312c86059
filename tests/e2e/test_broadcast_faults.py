"""A peer that hangs or fails in each phase of a broadcast: who and when is said, then it heals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
import torch
from stand_in import StandIn

from actors.transfer.client import GeneratorClient
from actors.transfer.sender import Sender
from actors.waiting import ActorError, NamedActor, wait_for
from contracts.errors import DeadlineError
from learner.digests import digests_of

pytestmark = pytest.mark.e2e
DEADLINE = 3.0


@dataclass(frozen=True)
class Meta:
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]


class Source:
    """Weights that count how often they were walked through to the end."""

    def __init__(self) -> None:
        self.tensors = {f"layer.{i}.weight": torch.randn(64, 64 + i) for i in range(40)}
        self.walks = 0

    def metadata(self) -> list[Meta]:
        return [Meta(name, t.dtype, tuple(t.shape)) for name, t in self.tensors.items()]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        yield from self.tensors.items()
        self.walks += 1


@pytest.fixture(scope="module")
def peers(session: Path) -> Iterator[list[NamedActor]]:
    kind = ray.remote(StandIn).options(num_cpus=0)
    actors = [
        NamedActor(kind.remote(), f"generator {i}", session / f"generator-{i}.log")
        for i in range(3)
    ]
    states = [actor.handle.state.remote() for actor in actors]
    wait_for(states, seconds=120, what="stand-ins to start", actors=actors)
    yield actors
    for actor in actors:
        ray.kill(actor.handle)


def spoil(actor: NamedActor, phase: str, how: str) -> None:
    wait_for(actor.handle.spoil.remote(phase, how), seconds=30, what="mischief", actors=[actor])


def sender(peers: list[NamedActor], source: Source) -> Sender:
    client = GeneratorClient(peers, workers=1, seconds=DEADLINE)
    return Sender(
        source,
        client,
        backend="gloo",
        address="127.0.0.1",
        bucket_mib=1,
        seconds=DEADLINE,
        share_memory=False,
    )


def check_arrived(peers: list[NamedActor], source: Source, version: int) -> None:
    expected = digests_of(source)
    for peer in peers:
        state = wait_for(peer.handle.state.remote(), seconds=30, what="its state", actors=[peer])
        assert state[0] == version
        assert state[2] == expected


def test_everything_arrives_everywhere(peers: list[NamedActor]) -> None:
    source = Source()
    line = sender(peers, source)
    line.connect()
    for version in (1, 2):
        source.tensors = {name: t + 1 for name, t in source.tensors.items()}
        report = line.send(version)
        assert report.bytes == sum(t.nbytes for t in source.tensors.values())
        assert set(report.seconds) == {"start", "transfer", "finish"}
        check_arrived(peers, source, version)


@pytest.mark.parametrize("phase", ["init", "start", "transfer", "finish"])
@pytest.mark.parametrize("how", ["hang", "fail"])
def test_a_broken_phase_is_named_and_healed(peers: list[NamedActor], phase: str, how: str) -> None:
    source = Source()
    line = sender(peers, source)
    if phase != "init":
        line.connect()
    spoil(peers[1], phase, how)
    try:
        with pytest.raises((DeadlineError, ActorError)) as caught:
            line.send(7)
    finally:
        spoil(peers[1], "", "")
    message = str(caught.value)
    if how == "hang":
        assert f"phase '{phase}' of the weight broadcast" in message
        assert "no answer from generator 1" in message
        assert "generator 0" not in message.partition("no answer")[2]
    else:
        assert message.startswith(f"generator 1 failed: ValueError: spoilt {phase}")
    # The other learner ranks gather along with this one: it must not leave half-way.
    assert source.walks == 1
    report = line.send(8)
    assert "init" in report.seconds
    check_arrived(peers, source, 8)
