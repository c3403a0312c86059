from __future__ import annotations

import pytest

from contracts.types import Candidate, ImagePart, Objective, Task, TextPart
from recycler.prompts import (
    pairwise_prompt,
    pick_template,
    pointwise_prompt,
    reflect_prompt,
    solve_prompt,
)
from recycler.templates import STYLES

TASK = Task(id="t1", question="What is 12 + 7?", gold="19", verifier="exact")
RIGHT = Candidate(TASK, "c1", "19", "12 + 7 is \\boxed{19}", True)
WRONG = Candidate(TASK, "c2", "18", "12 + 7 is \\boxed{18}", False)


def test_solve() -> None:
    prompt = solve_prompt(TASK, "terse")
    assert (prompt.id, prompt.label, prompt.verifier) == ("t1/solve", "19", "exact")
    assert prompt.messages[-1].text() == "Solve What is 12 + 7?"
    assert prompt.parents == prompt.shown == prompt.shown_correct == ()


@pytest.mark.parametrize(("candidate", "label"), [(RIGHT, "yes"), (WRONG, "no")])
def test_pointwise(candidate: Candidate, label: str) -> None:
    prompt = pointwise_prompt(candidate, "natural")
    assert (prompt.label, prompt.verifier) == (label, "verdict")
    assert prompt.parents == (candidate.completion_id,)
    assert prompt.shown == (candidate.answer,)
    assert prompt.shown_correct == (candidate.correct,)
    assert candidate.answer in prompt.messages[-1].text()


@pytest.mark.parametrize("right_first", [True, False])
@pytest.mark.parametrize("reasoning", [True, False])
def test_pairwise(right_first: bool, reasoning: bool) -> None:
    prompt = pairwise_prompt(RIGHT, WRONG, "natural", right_first=right_first, reasoning=reasoning)
    order = (RIGHT, WRONG) if right_first else (WRONG, RIGHT)
    assert prompt.label == ("A" if right_first else "B")
    assert prompt.parents == tuple(c.completion_id for c in order)
    assert prompt.shown_correct == (right_first, not right_first)
    text = prompt.messages[-1].text()
    first, second = (c.reasoning if reasoning else c.answer for c in order)
    assert prompt.shown == (first, second)
    assert text.index(f"\n{first}\n" if reasoning else first) < text.rindex(second)


def test_swapped_positions_are_two_prompts() -> None:
    ids = {pairwise_prompt(RIGHT, WRONG, "terse", right_first=r).id for r in (True, False)}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (WRONG, RIGHT),
        (RIGHT, RIGHT),
        (RIGHT, Candidate(Task("t2", "?", "1"), "c3", "2", "2", False)),
    ],
)
def test_pairwise_needs_a_right_and_a_wrong_answer_to_one_task(
    right: Candidate, wrong: Candidate
) -> None:
    with pytest.raises(ValueError, match="no right and wrong answer"):
        pairwise_prompt(right, wrong, "terse", right_first=True)


@pytest.mark.parametrize("candidate", [RIGHT, WRONG])
def test_reflection_asks_for_the_gold_answer(candidate: Candidate) -> None:
    prompt = reflect_prompt(candidate, "worked", reasoning=True)
    assert (prompt.label, prompt.verifier) == ("19", "exact")
    assert prompt.shown == (candidate.reasoning,)
    assert prompt.shown_correct == (candidate.correct,)


def test_images_come_before_the_text() -> None:
    task = Task("t", "How many cats?", "3", images=("a.png", "b.png"))
    content = solve_prompt(task, "natural").messages[-1].content
    assert not isinstance(content, str)
    assert content[:2] == (ImagePart("a.png"), ImagePart("b.png"))
    assert isinstance(content[2], TextPart)


def test_dollars_and_braces_of_a_task_are_left_alone() -> None:
    task = Task("t", "A pen costs $2, and $question is ${x}. \\$5?", "3")
    odd = Candidate(task, "c", "$first", "${candidate}", False)
    text = pointwise_prompt(odd, "natural").messages[-1].text()
    assert task.question in text
    assert "$first" in text


def test_the_choice_of_wording_is_seeded_and_covers_all() -> None:
    templates = STYLES["natural"][Objective.PAIRWISE]
    picked = [pick_template("natural", Objective.PAIRWISE, "key", seed) for seed in range(100)]
    assert set(picked) == set(templates)
    assert picked[3] is pick_template("natural", Objective.PAIRWISE, "key", 3)
