"""The parts of the loop that need no actor: splitting, staleness, prompts of a step."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import pytest

from actors.refs import GroupRef
from contracts.config import RunConfig, SamplingConfig
from contracts.errors import IntegrityError
from contracts.types import GroupSummary, Objective, Prompt, Reason, Task
from services.controller import Actors, Controller, split_groups
from services.evaluation import Evaluator
from services.recorder import Recorder
from services.rollouts import PhaseClock
from services.seeds import derive_seed
from services.tasks.stream import TaskStream

ABSENT: Any = None


def ref(name: str, objective: Objective = Objective.SOLVE, version: int = 0) -> GroupRef:
    summary = GroupSummary(
        prompt_id=name,
        task_id=name,
        objective=objective,
        label="1",
        shown_correct=(),
        prompt_tokens=3,
        completion_tokens=(2, 2),
        rewards=(0.0, 1.0),
        correct=(False, True),
        extracted=("2", "1"),
        reasons=(Reason.OK, Reason.OK),
        versions=(version, version),
    )
    return GroupRef(ABSENT, summary)


def controller(tasks: int = 5, kind: Any = Controller, refill: float = 1.0) -> Any:
    return kind(
        RunConfig(tasks_per_step=4, sampling=SamplingConfig(refill=refill)),
        tasks=TaskStream([Task(str(i), str(i), str(i)) for i in range(tasks)], 0),
        actors=cast("Actors", ABSENT),
        evaluator=cast("Evaluator", ABSENT),
        recorder=cast("Recorder", ABSENT),
        clock=PhaseClock(),
    )


def test_the_driver_does_without_the_engine_and_deepspeed() -> None:
    """They are for the actors: here they would cost seconds at every start."""
    code = "import sys, services.training; print({'vllm', 'deepspeed'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.strip() == "set()"


def test_every_group_is_in_one_update_and_objectives_are_spread() -> None:
    groups = [ref(f"s{i}") for i in range(9)]
    groups += [ref(f"p{i}", Objective.POINTWISE) for i in range(6)]
    parts = split_groups(groups, 3, seed=1)
    assert sorted(g.summary.prompt_id for part in parts for g in part) == sorted(
        g.summary.prompt_id for g in groups
    )
    for part in parts:
        kinds = [g.summary.objective for g in part]
        assert kinds.count(Objective.SOLVE) == 3
        assert kinds.count(Objective.POINTWISE) == 2


def test_the_split_depends_on_the_seed_alone() -> None:
    groups = [ref(f"s{i}") for i in range(12)]
    assert split_groups(groups, 2, seed=1) == split_groups(groups, 2, seed=1)
    assert split_groups(groups, 2, seed=1) != split_groups(groups, 2, seed=2)


def test_a_completion_of_other_weights_is_refused() -> None:
    """Truth 1: what is trained was sampled by the weights that it is held against."""
    loop = controller()
    loop.version = 4
    assert loop.ages_of([ref("a", version=4)]) == [0, 0]
    with pytest.raises(IntegrityError, match="prompt b was answered at version 3"):
        loop.ages_of([ref("a", version=4), ref("b", version=3)])


def test_prompt_ids_differ_even_where_an_epoch_ends_within_a_step() -> None:
    loop = controller(tasks=3)
    seen: set[str] = set()
    for step in range(1, 4):
        loop.step = step
        ids = [prompt.id for prompt in loop.solve_prompts(4)]
        assert len(ids) == 4
        assert not seen & set(ids)
        seen |= set(ids)
    assert len(seen) == 12


class Played(Controller):
    """A controller whose rollouts are given: for each task in turn, whether it has signal."""

    played: ClassVar[list[bool]]

    def rollout(self, prompts: Sequence[Prompt], *again: int) -> list[GroupRef]:
        self.batches = [*getattr(self, "batches", []), len(prompts)]
        made = [ref(prompt.id) for prompt in prompts]
        return [
            group if self.played.pop(0) else replace(group, summary=dull(group.summary))
            for group in made
        ]


def dull(summary: GroupSummary) -> GroupSummary:
    return replace(summary, rewards=(1.0, 1.0))


@pytest.mark.parametrize(
    ("refill", "signal", "batches"),
    [
        (1.0, "1000", [4]),
        (2.0, "1111", [4]),
        (2.0, "101011", [4, 2]),
        (2.0, "1010101", [4, 2, 1]),
        (2.0, "00000000", [4, 4]),
        (1.5, "000101", [4, 2]),
    ],
)
def test_groups_without_signal_are_refilled_up_to_the_factor(
    refill: float, signal: str, batches: list[int]
) -> None:
    loop = controller(tasks=50, kind=Played, refill=refill)
    loop.played = [mark == "1" for mark in signal]
    solved = loop.rollout(loop.solve_prompts(4))
    solved += loop.refill(solved)
    assert loop.batches == batches
    assert loop.played == []
    ids = [group.summary.prompt_id for group in solved]
    assert len(set(ids)) == len(ids) == loop.tasks.position
    assert [int(i.split("/")[0].split(".")[1]) for i in ids] == list(range(len(ids)))


def test_seeds_differ_by_purpose_and_repeat() -> None:
    made = {derive_seed(0, "a", 1), derive_seed(0, "a", 2), derive_seed(0, "b", 1)}
    made |= {derive_seed(1, "a", 1)}
    assert len(made) == 4
    assert derive_seed(0, "a", 1) in made
    assert all(0 <= seed < 2**31 for seed in made)
