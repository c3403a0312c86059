"""The answerer on the recycler's prompts and the real graders; engines are played by a script."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from actors.chat import Chat
from actors.graders.processes import GraderProcesses
from actors.graders.registry import grade_completion
from contracts.config import RunConfig
from contracts.types import Completion, Finish, Group, Objective, Prompt, Task, VersionSpan
from services.evaluate.answerer import Shown
from services.evaluate.engine import EngineAnswerer, Settings, Show, said

TASK = Task("t", "12 + 34", "46")
OTHER = Task("u", "1 + 1", "2")


@pytest.fixture(scope="module")
def graders() -> Iterator[GraderProcesses]:
    with GraderProcesses(workers=1, deadline=5.0) as processes:
        yield processes


class Engine:
    """Completes every prompt by a function, and keeps what it was asked."""

    def __init__(self, complete: Callable[[Prompt], str], finish: Finish = "stop") -> None:
        self.complete, self.finish = complete, finish
        self.asked: list[Prompt] = []
        self.seeds: list[int] = []

    def __call__(
        self, prompts: Sequence[Prompt], *, completions: int, temperature: float, seed: int
    ) -> list[Group]:
        self.asked += prompts
        self.seeds.append(seed)
        return [self.group(prompt, completions) for prompt in prompts]

    def group(self, prompt: Prompt, completions: int) -> Group:
        text = self.complete(prompt)
        tokens = np.zeros(len(text), np.int32)
        made = tuple(
            Completion(
                f"{prompt.id}/{i}",
                tokens,
                np.zeros(len(text), np.float32),
                self.finish,
                (VersionSpan(0, len(text), 0),),
                text,
            )
            for i in range(completions)
        )
        grades = tuple(grade_completion(prompt, completion) for completion in made)
        return Group(prompt, np.zeros(7, np.int32), made, grades)


def answerer(
    engine: Engine,
    folder: Path,
    graders: GraderProcesses,
    *,
    show: Show = "answer",
    context: int = 256,
) -> EngineAnswerer:
    config = RunConfig.model_validate(
        {"model": {"max_context": context, "name": "x"}, "recycle": {"style": "natural"}}
    )
    return EngineAnswerer(engine, Settings(config, Chat(folder), 1.0, show, 3), graders)


def test_replies_are_read_and_graded(random_model_folder: Path, graders: GraderProcesses) -> None:
    engine = Engine(lambda _: r"so \boxed{46}")
    model = answerer(engine, random_model_folder, graders)
    right, wrong = model.solve([TASK, OTHER], 2)
    assert [reply.answer for reply in right.replies] == ["46", "46"]
    assert right.cost.prompt == 7
    assert right.cost.generated == 2 * len(r"so \boxed{46}")
    assert model.correct(right.replies[0])
    assert not model.correct(wrong.replies[0])
    assert not model.correct(None)
    assert model.candidate(wrong.replies[0]).correct is False


@pytest.mark.parametrize(("text", "finish"), [("no box", "stop"), (r"\boxed{46}", "length")])
def test_what_has_no_answer_is_wrong(
    text: str, finish: Finish, random_model_folder: Path, graders: GraderProcesses
) -> None:
    model = answerer(Engine(lambda _: text, finish), random_model_folder, graders)
    (asked,) = model.solve([TASK], 1)
    assert asked.replies[0].answer is None
    assert not model.correct(asked.replies[0])


def test_the_same_prompt_may_be_asked_again_with_other_draws(
    random_model_folder: Path, graders: GraderProcesses
) -> None:
    engine = Engine(lambda _: r"\boxed{46}")
    model = answerer(engine, random_model_folder, graders)
    replies = [asked.replies[0].id for _ in range(2) for asked in model.solve([TASK], 1)]
    assert len(set(replies)) == 2
    assert len(set(engine.seeds)) == 2
    assert engine.asked[0].messages == engine.asked[1].messages


def test_the_judge_sees_what_it_is_to_see(
    random_model_folder: Path, graders: GraderProcesses
) -> None:
    def complete(prompt: Prompt) -> str:
        return r"so \boxed{46}" if prompt.objective is Objective.SOLVE else r"\boxed{No}"

    ways: tuple[tuple[Show, str], ...] = (("answer", "46"), ("reasoning", r"so \boxed{46}"))
    for show, shown in ways:
        engine = Engine(complete)
        model = answerer(engine, random_model_folder, graders, show=show)
        (asked,) = model.solve([TASK], 1)
        assert model.face(asked.replies[0]) == shown
        (judged,) = model.judge([Shown(TASK, asked.replies[0])], 3)
        assert [verdict.yes for verdict in judged.replies] == [False] * 3
        assert engine.asked[-1].shown == (shown,)
        assert engine.asked[-1].label == "yes"


def test_reasoning_that_does_not_fit_gives_way_to_the_answer(
    random_model_folder: Path, graders: GraderProcesses
) -> None:
    engine = Engine(lambda _: "12 " * 90 + r"\boxed{46}")
    model = answerer(engine, random_model_folder, graders, show="reasoning", context=128)
    (asked,) = model.solve([TASK], 1)
    model.reflect([Shown(TASK, asked.replies[0])], 1)
    assert engine.asked[-1].shown == ("46",)
    assert model.too_long == 0


def test_a_question_that_does_not_fit_is_unanswered_and_counted(
    random_model_folder: Path, graders: GraderProcesses
) -> None:
    engine = Engine(lambda _: r"\boxed{46}")
    model = answerer(engine, random_model_folder, graders, context=128)
    long = Task("long", "12 " * 300, "46")
    first, second = model.solve([long, TASK], 2)
    assert [reply.answer for reply in first.replies] == [None, None]
    assert first.cost.tokens == 0
    assert second.replies[0].answer == "46"
    assert model.too_long == 1
    assert [prompt.task.id for prompt in engine.asked] == ["t"]


def test_answers_are_the_same_to_the_grader_either_way(
    random_model_folder: Path, graders: GraderProcesses
) -> None:
    model = answerer(Engine(lambda _: ""), random_model_folder, graders)
    for left, right in (("0.5", r"\frac{1}{2}"), ("1/2", "0.50"), ("46", "046.0"), ("x+1", "1+x")):
        assert model.same(TASK, left, right)
        assert model.same(TASK, right, left)
    for left, right in (("46", "47"), ("A", "B"), ("1,2", "12")):
        assert not model.same(TASK, left, right)


def test_verdicts_are_read_as_everywhere() -> None:
    words = ("Yes", "no.", r"\text{Correct}", "A", "perhaps", None)
    assert [said(word) for word in words] == [True, False, True, None, None, None]
