"""Generators that lend their GPUs: in which order an engine is told what. The engine is a stub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from actors.faults import RestartBudget
from actors.generator import Generator, Sampling
from actors.generator_member import Member
from actors.generator_pool import GeneratorPool
from actors.waiting import NamedActor, wait_for
from contracts.config import RunConfig
from contracts.errors import IntegrityError

SECONDS = 120.0


class Engine:
    """Keeps what it is told; refuses to compute with memory that it has lent."""

    errored = False

    def __init__(self, fails: str) -> None:
        self.fails = fails
        self.told: list[str] = []
        self.asleep: set[str] = set()

    def _note(self, *words: object) -> None:
        self.told.append(" ".join(map(str, words)))
        if words[0] == self.fails:
            self.fails = ""
            raise ValueError(f"spoilt {words[0]}")

    @property
    def renderer(self) -> Engine:
        return self

    @property
    def engine_core(self) -> Engine:
        return self

    async def clear_mm_cache_async(self) -> None:
        pass

    async def pause_scheduler_async(self, mode: str, clear_cache: bool) -> None:
        assert mode == "keep" and clear_cache
        self._note("pause")

    async def resume_generation(self) -> None:
        assert not self.asleep
        self._note("resume")

    async def sleep(self, level: int, mode: str) -> None:
        self._note("sleep", level, mode)
        self.asleep = {"weights", "kv_cache"}

    async def wake_up(self, tags: list[str]) -> None:
        self._note("wake", *tags)
        self.asleep -= set(tags)

    async def start_weight_update(self) -> None:
        assert "weights" not in self.asleep
        self._note("start")

    async def update_weights(self, request: Any) -> None:
        self._note("update", request.update_info["bucket"])

    async def finish_weight_update(self, version: str) -> None:
        self._note("finish", version)

    async def collective_rpc(self, method: str, args: tuple[Any, ...]) -> list[None]:
        self._note("rpc", method)
        return [None]


class Stubbed(Generator):
    """A generator as it is, but for its engine."""

    def __init__(self, log: Path, fails: str = "") -> None:
        super().__init__("generator", RunConfig(), Path(), log)
        self._fails = fails

    async def start(self) -> None:
        self._engine = Engine(self._fails)

    async def told(self) -> list[str]:
        said, self._engine.told = self._engine.told, []
        return said

    async def stop(self) -> None:
        self._engine = None


def pool_of(folder: Path, count: int = 1, fails: str = "") -> GeneratorPool:
    """``fails``: what the engine of the last generator fails at, the first time it is started."""
    config = RunConfig.model_validate(
        {
            "placement": "shared",
            "generators": {"count": count, "device": "cuda"},
            "learner": {"device": "cuda", "ranks": count},
            "deadlines": {"start": SECONDS},
            "transfer": {"deadline": SECONDS},
        }
    )
    kind = ray.remote(num_cpus=0)(Stubbed)
    how = iter([fails])

    def launch(index: int) -> NamedActor:
        log = folder / f"generator-{index}.log"
        handle = kind.remote(log, next(how, "") if index == count - 1 else "")
        return NamedActor(handle, f"generator {index}", log, index)

    members = [Member(index, launch) for index in range(count)]
    pool = GeneratorPool(config, members, RestartBudget("generators", config.faults, print))
    pool.wait_until_started()
    return pool


@pytest.fixture(scope="module")
def only(session: Path) -> Iterator[GeneratorPool]:
    made = pool_of(session)
    yield made
    made.stop()


@pytest.fixture
def pool(only: GeneratorPool) -> GeneratorPool:
    """Of one generator, awake."""
    update(only.actors[0], 0)
    ask(only.actors[0], "told")
    return only


def ask(actor: NamedActor, method: str, *arguments: Any) -> Any:
    call = getattr(actor.handle, method).remote(*arguments)
    return wait_for(call, seconds=SECONDS, what=method, actors=[actor])


def update(actor: NamedActor, version: int, buckets: int = 3) -> None:
    ask(actor, "start_weight_update")
    for bucket in range(buckets):
        ask(actor, "update_weights", {"bucket": bucket})
    ask(actor, "finish_weight_update", str(version))


UPDATE = ["start", "update 0", "update 1", "update 2", "finish 7"]


def test_memory_comes_back_in_two_steps(pool: GeneratorPool) -> None:
    actor = pool.actors[0]
    pool.sleep()
    update(actor, 7)
    assert ask(actor, "told") == [
        "sleep 1 keep", "pause", "wake weights", *UPDATE, "wake kv_cache", "resume",
    ]  # fmt: skip
    # One that is awake already, as one is that was started anew, has nothing to wake.
    update(actor, 7)
    assert ask(actor, "told") == ["pause", *UPDATE, "resume"]


def test_a_broken_update_is_begun_anew(pool: GeneratorPool) -> None:
    actor = pool.actors[0]
    pool.sleep()
    ask(actor, "start_weight_update")
    ask(actor, "update_weights", {"bucket": 0})
    ask(actor, "abandon_weight_update")
    ask(actor, "told")
    update(actor, 7)
    assert ask(actor, "told") == [
        "pause", "rpc forget_weight_update", *UPDATE, "wake kv_cache", "resume",
    ]  # fmt: skip


def test_nothing_is_sampled_while_the_learner_has_the_gpu(pool: GeneratorPool) -> None:
    actor = pool.actors[0]
    pool.sleep()
    with pytest.raises(IntegrityError, match="while the learner has its GPU"):
        ask(actor, "sample", [], Sampling(2, 4, 1.0, 0))
    update(actor, 7)
    assert ask(actor, "sample", [], Sampling(2, 4, 1.0, 0)) == []


@pytest.mark.e2e
def test_one_that_cannot_sleep_is_started_anew_and_sleeps_then(session: Path) -> None:
    pool = pool_of(session, 2, fails="sleep")
    former = [actor.id for actor in pool.actors]
    pool.sleep()
    try:
        assert pool.actors[0].id == former[0]
        assert pool.actors[1].id != former[1]
        for actor in pool.actors:
            assert "sleep 1 keep" in ask(actor, "told")
    finally:
        pool.stop()


def test_separate_ones_are_not_asked(pool: GeneratorPool) -> None:
    config = pool._config.model_copy(update={"placement": "separate"})
    GeneratorPool(config, pool._members, pool._budget).sleep()
    assert ask(pool.actors[0], "told") == []
