"""Fix, keep, break and miss, and what they are worth."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.types import Candidate, Grade, Prompt, Reason, Task
from recycler.outcomes import PLAIN, Outcome, ReflectionRewards, outcome_of, reward_reflection
from recycler.recycle import pointwise_prompt, reflect_prompt, solve_prompt

TASK = Task("t", "2+2", "4")
RIGHT = Candidate(TASK, "c1", "4", "4", True)
WRONG = Candidate(TASK, "c2", "5", "5", False)
VALUES = ReflectionRewards(fix=1.5, keep=1.0, breaking=-1.0, miss=-0.5, unanswered=-0.25)


def grade(correct: bool, reason: Reason = Reason.OK) -> Grade:
    return Grade(float(correct), correct, "4" if correct else "5", reason)


@pytest.mark.parametrize(
    ("shown", "correct", "outcome", "reward"),
    [
        (WRONG, True, Outcome.FIX, 1.5),
        (RIGHT, True, Outcome.KEEP, 1.0),
        (RIGHT, False, Outcome.BREAK, -1.0),
        (WRONG, False, Outcome.MISS, -0.5),
    ],
)
def test_each_outcome_has_its_reward(
    shown: Candidate, correct: bool, outcome: Outcome, reward: float
) -> None:
    assert outcome_of(shown.correct, correct) is outcome
    prompt = reflect_prompt(shown, "terse")
    assert reward_reflection(prompt, grade(correct), VALUES) == replace(
        grade(correct), reward=reward
    )


@pytest.mark.parametrize("reason", [r for r in Reason if r is not Reason.OK])
@pytest.mark.parametrize("shown", [RIGHT, WRONG])
def test_no_graded_answer_is_neither(shown: Candidate, reason: Reason) -> None:
    given = Grade(0.0, False, None, reason)
    graded = reward_reflection(reflect_prompt(shown, "terse"), given, VALUES)
    assert graded == replace(given, reward=-0.25)


GRADES = [grade(True), grade(False), *(grade(False, r) for r in Reason if r is not Reason.OK)]


@pytest.mark.parametrize("given", GRADES)
@pytest.mark.parametrize("shown", [RIGHT, WRONG])
def test_by_default_reward_is_correctness(shown: Candidate, given: Grade) -> None:
    assert reward_reflection(reflect_prompt(shown, "terse"), given, PLAIN) == given


@pytest.mark.parametrize("prompt", [solve_prompt(TASK, "terse"), pointwise_prompt(RIGHT, "terse")])
def test_other_objectives_are_left_alone(prompt: Prompt) -> None:
    for given in (grade(True), grade(False), Grade(0.0, False, None, Reason.NO_ANSWER)):
        assert reward_reflection(prompt, given, VALUES) is given
