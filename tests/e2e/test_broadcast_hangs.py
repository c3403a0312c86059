"""A real engine that never answers in one phase of a broadcast, and the broadcast after it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from small_runs import prompt, small_config

from actors.broadcaster import Broadcaster
from actors.faults import Fault
from actors.generator_pool import GeneratorPool
from actors.learner_group import LearnerGroup
from contracts.config import RunConfig
from contracts.errors import DeadlineError

pytestmark = pytest.mark.e2e
DEADLINE = 4.0
PHASES = {
    "init": "get_weight_version",
    "start": "start_weight_update",
    "transfer": "update_weights",
    "finish": "finish_weight_update",
}
"""Phase to what the engine is asked in it; init begins with a sign of life."""
CASES = [*((phase, True) for phase in PHASES), ("transfer", False)]


class Parts:
    """Two engines and a learner rank, all real."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self.faults: list[Fault] = []
        config = with_deadline(small_config(generators=2))
        self.generators = GeneratorPool.launch(config, folder, logs)
        self.learner = LearnerGroup.start(config, folder, logs)
        self.generators.wait_until_started()
        self._config = config
        self.new_line()
        # vLLM is imported by the learner, and everything touched once, before a deadline counts.
        self.version = 0
        self.broadcaster.send(self.version)
        self.faults.clear()

    def new_line(self) -> None:
        """A broadcaster that has connected nobody yet."""
        parts = (self._config, self.learner, self.generators)
        self.broadcaster = Broadcaster(*parts, self.faults.append)

    def share_memory(self, share: bool) -> None:
        """Whether weights go through memory or, as between machines, by gloo."""
        (rank,) = self.learner.actors
        ray.get(rank.handle.__ray_call__.remote(set_share_memory, share))

    def stop(self) -> None:
        self.learner.stop()
        self.generators.stop()


def with_deadline(config: RunConfig) -> RunConfig:
    transfer = config.transfer.model_copy(update={"deadline": DEADLINE})
    return config.model_copy(update={"transfer": transfer})


@pytest.fixture(scope="module")
def parts(session: Path, random_model_folder: Path) -> Iterator[Parts]:
    parts = Parts(random_model_folder, session)
    yield parts
    parts.stop()


@pytest.mark.parametrize(("phase", "share"), CASES)
def test_who_hangs_and_when_is_said_and_the_run_goes_on(
    parts: Parts, phase: str, share: bool
) -> None:
    parts.share_memory(share)
    parts.new_line()
    parts.faults.clear()
    engines = parts.generators.actors
    if phase != "init":
        parts.version += 1
        parts.broadcaster.send(parts.version)
        assert parts.faults == []
    ray.get(engines[1].handle.__ray_call__.remote(hang_once, PHASES[phase]))
    parts.version += 1
    report = parts.broadcaster.send(parts.version)
    (fault,) = parts.faults
    assert isinstance(fault.cause, DeadlineError)
    assert fault.cause.seconds == DEADLINE
    message = str(fault.cause)
    assert f"phase '{phase}' of the weight broadcast" in message
    assert "no answer from generator 1" in message
    assert "generator 0" not in message.partition("no answer")[2]
    # Through a new group, with nobody started anew.
    assert report.version == parts.version
    assert parts.generators.actors == engines
    expected = parts.learner.checksums()
    assert parts.generators.checksums() == {"generator 0": expected, "generator 1": expected}
    prompts = [prompt(f"{i} + 1", i) for i in range(4)]
    references = list(
        parts.generators.generate(prompts, completions=2, max_tokens=4, temperature=1.0, seed=1)
    )
    for generation in (ray.get(reference) for reference in references):
        for completion in generation.completions:
            assert {span.version for span in completion.spans} == {parts.version}


def hang_once(generator: Any, method: str) -> None:
    """Make the engine not answer the next call of ``method``, nor ever."""
    import asyncio

    engine = generator._engine
    sound = getattr(engine, method)

    async def hang(*_arguments: Any) -> None:
        setattr(engine, method, sound)
        await asyncio.Event().wait()

    setattr(engine, method, hang)


def set_share_memory(rank: Any, share: bool) -> None:
    """Configure a learner rank anew; it counts from the next connection on."""
    transfer = rank._config.transfer.model_copy(update={"share_memory": share})
    rank._config = rank._config.model_copy(update={"transfer": transfer})
