from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.config import TaskConfig
from contracts.errors import UserError
from contracts.types import Task
from services.tasks import load_tasks
from services.tasks.arithmetic import same_sum
from services.tasks.split import question_key, split_tasks

QUESTIONS = st.lists(st.sampled_from("abcdefgh "), min_size=1, max_size=3).map("".join)


def tasks_for(questions: list[str]) -> list[Task]:
    return [Task(id=str(i), question=q, gold="1") for i, q in enumerate(questions)]


@settings(max_examples=200, deadline=None)
@given(questions=st.lists(QUESTIONS, min_size=1, max_size=40), data=st.data())
def test_no_question_is_in_both_parts(questions: list[str], data: st.DataObject) -> None:
    tasks = tasks_for(questions)
    distinct = {question_key(task) for task in tasks}
    held_out = data.draw(st.integers(0, len(distinct) - 1))
    split = split_tasks(tasks, held_out, data.draw(st.integers(0, 5)))
    kept = {question_key(task) for task in split.held_out}
    assert len(kept) == len(split.held_out) == held_out
    assert kept.isdisjoint({question_key(task) for task in split.train})
    assert {question_key(task) for task in split.train} | kept == distinct
    assert set(split.train) <= set(tasks)


@given(order=st.permutations(list(range(30))))
def test_the_order_of_the_file_does_not_change_what_is_held_out(order: list[int]) -> None:
    tasks = tasks_for([f"q{i}" for i in range(30)])
    expected = split_tasks(tasks, 7, 0)
    shuffled = split_tasks([tasks[i] for i in order], 7, 0)
    assert shuffled.held_out == expected.held_out
    assert set(shuffled.train) == set(expected.train)


def test_the_seed_decides() -> None:
    tasks = tasks_for([f"q{i}" for i in range(100)])
    assert split_tasks(tasks, 10, 0) == split_tasks(tasks, 10, 0)
    assert split_tasks(tasks, 10, 0).held_out != split_tasks(tasks, 10, 1).held_out


def test_case_and_spaces_do_not_make_another_question() -> None:
    split = split_tasks(tasks_for(["How many?", " how  MANY?", "What?"]), 1, 0)
    kept = question_key(split.held_out[0])
    assert kept not in {question_key(task) for task in split.train}


def test_other_images_make_another_question() -> None:
    first = Task("1", "How many?", "1", images=("a.png",))
    second = Task("2", "How many?", "2", images=("b.png",))
    assert len(split_tasks([first, second], 1, 0).train) == 1


def test_too_few_tasks() -> None:
    with pytest.raises(UserError, match=r"d.json: 2 distinct .* 2 held out") as caught:
        split_tasks(tasks_for(["a", "b", "A"]), 2, 0, where="d.json")
    assert "tasks.held_out" in caught.value.remedy
    assert "to 1 or less" in caught.value.remedy


@pytest.mark.parametrize("style", ["terse", "natural"])
def test_arithmetic_parts_are_disjoint_and_the_same_in_every_run(style: str) -> None:
    config = TaskConfig(held_out=512)
    split, again = load_tasks(config, style), load_tasks(config, style)
    assert split == again
    assert len(split.held_out) == 512
    assert {t.id for t in split.held_out}.isdisjoint({t.id for t in split.train})
    assert {same_sum(t) for t in split.held_out}.isdisjoint({same_sum(t) for t in split.train})
    # Of 16,200 tasks only the held-out ones and their twins, as 34+12 to 12+34, are not trained.
    assert 15_000 < len(split.train) <= 16_200 - 512


def test_terse_and_worded_sums_are_split_alike() -> None:
    terse, worked = (load_tasks(TaskConfig(), style) for style in ("terse", "worked"))
    assert [t.id for t in terse.held_out] == [t.id for t in worked.held_out]
    assert worked.train[0].question.startswith("What is ")


def test_too_narrow_arithmetic() -> None:
    with pytest.raises(UserError, match="too few for 512 held out"):
        load_tasks(TaskConfig(low=1, high=9), "terse")
