from __future__ import annotations

import pytest

from contracts.config import TaskConfig
from services.tasks.arithmetic import LARGEST, arithmetic_tasks, same_sum


def test_every_pair_of_operands_is_there_once() -> None:
    tasks = arithmetic_tasks(TaskConfig(operators="+-", low=3, high=5), "terse")
    assert {task.id for task in tasks} == {
        f"{left}{sign}{right}" for left in (3, 4, 5) for right in (3, 4, 5) for sign in "+-"
    }
    assert len(tasks) == 18


@pytest.mark.parametrize(
    ("name", "gold"), [("12+34", "46"), ("12-34", "-22"), ("34-12", "22"), ("12*34", "408")]
)
def test_gold_answers(name: str, gold: str) -> None:
    config = TaskConfig(operators="+-*", low=10, high=40, verifier="exact")
    (task,) = [task for task in arithmetic_tasks(config, "terse") if task.id == name]
    assert (task.gold, task.question, task.verifier) == (gold, name, "exact")


def test_a_sentence_asks_for_the_same_task() -> None:
    config = TaskConfig(low=10, high=12)
    terse, sentence = (arithmetic_tasks(config, wording) for wording in ("terse", "sentence"))
    assert [task.id for task in terse] == [task.id for task in sentence]
    assert sentence[0].question == "What is 10 + 10?"
    assert [task.gold for task in terse] == [task.gold for task in sentence]


def test_repeated_operators_count_once() -> None:
    assert arithmetic_tasks(TaskConfig(operators="+-+"), "terse") == arithmetic_tasks(
        TaskConfig(operators="+-"), "terse"
    )


def test_of_too_many_a_seeded_part_is_drawn() -> None:
    first, again, other = (
        arithmetic_tasks(TaskConfig(low=0, high=9999, seed=seed), "terse") for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert len({task.id for task in first}) == len(first) == LARGEST


def test_sums_in_either_order_are_one_question() -> None:
    keys = {t.id: same_sum(t) for t in arithmetic_tasks(TaskConfig(low=10, high=12), "terse")}
    assert keys["10+12"] == keys["12+10"] != keys["11+11"]
    assert keys["10-12"] != keys["12-10"]
