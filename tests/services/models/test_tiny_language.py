"""The tiny model's language: every completion survives its tokenizer and is read by the grammar."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.config import WarmStartConfig
from contracts.grammar import last_boxed, read_verdict
from contracts.types import Objective, Task
from recycler.templates import TERSE
from services.models.tiny_language import (
    FAULTLESS,
    Faults,
    Sum,
    build_tokenizer,
    check,
    complete,
    derive,
)
from services.models.tiny_lessons import Teacher, tokenize

TOKENIZER = build_tokenizer(512)
SLOPPY = Faults.of(WarmStartConfig())
SUMS = st.builds(Sum, st.integers(0, 999), st.sampled_from("+-"), st.integers(0, 999))
QUESTIONS = ("57+68", "12-34", "52-38", "99+99", "50-12", "10-99", "7+8", "123-45")


def prompt_ids(objective, question, **shown):
    messages = TERSE[objective][0].render(Task("1", question, "0"), **shown)
    turns = [{"role": message.role, "content": message.text()} for message in messages]
    return TOKENIZER.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)


@given(SUMS)
def test_a_faultless_derivation_gives_the_right_answer(sum_):
    derivation = derive(sum_, FAULTLESS, random.Random(0))
    assert int(derivation.answer) == sum_.value
    assert derivation.answer == str(sum_.value)


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("57+68", "7+8+0=15,5+6+1=12,"),
        ("52-38", "12-8-0=4,05-3-1=1,"),
        ("12-34", "-04-2-0=2,03-1-0=2,"),
        ("50-7", "10-7-0=3,05-0-1=4,"),
    ],
)
def test_derivations_are_written_column_by_column(question, text):
    assert derive(Sum.parse(question), FAULTLESS, random.Random(0)).text == text


@pytest.mark.parametrize(
    ("answer", "proposed", "text", "agreed"),
    [
        ("125", "115", "55ok21no11ok", False),
        ("46", "46", "66ok44ok", True),
        ("46", "146", "66ok44ok01no", False),
        ("-22", "22", "22ok22ok-+no", False),
        ("-22", "-22", "22ok22ok--ok", True),
        ("8", "-5", "85no+-no", False),
        ("46", "4x", "no", False),
        ("46", "", "no", False),
    ],
)
def test_a_check_compares_digit_by_digit(answer, proposed, text, agreed):
    assert check(answer, proposed, FAULTLESS, random.Random(0)) == (text, agreed)


@given(SUMS, st.integers(-9999, 9999), st.integers(0, 2**32))
def test_a_faultless_check_agrees_with_equality(sum_, proposed, seed):
    answer = derive(sum_, SLOPPY, random.Random(seed)).answer
    _, agreed = check(answer, str(proposed), FAULTLESS, random.Random(seed))
    assert agreed == (int(answer) == proposed)


@given(
    st.sampled_from(Objective),
    SUMS,
    st.integers(-9999, 9999),
    st.sampled_from((FAULTLESS, SLOPPY)),
    st.integers(0, 2**32),
)
def test_completions_survive_the_tokenizer(objective, sum_, proposed, faults, seed):
    text = complete(objective, sum_, (str(proposed), "7"), faults, random.Random(seed))
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    assert TOKENIZER.unk_token_id not in ids
    assert TOKENIZER.decode([*ids, TOKENIZER.eos_token_id], skip_special_tokens=True) == text
    boxed = last_boxed(text)
    if objective in (Objective.SOLVE, Objective.REFLECT):
        assert str(int(boxed)) == boxed
    else:
        assert read_verdict(text) == {"Yes": "yes", "No": "no"}.get(boxed, boxed)


@given(SUMS, st.integers(-9999, 9999))
def test_prompts_keep_every_digit_and_sign(sum_, proposed):
    question = f"{sum_.left}{sum_.operator}{sum_.right}"
    ids = prompt_ids(Objective.POINTWISE, question, candidate=str(proposed))
    words = TOKENIZER.convert_ids_to_tokens(ids)
    assert words == ["<s>", "Solve", *question, "Proposed", *str(proposed), "Correct?", "<a>"]


def test_prompts_are_short():
    assert len(prompt_ids(Objective.SOLVE, "12+34")) == 8
    assert len(prompt_ids(Objective.PAIRWISE, "12+34", first="46", second="56")) == 15
    assert len(prompt_ids(Objective.REFLECT, "12+34", candidate="46")) == 12


def test_text_outside_the_language_does_no_harm():
    ids = prompt_ids(Objective.POINTWISE, "12+34", candidate="é x^{2}\n46 \\frac")
    assert TOKENIZER.convert_ids_to_tokens(ids)[-4:] == ["4", "6", "Correct?", "<a>"]


@pytest.mark.parametrize(
    "question", ["Tom has 3 apples.", "12*34", "12", "1+2+3", "-1+2", "", "1.5+2"]
)
def test_only_sums_are_parsed(question):
    assert Sum.parse(question) is None


def test_faultless_lessons_are_right():
    teacher = Teacher(QUESTIONS, proposers=SLOPPY, seed=3)
    lessons = [teacher.lesson() for _ in range(400)]
    assert all(lesson.right for lesson in lessons)
    assert {lesson.objective for lesson in lessons} == set(Objective)


def test_sloppy_lessons_have_diverse_faults():
    teacher = Teacher(QUESTIONS, proposers=SLOPPY, seed=3)
    lessons = [teacher.lesson(SLOPPY) for _ in range(2000)]
    for objective in Objective:
        right = [lesson.right for lesson in lessons if lesson.objective is objective]
        assert 0.2 < sum(right) / len(right) < 0.85
    answers = {last_boxed(x.completion) for x in lessons if x.objective is Objective.SOLVE}
    wrong_for_one = {
        derive(Sum.parse("57+68"), SLOPPY, random.Random(seed)).answer for seed in range(200)
    }
    assert len(answers) > len(QUESTIONS) * 3
    assert len(wrong_for_one) > 8


def test_lessons_show_only_the_given_questions():
    teacher = Teacher(("12+34", "9-5"), proposers=SLOPPY, seed=0)
    shown = {teacher.lesson(SLOPPY).messages[0].text().split()[1] for _ in range(100)}
    assert shown == {"12+34", "9-5"}


def test_judging_lessons_are_balanced():
    teacher = Teacher(QUESTIONS, proposers=SLOPPY, seed=0)
    lessons = [teacher.lesson() for _ in range(3000)]
    for objective, first in ((Objective.POINTWISE, "yes"), (Objective.PAIRWISE, "A")):
        verdicts = [read_verdict(x.completion) for x in lessons if x.objective is objective]
        assert 0.44 < verdicts.count(first) / len(verdicts) < 0.56


def test_verdicts_and_results_are_weighted_and_nothing_else():
    config = WarmStartConfig(verdict_weight=4.0, result_weight=2.0)
    teacher = Teacher(QUESTIONS, proposers=SLOPPY, seed=1)
    for _ in range(100):
        lesson = teacher.lesson(SLOPPY)
        tokens = tokenize(lesson, TOKENIZER, config)
        words = TOKENIZER.convert_ids_to_tokens(tokens.completion)
        heavy = [word for word, weight in zip(words, tokens.weights, strict=True) if weight == 4]
        judges = lesson.objective in (Objective.POINTWISE, Objective.PAIRWISE)
        assert heavy == ([last_boxed(lesson.completion)] if judges else [])
        results = re.findall(r"=(\d+),", lesson.completion)
        weighted = [word for word, weight in zip(words, tokens.weights, strict=True) if weight == 2]
        assert weighted == list("".join(results))
        assert set(tokens.weights) <= {1, 2, 4}
        assert words[-1] == TOKENIZER.eos_token


def test_the_same_seed_gives_the_same_lessons():
    first, second = (Teacher(QUESTIONS, proposers=SLOPPY, seed=5) for _ in range(2))
    assert [first.lesson(SLOPPY) for _ in range(50)] == [second.lesson(SLOPPY) for _ in range(50)]


def test_questions_outside_the_language_are_refused():
    with pytest.raises(ValueError, match="12\\*3"):
        Teacher(("12*3",), proposers=SLOPPY, seed=0)
