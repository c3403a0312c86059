from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.grammar import ASK_A_B, ASK_ANSWER, ASK_YES_NO, last_boxed, read_verdict
from contracts.types import Message, Objective, Task
from recycler.templates import ALL_TEMPLATES, STYLES, TERSE, PromptTemplate

ASKS = {
    Objective.SOLVE: ASK_ANSWER,
    Objective.POINTWISE: ASK_YES_NO,
    Objective.PAIRWISE: ASK_A_B,
    Objective.REFLECT: ASK_ANSWER,
}
SHOWN = {
    Objective.SOLVE: {},
    Objective.POINTWISE: {"candidate": "c-1"},
    Objective.PAIRWISE: {"first": "f-1", "second": "s-1"},
    Objective.REFLECT: {"candidate": "c-1"},
}
ALL = [
    pytest.param(style, objective, template, id=template.id)
    for style, wordings in STYLES.items()
    for objective, templates in wordings.items()
    for template in templates
]
TASK = Task(id="t", question="q-1", gold="1")


@pytest.mark.parametrize(("style", "objective", "template"), ALL)
def test_every_wording_shows_all_it_judges_once_and_nothing_unfilled(
    style: str, objective: Objective, template: PromptTemplate
) -> None:
    text = template.render(TASK, **SHOWN[objective])[-1].text()
    for value in ("q-1", *SHOWN[objective].values()):
        assert text.count(value) == 1
    assert "$" not in text
    assert "{ask}" not in text


@pytest.mark.parametrize(("style", "objective", "template"), ALL)
def test_every_wording_asks_for_what_the_grammar_reads(
    style: str, objective: Objective, template: PromptTemplate
) -> None:
    messages = template.render(TASK, **SHOWN[objective])
    asked = sum(message.text().count(ASKS[objective]) for message in messages)
    assert asked == (0 if style == "terse" else 1)
    others = set(ASKS.values()) - {ASKS[objective]}
    assert not any(ask in message.text() for ask in others for message in messages)


def test_the_tiny_models_language_is_as_it_learned_it() -> None:
    texts = [
        TERSE[objective][0].render(TASK, **SHOWN[objective])[0].text() for objective in Objective
    ]
    assert texts == [
        "Solve q-1",
        "Solve q-1 Proposed c-1 Correct?",
        "Solve q-1 A: f-1 B: s-1 Which is correct?",
        "Solve q-1 Proposed c-1 Check and answer",
    ]


def test_names_are_unique_and_numbered() -> None:
    names = [param.values[2].name for param in ALL]
    assert len(set(names)) == len(names) == len(ALL_TEMPLATES)
    assert all(re.search(r"-\d+$", name) for name in names)


VERSIONS = Path(__file__).with_name("template_versions.json")


def test_a_changed_wording_has_a_new_version() -> None:
    # After a change: raise the template's version, and write the file anew with
    #   python tests/recycler/test_templates.py
    known = json.loads(VERSIONS.read_text())
    for name, (_, _, template) in ALL_TEMPLATES.items():
        assert str(template.version) in known[name], f"{template.id} is not in {VERSIONS.name}"
        assert known[name][str(template.version)] == template.digest, (
            f"{name} was changed: raise its version"
        )


def test_a_digest_holds_text_and_examples() -> None:
    template = STYLES["worked"][Objective.SOLVE][0]
    same = replace(template, name="other", version=9)
    assert same.digest == template.digest
    assert (same.id, template.id) == ("other.v9", f"{template.name}.v{template.version}")
    for changed in (
        replace(template, text=template.text + " "),
        replace(template, examples=template.examples[:-2]),
        replace(template, examples=(Message("user", "x"), *template.examples[1:])),
    ):
        assert changed.digest != template.digest


@pytest.mark.parametrize(
    ("objective", "at_least"),
    [
        (Objective.SOLVE, 2),
        (Objective.POINTWISE, 6),
        (Objective.PAIRWISE, 5),
        (Objective.REFLECT, 6),
    ],
)
def test_the_natural_style_is_varied(objective: Objective, at_least: int) -> None:
    texts = {template.text for template in STYLES["natural"][objective]}
    assert len(texts) >= at_least


