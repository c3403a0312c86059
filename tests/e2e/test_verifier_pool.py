"""The verifier pool on real Ray: order, deadlines, death."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray

from actors.verifier_pool import VerifierPool
from actors.waiting import ActorError, wait_for
from contracts.config import RunConfig
from contracts.errors import DeadlineError, UserError
from contracts.types import (
    Completion,
    Generation,
    Group,
    GroupSummary,
    Message,
    Objective,
    Prompt,
    Reason,
    Task,
    VersionSpan,
)

pytestmark = pytest.mark.e2e

TOWER = r"\boxed{9^{9^{9^{9}}}}"


def generation(name: str, gold: str, answers: list[str], verifier: str = "math") -> Generation:
    prompt = Prompt(
        name,
        (Message("user", "What?"),),
        Objective.SOLVE,
        gold,
        verifier,
        Task(name, "What?", gold, verifier),
        "test-1",
    )
    completions = tuple(
        Completion(
            f"{name}#{i}",
            np.arange(3, dtype=np.int32),
            np.zeros(3, dtype=np.float32),
            "stop",
            (VersionSpan(0, 3, 7),),
            answer,
        )
        for i, answer in enumerate(answers)
    )
    return Generation(prompt, np.arange(5, dtype=np.int32), completions)


def config(workers: int = 1, deadline: float = 1.0, grade: float = 300.0) -> RunConfig:
    return RunConfig.model_validate(
        {
            "verifiers": {"workers": workers, "deadline": deadline},
            "deadlines": {"grade": grade, "stop": 30.0},
        }
    )


@pytest.fixture
def pool(session: Path) -> Iterator[VerifierPool]:
    made = VerifierPool.start(config(), session)
    yield made
    made.stop()


@ray.remote(num_cpus=0)
def never() -> Generation:
    signal.pause()
    raise AssertionError


def eventually(true: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return true()


SLOW, SAME = "e^{x+1}", r"\boxed{e\cdot e^x}"
"""A formula and another form of it: so hard that they are compared in a grader process."""


def pid_of(pool: VerifierPool) -> int:
    call = pool._places[0].actor.handle.__ray_call__.remote(lambda _: os.getpid())
    return int(wait_for(call, seconds=60, what="the process id"))


def test_groups_and_summaries(pool: VerifierPool) -> None:
    made = [
        generation(f"p{i}", str(i), [rf"\boxed{{{i + k % 2}}}" for k in range(4)])
        for i in range(30)
    ] + [generation("x", "x+1", [r"\boxed{1+x}", r"\boxed{x}", "none"])]
    results = list(pool.grade(ray.put(g) for g in made))
    groups: list[Group] = wait_for([r for r, _ in results], seconds=60, what="groups")
    assert sorted(s.prompt_id for _, s in results) == sorted(g.prompt.id for g in made)
    for group, (_, summary) in zip(groups, results, strict=True):
        assert summary == GroupSummary.of(group)
        assert summary.versions == (7,) * len(group.completions)
        source = next(g for g in made if g.prompt.id == summary.prompt_id)
        assert group.prompt == source.prompt
        assert [c.text for c in group.completions] == [c.text for c in source.completions]
        if summary.prompt_id == "x":
            assert summary.correct == (True, False, False)
            assert summary.reasons == (Reason.OK, Reason.OK, Reason.NO_ANSWER)
        else:
            assert summary.rewards == (1.0, 0.0, 1.0, 0.0)


def test_groups_come_back_while_generations_still_arrive(pool: VerifierPool) -> None:
    asked: list[str] = []

    def arriving() -> Iterator[ray.ObjectRef[Generation]]:
        for i in range(3):
            asked.append(f"p{i}")
            yield ray.put(generation(f"p{i}", "1", [r"\boxed{1}"]))
            time.sleep(1.0)

    results = pool.grade(arriving())
    _, first = next(results)
    assert first.prompt_id == "p0"
    assert asked != ["p0", "p1", "p2"]
    assert {s.prompt_id for _, s in results} == {"p1", "p2"}


def test_a_slow_group_does_not_hold_up_the_others(pool: VerifierPool) -> None:
    list(pool.grade([ray.put(generation("warm", SLOW, [SAME]))]))
    made = [generation("slow", "x+1", [TOWER, r"\boxed{x+1}"])]
    made += [generation(f"p{i}", "1", [r"\boxed{1}"]) for i in range(5)]
    results = [summary for _, summary in pool.grade([ray.put(g) for g in made])]
    assert results[-1].prompt_id == "slow"
    assert results[-1].reasons == (Reason.TIMEOUT, Reason.OK)
    assert results[-1].rewards == (0.0, 1.0)


def test_a_killed_actor_is_started_again_and_leaves_no_process(pool: VerifierPool) -> None:
    list(pool.grade([ray.put(generation("warm", SLOW, [SAME]))]))
    before = pid_of(pool)
    children = psutil.Process(before).children(recursive=True)
    assert children
    os.kill(before, signal.SIGKILL)
    made = [generation(f"p{i}", SLOW, [SAME]) for i in range(3)]
    assert [s.correct for _, s in pool.grade([ray.put(g) for g in made])] == [(True,)] * 3
    assert pid_of(pool) != before
    assert eventually(lambda: not any(child.is_running() for child in children))


def test_a_generation_that_never_comes_is_a_named_deadline(session: Path) -> None:
    pool = VerifierPool.start(config(grade=1.0), session)
    reference = never.remote()
    with pytest.raises(DeadlineError, match="1 groups to be graded by verifier 0"):
        list(pool.grade([reference]))
    ray.cancel(reference, force=True)
    pool.stop()


def test_an_unknown_grader_is_a_user_error(pool: VerifierPool, session: Path) -> None:
    with pytest.raises(UserError, match="math, choice, verdict, exact"):
        list(pool.grade([ray.put(generation("p", "1", [r"\boxed{1}"], "nope"))]))
    bad = RunConfig.model_validate({"tasks": {"verifier": "nope"}})
    with pytest.raises(UserError, match="math, choice, verdict, exact"):
        VerifierPool.start(bad, session)


def test_many_workers_are_spread_over_actors_and_end(session: Path) -> None:
    pool = VerifierPool.start(config(workers=6), session)
    assert [place.actor.name for place in pool._places] == ["verifier 0", "verifier 1"]
    made = [generation(f"p{i}", SLOW, [SAME] * 2) for i in range(8)]
    assert len(list(pool.grade([ray.put(g) for g in made]))) == 8
    children = psutil.Process(pid_of(pool)).children(recursive=True)
    assert children
    pool.stop()
    assert eventually(lambda: not any(child.is_running() for child in children))
    with pytest.raises(ActorError):
        list(pool.grade([ray.put(made[0])]))
