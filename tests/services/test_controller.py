"""The parts of the loop that need no actor: splitting, staleness, seeds."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from made_steps import batch_of

from actors.refs import GroupRef
from contracts.config import RunConfig
from contracts.errors import IntegrityError
from contracts.types import GroupSummary, Objective, Reason
from learner.leaning import Lean
from services.batches import BatchMaker
from services.controller import Controller, split_groups
from services.seeds import derive_seed
from services.signals import StopRequest
from services.step import Step

ABSENT: Any = None


def ref(name: str, objective: Objective = Objective.SOLVE, version: int = 0) -> GroupRef:
    summary = GroupSummary(
        prompt_id=name,
        task_id=name,
        template="t",
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


def controller(staleness: int = 0, **learner: str | bool) -> Controller:
    maker = SimpleNamespace(make=None, returned=[])
    maker.give_back = maker.returned.extend
    return Controller(
        RunConfig.model_validate(
            {
                "tasks_per_step": 4,
                "max_staleness": staleness,
                "learner": learner,
            }
        ),
        actors=ABSENT,
        maker=cast("BatchMaker", maker),
        checks=ABSENT,
        evaluator=ABSENT,
        recorder=ABSENT,
        stop=StopRequest(),
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


@pytest.mark.parametrize(("staleness", "young"), [(0, "a"), (1, "ab"), (2, "abc")])
def test_what_is_too_old_is_not_trained_on_but_asked_again(staleness: int, young: str) -> None:
    loop, step = controller(staleness), Step(5)
    loop.version = 4
    summaries = [ref(name, version=4 - age).summary for age, name in enumerate("abc")]
    fresh = loop.fresh(batch_of(summaries, 5), step)
    old = sorted(set("abc") - set(young))
    assert [group.summary.prompt_id for group in fresh] == list(young)
    assert sorted(group.summary.prompt_id for group in step.stale) == old
    assert sorted(loop.owed) == old
    assert sorted(prompt.id for prompt in loop.maker.returned) == old  # type: ignore[attr-defined]
    assert max(step.ages) == staleness
    # Answered anew, it is owed no more.
    loop.fresh(batch_of([ref(name, version=4).summary for name in "abc"], 6), Step(6))
    assert loop.owed == {}


def test_a_completion_of_weights_to_come_is_refused() -> None:
    """Truth 1: what is trained was sampled by weights that were there."""
    loop = controller()
    loop.version = 4
    with pytest.raises(IntegrityError, match="prompt b was answered at version 5"):
        loop.fresh(batch_of([ref("b", version=5).summary], 5), Step(5))


@pytest.mark.parametrize(("silent_groups", "trained"), [("skip", "ac"), ("train", "abc")])
def test_groups_without_signal_are_skipped_unless_asked_for(
    silent_groups: str, trained: str
) -> None:
    silent = replace(ref("b").summary, rewards=(1.0, 1.0))
    groups = [ref("a"), GroupRef(ABSENT, silent), ref("c")]
    used = controller(silent_groups=silent_groups).of_use(groups, {})
    assert "".join(group.summary.prompt_id for group in used) == trained


@pytest.mark.parametrize(("centring", "trained"), [(True, "ac"), (False, "c")])
def test_with_centred_verdicts_a_silent_group_has_a_signal_by_its_counterpart(
    centring: bool, trained: str
) -> None:
    alike, same = (replace(ref(name).summary, rewards=(1.0, 1.0)) for name in "ab")
    groups = [GroupRef(ABSENT, alike), GroupRef(ABSENT, same), ref("c")]
    leans = {"a": [Lean(mean=0.5, pull=-0.2)], "b": [Lean(mean=1.0, pull=0.0)]}
    used = controller(verdict_centring=centring).of_use(groups, leans)
    assert "".join(group.summary.prompt_id for group in used) == trained


def test_seeds_differ_by_purpose_and_repeat() -> None:
    made = {derive_seed(0, "a", 1), derive_seed(0, "a", 2), derive_seed(0, "b", 1)}
    made |= {derive_seed(1, "a", 1)}
    assert len(made) == 4
    assert derive_seed(0, "a", 1) in made
    assert all(0 <= seed < 2**31 for seed in made)
