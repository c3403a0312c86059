"""What goes into a batch, and into the next one: the whole schedule, with answers made up."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from made_steps import prompt

from actors.recycler_actor import Recycler
from actors.refs import GroupRef
from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.types import GroupSummary, Objective, Prompt, Reason, Task
from services.ahead import Ahead
from services.batches import Batch, BatchMaker
from services.gate import Gate
from services.recycled import PromptsByStep
from services.rollouts import Rollouts
from services.tasks.stream import TaskStream

ABSENT: Any = None


def answered(asked: Prompt, *, signal: bool = True) -> GroupRef:
    summary = GroupSummary(
        prompt_id=asked.id,
        task_id=asked.task.id,
        template="t",
        objective=asked.objective,
        label=asked.label,
        shown_correct=(),
        prompt_tokens=3,
        completion_tokens=(2, 2),
        rewards=(0.0, 1.0) if signal else (1.0, 1.0),
        correct=(not signal, True),
        extracted=("2", "1"),
        reasons=(Reason.OK, Reason.OK),
        versions=(0, 0),
    )
    return GroupRef(cast("Any", asked), summary)


class Answers:
    """Rollouts of which it is given whether each has signal; keeps what it was asked."""

    def __init__(self, signal: str = "") -> None:
        self.signal = list(signal)
        self.asked: list[list[str]] = []
        self.seeds: list[int] = []

    def sample(self, prompts: Sequence[Prompt], *, seed: int, **_: object) -> list[GroupRef]:
        self.asked.append([p.id for p in prompts])
        self.seeds.append(seed)
        return [answered(p, signal=not self.signal or self.signal.pop(0) == "1") for p in prompts]


class Judge:
    """A recycler that makes a pointwise prompt of each group."""

    def recycle(self, refs: Sequence[Prompt], seed: int) -> list[Prompt]:
        return [prompt(f"judge/{asked.id}", Objective.POINTWISE) for asked in refs]


def maker(
    answers: Answers,
    tasks: int = 50,
    recycled: PromptsByStep | None = None,
    **settings: Any,
) -> BatchMaker:
    config = RunConfig.model_validate({"tasks_per_step": 4, **settings})
    return BatchMaker(
        config,
        tasks=TaskStream([Task(str(i), str(i), str(i)) for i in range(tasks)], 0),
        rollouts=cast("Rollouts", answers),
        recycler=cast("Recycler", Judge()),
        gate=Gate(closed=False),
        recycled=recycled,
    )


def kinds(batch: Batch) -> list[str]:
    return [str(group.summary.objective) for group in batch.groups]


def test_recycled_prompts_join_the_next_solve_prompts() -> None:
    made = maker(Answers())
    first, second = made.make(1), made.make(2)
    assert kinds(first) == ["solve"] * 4
    assert kinds(second) == ["solve"] * 4 + ["pointwise"] * 4
    assert [p.id for p in first.pending] == [p.id for p in first.recycled]
    assert {p.id for p in first.pending} <= set(second.prompts)
    assert [b.ends_step for b in (first, second)] == [True, True]


def test_the_paper_s_order_solves_and_then_judges_in_one_step() -> None:
    made = maker(Answers(), schedule="sequential")
    batches = [made.make(number) for number in (1, 2, 3)]
    assert [kinds(b) for b in batches] == [["solve"] * 4, ["pointwise"] * 4, ["solve"] * 4]
    assert [b.step for b in batches] == [1, 1, 2]
    assert [b.ends_step for b in batches] == [False, True, False]
    assert batches[1].pending == ()


def test_recycled_prompts_that_are_for_another_run_are_made_and_not_answered() -> None:
    made = maker(Answers(), recycle={"answered": False}, schedule="sequential")
    batches = [made.make(number) for number in (1, 2)]
    assert [kinds(b) for b in batches] == [["solve"] * 4] * 2
    assert [len(b.recycled) for b in batches] == [4, 4]
    assert all(b.pending == () and b.ends_step for b in batches)


def test_a_judge_that_is_trained_apart_answers_the_other_run_s_prompts_step_by_step() -> None:
    theirs = {
        1: [prompt("judge/a", Objective.POINTWISE), prompt("judge/b", Objective.POINTWISE)],
        3: [prompt("judge/c", Objective.POINTWISE)],
    }
    answers = Answers()
    made = maker(answers, recycled=theirs)
    batches = [made.make(number) for number in (1, 2, 3)]
    assert [list(b.prompts) for b in batches] == [["judge/a", "judge/b"], [], ["judge/c"]]
    assert answers.asked == [["judge/a", "judge/b"], ["judge/c"]]
    assert all(b.recycled == [] and b.ends_step for b in batches)
    with pytest.raises(UserError, match="end with step 3"):
        made.make(4)


def test_a_batch_says_where_the_run_stands_after_it() -> None:
    made = maker(Answers(), tasks=6)
    positions = [(b.tasks.epoch, b.tasks.position) for b in map(made.make, (1, 2, 3))]
    assert positions == [(0, 4), (1, 2), (2, 0)]


def test_what_is_given_back_is_asked_in_the_next_batch() -> None:
    answers = Answers()
    made = maker(answers)
    first = made.make(1)
    made.give_back([first.prompts[first.groups[0].summary.prompt_id]])
    second = made.make(2)
    again = first.groups[0].summary.prompt_id
    assert answers.asked[1].count(again) == 1
    # It is a solve prompt, so a judge prompt is made of its new answers too.
    assert f"judge/{again}" in {p.id for p in second.pending}
    assert again not in {p.id for p in made.make(3).prompts.values()}


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
    answers = Answers(signal)
    batch = maker(answers, sampling={"refill": refill}).make(1)
    assert [len(asked) for asked in answers.asked] == batches
    assert answers.signal == []
    ids = [group.summary.prompt_id for group in batch.groups]
    assert len(set(ids)) == len(ids) == batch.tasks.position
    assert [int(i.split("/")[0].split(".")[1]) for i in ids] == list(range(len(ids)))
    assert len(set(answers.seeds)) == len(answers.seeds)


def test_prompt_ids_differ_even_where_an_epoch_ends_within_a_step() -> None:
    made = maker(Answers(), tasks=3, recycle={"enabled": False})
    seen = [g.summary.prompt_id for n in (1, 2, 3) for g in made.make(n).groups]
    assert len(seen) == len(set(seen)) == 12


@pytest.mark.parametrize("staleness", [0, 1, 3])
def test_no_batch_is_begun_before_its_weights_may_be_used(staleness: int) -> None:
    begun: list[int] = []
    ahead = Ahead(lambda n: cast("Batch", begun.append(n)), staleness=staleness, last=7)
    for version in range(7):
        ahead.fill(version)
        ahead.take().result(timeout=10)
        queued = list(ahead._queue)
        for batch in queued:
            batch.result(timeout=10)
        assert begun == list(range(1, min(7, version + 1 + staleness) + 1))
        assert ahead.ready == len(queued)
    ahead.close()


def test_a_closed_gate_lets_an_update_in_between_two_batches() -> None:
    gate, order = Gate(closed=True), []
    sampling, updated = threading.Event(), threading.Event()

    def update() -> None:
        sampling.wait(10)
        with gate.held():
            order.append("update")
            updated.set()

    thread = threading.Thread(target=update)
    thread.start()
    with gate.held():
        sampling.set()
        assert not updated.wait(0.2)
        order.append("batch")
    while not updated.is_set():
        with gate.held():
            order.append("next batch")
    thread.join()
    assert order[0] == "batch"
    assert order.index("update") <= 2


def test_an_open_gate_keeps_nobody_out() -> None:
    gate = Gate(closed=False)
    with gate.held(), gate.held():
        pass


def test_summaries_of_the_made_up_answers_are_sound() -> None:
    assert answered(prompt("p")).summary.has_signal
    assert not answered(prompt("p"), signal=False).summary.has_signal
    assert replace(answered(prompt("p")).summary, rewards=(1.0,)).has_signal is False