REASONS = re.compile(
    r"step by step|work (?:the problem|it) out|explain|your working|derive|give your reasons|"
    r"check each step|solve the problem yourself|reason first|justify|go through it|second look|"
    r"say why|find any mistake|check the proposed answer|tell them whether it holds",
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    "template",
    [t for o in Objective if o is not Objective.SOLVE for t in STYLES["natural"][o]],
    ids=lambda template: template.id,
)
def test_a_judge_is_asked_for_reasons_before_the_verdict(template: PromptTemplate) -> None:
    reasons = REASONS.search(template.text)
    assert reasons is not None
    assert reasons.start() < template.text.index("boxed")


def worked(objective: Objective) -> list[list[tuple[Message, Message]]]:
    """The question and answer turns of every worked wording."""
    wordings = STYLES["worked"][objective]
    return [list(zip(t.examples[1::2], t.examples[2::2], strict=True)) for t in wordings]


def value_of(question: Message) -> int:
    left, sign, right = re.search(r"What is (\d+) ([+-]) (\d+)\?", question.text()).groups()  # type: ignore[union-attr]
    return int(left) + int(right) if sign == "+" else int(left) - int(right)


@pytest.mark.parametrize("objective", [Objective.SOLVE, Objective.REFLECT])
def test_worked_answers_are_right(objective: Objective) -> None:
    for turns in worked(objective):
        assert turns
        for question, answer in turns:
            assert last_boxed(answer.text()) == str(value_of(question))


@pytest.mark.parametrize("objective", [Objective.POINTWISE, Objective.REFLECT])
def test_worked_proposals_are_right_and_wrong_in_balance(objective: Objective) -> None:
    patterns = []
    for turns in worked(objective):
        verdicts = []
        for question, answer in turns:
            proposed = re.search(r"Proposed answer: (-?\d+)", question.text())
            assert proposed is not None
            right = int(proposed[1]) == value_of(question)
            if objective is Objective.POINTWISE:
                assert read_verdict(answer.text()) == ("yes" if right else "no")
            else:
                assert ("as proposed" in answer.text()) == right
                assert (f"not {proposed[1]}" in answer.text()) != right
            verdicts.append(right)
        assert verdicts.count(True) == verdicts.count(False)
        patterns.append(verdicts)
    assert patterns[0] == [not verdict for verdict in patterns[1]]


def test_worked_pairs_have_balanced_positions() -> None:
    patterns = []
    for turns in worked(Objective.PAIRWISE):
        letters = []
        for question, answer in turns:
            shown = re.findall(r"Answer ([AB]): (-?\d+)", question.text())
            right = [letter for letter, value in shown if int(value) == value_of(question)]
            assert [read_verdict(answer.text())] == right
            letters.append(right[0])
        assert letters.count("A") == letters.count("B")
        patterns.append(letters)
    assert patterns[0] == ["B" if letter == "A" else "A" for letter in patterns[1]]


@pytest.mark.parametrize("objective", list(Objective))
def test_worked_examples_are_worded_like_the_question_that_follows(objective: Objective) -> None:
    for template in STYLES["worked"][objective]:
        example = template.examples[1].text()
        fixed = re.sub(r"\$\w+", "\0", template.text).split("\0")
        assert all(piece in example for piece in fixed)
        assert [m.role for m in template.examples] == [
            "system",
            *["user", "assistant"] * (len(template.examples) // 2),
        ]


def write_versions() -> None:
    """Note the digests of all present versions; those of former ones stay."""
    known = json.loads(VERSIONS.read_text()) if VERSIONS.exists() else {}
    for name, (_, _, template) in ALL_TEMPLATES.items():
        known.setdefault(name, {})[str(template.version)] = template.digest
    VERSIONS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    write_versions()
