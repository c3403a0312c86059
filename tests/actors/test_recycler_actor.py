from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray

from actors.recycler_actor import Recycler
from actors.runtime import ray_session
from actors.waiting import wait_for
from contracts.config import RunConfig
from contracts.errors import DeadlineError
from contracts.types import Completion, Grade, Group, Reason, Task, VersionSpan
from recycler.recycle import recycle, solve_prompt

pytestmark = pytest.mark.e2e


def config(**deadlines: float) -> RunConfig:
    return RunConfig.model_validate({"deadlines": deadlines})


def group(left: int) -> Group:
    gold = str(left + 1)
    prompt = solve_prompt(Task(f"{left}+1", f"{left}+1", gold), "terse")
    answers = [gold, "7", "8"]
    completions = tuple(
        Completion(
            id=f"{prompt.id}#{i}",
            tokens=np.zeros(2, dtype=np.int32),
            logprobs=np.zeros(2, dtype=np.float32),
            finish="stop",
            spans=(VersionSpan(0, 2, 0),),
            text=f"\\boxed{{{answer}}}",
        )
        for i, answer in enumerate(answers)
    )
    grades = tuple(Grade(float(a == gold), a == gold, a, Reason.OK) for a in answers)
    return Group(prompt, np.zeros(1, dtype=np.int32), completions, grades)


@ray.remote(num_cpus=0)
def never() -> Group:
    signal.pause()
    raise AssertionError


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("logs")
    with ray_session(folder):
        yield folder


def test_the_actor_recycles_what_the_references_stand_for(logs: Path) -> None:
    groups = [group(left) for left in range(20, 30)]
    recycler = Recycler.start(config(), logs)
    prompts = recycler.recycle([ray.put(g) for g in groups], 5)
    assert prompts == recycle(groups, config().recycle, 5) != []
    assert recycler.recycle([], 5) == []
    recycler.stop()
    assert (logs / "recycler.log").exists()


def test_a_group_that_never_comes_is_a_named_deadline(logs: Path) -> None:
    recycler = Recycler.start(config(grade=0.5), logs)
    reference = never.remote()
    with pytest.raises(DeadlineError, match=r"waiting for (recycled prompts|groups to recycle)"):
        recycler.recycle([reference], 0)
    ray.cancel(reference, force=True)
    recycler.stop()


def test_a_killed_actor_is_started_anew(logs: Path) -> None:
    recycler = Recycler.start(config(), logs)
    reference = ray.put(group(20))
    expected = recycler.recycle([reference], 1)
    handle = recycler._place.actor.handle
    process = wait_for(
        handle.__ray_call__.remote(lambda _: os.getpid()), seconds=60, what="the process id"
    )
    os.kill(process, signal.SIGKILL)
    assert recycler.recycle([reference], 1) == expected
    recycler.stop()
