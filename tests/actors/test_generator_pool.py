"""Generators that no machine has room for, or that do not come up: the others go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from actors.faults import BudgetSpentError, Fault, RestartBudget
from actors.generator_member import Member
from actors.generator_pool import GeneratorPool
from actors.waiting import NamedActor, wait_for
from contracts.config import RunConfig
from contracts.errors import DeadlineError
from contracts.types import Message, Objective, Prompt, Task
from services.bench.simulated import SimulatedGenerator

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SECONDS = 100.0
PLACED = 10.0
"""Within which a process comes up on this machine."""
NOWHERE = {"resources": {"no machine has this": 1.0}}


class Hanging(SimulatedGenerator):
    """Its process comes up, its engine never does."""

    async def start(self) -> None:
        await asyncio.sleep(600)


class Pools:
    """Makes pools whose generators go where each test says."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.told: list[Fault] = []
        self.made: list[GeneratorPool] = []

    def pool(
        self,
        options: Callable[[int], dict[str, Any]],
        kind: Callable[[int], type] = lambda _: SimulatedGenerator,
        **deadlines: float,
    ) -> GeneratorPool:
        """Of two generators. ``options`` of Ray and ``kind``: by the number of the launch."""
        config = RunConfig.model_validate(
            {
                "generators": {"count": 2, "device": "cpu"},
                "deadlines": {"start": SECONDS, "health": PLACED, "stop": 2.0} | deadlines,
                "faults": {"restarts": 2},
            }
        )
        launches = iter(range(100))

        def launch(index: int) -> NamedActor:
            number = next(launches)
            actor = ray.remote(num_cpus=0)(kind(number))
            log = self.logs / f"generator-{index}.log"
            return NamedActor(
                actor.options(**options(number)).remote(log), f"generator {index}", log
            )

        members = [Member(index, launch) for index in range(2)]
        budget = RestartBudget("generators", config.faults, self.told.append)
        self.made.append(GeneratorPool(config, members, budget, self.told.append))
        return self.made[-1]

    def kinds(self) -> list[str]:
        return [fault.kind for fault in self.told]


@pytest.fixture
def pools(session: Path) -> Iterator[Pools]:
    made = Pools(session)
    yield made
    for pool in made.made:
        pool.stop()


def prompts(count: int) -> list[Prompt]:
    return [
        Prompt(
            id=f"prompt-{i}",
            messages=(Message("user", "1 + 1"),),
            objective=Objective.SOLVE,
            label="2",
            verifier="math",
            task=Task(f"task-{i}", "1 + 1", "2"),
            template="test",
        )
        for i in range(count)
    ]


def answered(pool: GeneratorPool, count: int = 6) -> set[str]:
    asked = prompts(count)
    found = list(pool.generate(asked, completions=2, max_tokens=8, temperature=1.0, seed=0))
    return {generation.prompt.id for generation in wait_for(found, seconds=SECONDS, what="answers")}


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_one_that_is_lost_with_its_machine_is_done_without(pools: Pools) -> None:
    """Launched anew, it finds no room: said once, and the other answers everything."""
    pool = pools.pool(lambda launch: NOWHERE if launch == 2 else {})
    pool.wait_until_started()
    pool.serve(pool.actors)
    ray.kill(pool.actors[1].handle)
    assert len(answered(pool)) == 6
    until(lambda: (pool.actors, "machines" in pools.kinds())[1])
    assert pools.kinds() == ["generators", "machines"]
    assert "no machine has had room for generator 1 for 10 s; 1 of 2" in str(pools.told[1].cause)
    assert [actor.name for actor in pool.actors] == ["generator 0"]
    assert not pool.lacks_weights
    assert len(answered(pool)) == 6
    assert pools.kinds() == ["generators", "machines"]


def test_at_the_start_of_a_run_all_must_come(pools: Pools) -> None:
    pool = pools.pool(lambda launch: NOWHERE if launch == 0 else {}, start=3.0)
    with pytest.raises(DeadlineError, match="a machine with room for generator 0"):
        pool.wait_until_started()


def test_after_a_fault_it_goes_on_with_those_that_there_is_room_for(pools: Pools) -> None:
    pool = pools.pool(lambda launch: NOWHERE if launch == 1 else {})
    pool.wait_until_started(fewer=True)
    pool.serve(pool.actors)
    assert pools.kinds() == ["machines"]
    assert len(answered(pool)) == 6


def test_but_not_without_any(pools: Pools) -> None:
    pool = pools.pool(lambda _: NOWHERE, start=3.0)
    with pytest.raises(DeadlineError, match="a machine with room for a generator"):
        pool.wait_until_started(fewer=True)


def test_one_whose_engine_hangs_at_its_start_is_started_anew(pools: Pools) -> None:
    kinds = {1: Hanging}
    pool = pools.pool(
        lambda _: {}, lambda launch: kinds.get(launch, SimulatedGenerator), start=PLACED
    )
    until(lambda: len(pool.actors) == 2)
    assert pools.kinds() == ["generators"]
    assert "generator 1 to start" in str(pools.told[0].cause)


def test_one_that_always_hangs_spends_the_budget(pools: Pools) -> None:
    pool = pools.pool(
        lambda _: {}, lambda launch: Hanging if launch else SimulatedGenerator, start=4.0
    )
    with pytest.raises(BudgetSpentError, match="fault 3 of the generators"):
        until(lambda: len(pool.actors) == 2)
