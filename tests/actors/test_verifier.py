"""From a generation to a graded group, without Ray."""

from __future__ import annotations

import numpy as np
import pytest

from actors.graders.processes import GraderProcesses
from actors.verifier import grade_generation
from contracts.types import (
    Candidate,
    Completion,
    Finish,
    Generation,
    Objective,
    Prompt,
    Reason,
    Task,
    VersionSpan,
)
from recycler.outcomes import ReflectionRewards
from recycler.recycle import reflect_prompt, solve_prompt

TASK = Task("t", "2+2", "4")
TEXTS: list[tuple[str, Finish]] = [
    (r"\boxed{4}", "stop"),
    (r"\boxed{5}", "stop"),
    ("four", "stop"),
    (r"\boxed{4}", "length"),
]
VALUES = ReflectionRewards(fix=2.0, keep=1.0, breaking=-1.0, miss=-0.5, unanswered=-0.25)


def reflection(answer: str) -> Prompt:
    return reflect_prompt(Candidate(TASK, "c", answer, answer, answer == "4"), "terse")


def generation(prompt: Prompt) -> Generation:
    completions = tuple(
        Completion(
            id=f"{prompt.id}#{i}",
            tokens=np.zeros(2, np.int32),
            logprobs=np.zeros(2, np.float32),
            finish=finish,
            spans=(VersionSpan(0, 2, 0),),
            text=text,
        )
        for i, (text, finish) in enumerate(TEXTS)
    )
    return Generation(prompt, np.zeros(3, np.int32), completions)


@pytest.mark.parametrize(
    ("prompt", "rewards"),
    [
        (solve_prompt(TASK, "terse"), [1.0, 0.0, 0.0, 0.0]),
        (reflection("3"), [2.0, -0.5, -0.25, -0.25]),
        (reflection("4"), [1.0, -1.0, -0.25, -0.25]),
    ],
)
def test_reflections_earn_what_their_outcome_is_worth(prompt: Prompt, rewards: list[float]) -> None:
    with GraderProcesses(workers=1, deadline=1.0) as processes:
        valued = grade_generation(generation(prompt), processes, VALUES)
        plain = grade_generation(generation(prompt), processes)
    assert valued.rewards.tolist() == rewards
    assert plain.rewards.tolist() == [1.0, 0.0, 0.0, 0.0]
    for group in (valued, plain):
        assert group.prompt.objective in (Objective.SOLVE, Objective.REFLECT)
        assert [grade.correct for grade in group.grades] == [True, False, False, False]
        assert [grade.reason for grade in group.grades] == [
            Reason.OK,
            Reason.OK,
            Reason.NO_ANSWER,
            Reason.TRUNCATED,
        ]
