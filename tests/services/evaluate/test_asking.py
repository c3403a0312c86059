"""What a person sees of one question: the order of parts, when it ends, which answer counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.types import Objective, Prompt, Task
from services.commands.ask import task_of
from services.evaluate.asking import HEADS, Conversation, Utterance
from services.evaluate.models import Model

TASK = Task("question", "What is 20 + 3?", "")


@dataclass
class Speaker:
    """A voice with a list of things to say on each kind of prompt; the last one stays."""

    solve: list[str]
    judge: list[str] = field(default_factory=lambda: [r"\boxed{Yes}"])
    reflect: list[str] = field(default_factory=lambda: [r"\boxed{23}"])
    ended: bool = True
    heard: list[Prompt] = field(default_factory=list)

    def speak(self, prompt: Prompt, hear: Callable[[str], None]) -> Utterance:
        self.heard.append(prompt)
        lists = {
            Objective.SOLVE: self.solve,
            Objective.POINTWISE: self.judge,
            Objective.REFLECT: self.reflect,
        }
        lines = lists[prompt.objective]
        text = lines.pop(0) if len(lines) > 1 else lines[0]
        for letter in text:
            hear(letter)
        return Utterance(text, self.ended, len(text))


@dataclass
class Paper:
    """A screen that keeps what it was shown."""

    lines: list[str] = field(default_factory=list)

    def head(self, text: str) -> None:
        self.lines += [f"# {text}", ""]

    def piece(self, text: str) -> None:
        self.lines[-1] += text

    def note(self, text: str) -> None:
        self.lines.append(f"[{text}]")


def conversation(voice: Speaker, rounds: int = 3) -> tuple[Conversation, Paper]:
    paper = Paper()
    return Conversation(TASK, voice, paper, "natural", "answer", rounds), paper


def test_all_three_are_seen_even_where_the_first_answer_is_right() -> None:
    talk, paper = conversation(Speaker([r"20 + 3 is \boxed{23}."]))
    turn = talk.hold()
    assert paper.lines == [
        f"# {HEADS['answer']}",
        r"20 + 3 is \boxed{23}.",
        "[answers 23]",
        f"# {HEADS['judge']}",
        r"\boxed{Yes}",
        "[says yes to 23]",
        f"# {HEADS['reflect']}",
        r"\boxed{23}",
        "[answers 23]",
        f"# {HEADS['judge']}",
        r"\boxed{Yes}",
        "[says yes to 23]",
    ]
    assert (turn.answer, turn.verdict) == ("23", "yes")
    assert talk.tokens == sum(len(line) for line in paper.lines if line[0] not in "#[")


def test_it_goes_on_until_an_answer_is_judged_right() -> None:
    voice = Speaker(
        [r"\boxed{21}"],
        judge=[r"\boxed{No}", r"\boxed{No}", r"\boxed{Yes}"],
        reflect=[r"\boxed{22}", r"\boxed{23}", r"\boxed{24}"],
    )
    talk, _ = conversation(voice, rounds=9)
    assert talk.hold().answer == "23"
    assert [turn.verdict for turn in talk.turns] == ["no", "no", "yes"]
    assert [p.shown for p in voice.heard if p.objective is Objective.REFLECT] == [("21",), ("22",)]


def test_it_has_an_end_where_nothing_is_judged_right() -> None:
    talk, _ = conversation(Speaker([r"\boxed{1}"], judge=["who knows"]), rounds=4)
    assert talk.hold().answer == "23"
    assert len(talk.turns) == 4
    assert {turn.verdict for turn in talk.turns} == {None}


def test_an_answer_judged_right_is_not_lost_by_a_second_look() -> None:
    voice = Speaker([r"\boxed{23}"], judge=[r"\boxed{Yes}", r"\boxed{No}"], reflect=[r"\boxed{99}"])
    talk, _ = conversation(voice)
    assert talk.hold().answer == "23"


def test_what_was_cut_off_is_given_again() -> None:
    talk, paper = conversation(Speaker([r"\boxed{23} and", "on"], ended=False), rounds=2)
    turn = talk.hold()
    assert turn.answer is None
    assert paper.lines.count("[no answer: cut off]") == 2
    assert f"# {HEADS['judge']}" not in paper.lines


def test_the_judge_may_be_shown_the_reasoning() -> None:
    voice = Speaker([r"20 + 3 is \boxed{23}."])
    Conversation(TASK, voice, Paper(), "natural", "reasoning", 1).hold()
    assert voice.heard[1].shown == (r"20 + 3 is \boxed{23}.",)


def model(style: str, folder: Path) -> Model:
    settings = {"recycle": {"style": style}, "model": {"name": "tiny" if style == "terse" else "x"}}
    return Model("x", folder, RunConfig.model_validate(settings))


def test_the_tiny_model_is_asked_in_its_own_words(tmp_path: Path) -> None:
    tiny = model("terse", tmp_path)
    assert task_of("What is 12 + 34?", [], tiny).question == "12+34"
    with pytest.raises(UserError, match="knows sums"):
        task_of("Who are you?", [], tiny)
    assert task_of("Who are you?", [], model("natural", tmp_path)).question == "Who are you?"
    with pytest.raises(UserError, match="no question"):
        task_of("  ", [], tiny)


def test_images_are_for_models_with_eyes(tmp_path: Path) -> None:
    image = tmp_path / "1.png"
    image.touch()
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    with pytest.raises(UserError, match="reads text only"):
        task_of("What is this?", [image], model("natural", tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_5_vl", "vision_config": {}}')
    task = task_of("What is this?", [image], model("natural", tmp_path))
    assert task.images == (str(image),)
    with pytest.raises(UserError, match="no such image"):
        task_of("What is this?", [tmp_path / "2.png"], model("natural", tmp_path))
