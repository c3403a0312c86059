"""The graders against a table written by hand, and the faults of the released code."""

from __future__ import annotations

import numpy as np
import pytest

from actors.graders import grade_completion, grader, quick_grade
from contracts.errors import UserError
from contracts.types import (
    Completion,
    Finish,
    Grade,
    Message,
    Objective,
    Prompt,
    Reason,
    Task,
    VersionSpan,
)
from tests.actors.grader_cases import CASES

ROWS = [(kind, row) for kind, rows in CASES.items() for row in rows]


@pytest.mark.parametrize(("kind", "row"), ROWS, ids=[f"{k}:{row.gold}" for k, row in ROWS])
def test_table(kind, row):
    math = grader("math")
    graded = {
        answer: math(rf"So \boxed{{{answer}}}.", row.gold) for answer in row.right + row.wrong
    }
    assert {a: g.correct for a, g in graded.items()} == {
        **dict.fromkeys(row.right, True),
        **dict.fromkeys(row.wrong, False),
    }
    for answer, grade in graded.items():
        assert grade.extracted == (answer.strip() or None)
        assert grade.reward == float(grade.correct)
        assert grade.reason is (Reason.OK if answer.strip() else Reason.NO_ANSWER)


def test_the_table_is_large_and_has_right_and_wrong_of_every_type():
    assert sum(len(row.right) + len(row.wrong) for _, row in ROWS) >= 300
    for rows in CASES.values():
        assert any(row.right for row in rows)
        assert any(row.wrong for row in rows)


@pytest.mark.parametrize(("kind", "row"), ROWS, ids=[f"{k}:{row.gold}" for k, row in ROWS])
def test_a_quick_grade_is_the_grade_or_none(kind, row):
    for answer in row.right + row.wrong:
        quick = quick_grade("math", rf"\boxed{{{answer}}}", row.gold)
        if kind in ("integer", "decimal", "percent", "currency", "unit", "choice", "text"):
            assert quick is not None, "must be graded without sympy"
        if quick is not None:
            assert quick == grader("math")(rf"\boxed{{{answer}}}", row.gold)


RELEASED = [
    ("two boxes, both right", "math", r"\boxed{4}, again \boxed{4}", "4", True),
    ("the last box counts", "math", r"\boxed{5} no: \boxed{4}", "4", True),
    ("the first box does not", "math", r"\boxed{4} no: \boxed{5}", "4", False),
    ("a brace behind the box", "math", r"{so \boxed{4} it is}", "4", True),
    ("an open box after a whole one", "math", r"\boxed{4} and \boxed{", "4", True),
    ("the box that the prompt names", "math", r"\box{4}", "4", False),
    ("alternatives", "math", r"\boxed{3 or 4}", "4", False),
    ("many alternatives", "math", r"\boxed{1 or 2 or 3 or 7}", "7", False),
    ("a list is no number", "math", r"\boxed{1,2}", "12", False),
    ("a choice in brackets", "choice", r"\boxed{(A)}", "A", True),
    ("a choice with its text", "choice", r"\boxed{A: Correct}", "A", True),
    ("verdict in lower case", "verdict", r"\boxed{yes}", "yes", True),
    ("verdict with an end stop", "verdict", r"\boxed{Yes.}", "yes", True),
    ("verdict with its echo", "verdict", r"\boxed{A: Correct}", "A", True),
    ("a set in another order", "math", r"\boxed{\{3,1,2\}}", r"\{1,2,3\}", True),
    ("letters in another order", "math", r"\boxed{CBA}", "ABC", False),
    ("a word in another order", "math", r"\boxed{glean}", "angle", False),
    ("copying the sum", "math", r"\boxed{30+12}", "42", False),
    ("no box at all", "math", "it is 4", "4", False),
]


@pytest.mark.parametrize(
    ("what", "name", "response", "gold", "right"), RELEASED, ids=[row[0] for row in RELEASED]
)
def test_faults_of_the_released_code(what, name, response, gold, right):
    assert grader(name)(response, gold).correct is right


CHOICES = [
    ("A", "A", True), ("A", "a", True), ("A", "(a)", True), ("D", "D) because", True),
    ("A", "B", False), ("A", "A or B", False), ("A", "A, B", False), ("A", "AB", False),
    ("(B)", "B", True), ("B. 12", "B", True), ("Z", "Z", True), ("A", "12", False),
    ("ACD", "A, C, D", True), ("A, C", "CA", True), ("AC", "A and C", True), ("AC", "A", False),
    ("AC", "ABC", False), ("A", "A: B is wrong", True), ("A", "An option", False),
    ("A", "A: A or B", False), ("A", "apple", False), ("A", r"\textbf{(A)}\ 12", True),
    ("", "A", False), ("12", "12", False),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "answer", "right"), CHOICES)
def test_choice(gold, answer, right):
    assert grader("choice")(rf"\boxed{{{answer}}}", gold).correct is right


VERDICTS = [
    ("yes", "Yes", True), ("yes", "No", False), ("yes", "A", False), ("no", "B", False),
    ("A", "A", True), ("A", "B", False), ("A", "Yes", False), ("no", "Incorrect.", True),
    ("yes", "yes or no", False), ("B", "Answer B", True), ("Yes", "yes", True),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "answer", "right"), VERDICTS)
def test_verdict(gold, answer, right):
    grade = grader("verdict")(rf"\boxed{{{answer}}}", gold)
    assert grade == Grade(float(right), right, answer, Reason.OK)


def test_a_label_that_is_no_verdict_is_an_error_of_the_data():
    with pytest.raises(UserError, match="'12' is not a verdict"):
        grader("verdict")(r"\boxed{Yes}", "12")


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [("a b", "a  b", True), ("a b", " a\nb ", True), ("a b", "A b", False), ("12", "12.0", False),
     ("x=1", "x=1", True), ("ab", "a b", False)],
)  # fmt: skip
def test_exact(gold, answer, right):
    assert grader("exact")(rf"\boxed{{{answer}}}", gold).correct is right


def test_unknown_graders_are_refused_with_a_list_of_those_there_are():
    for name in ("maths", "", "no_such_module_here:f", "math:no_such_function", ":", "math:", "x:"):
        with pytest.raises(UserError, match="math, choice, verdict, exact"):
            grader(name)


def lenient(response: str, gold: str) -> Grade:
    """A user's grader: the gold answer anywhere in the response."""
    return Grade(0.5, gold in response, response, Reason.OK)


def no_grade(response: str, gold: str) -> bool:
    return response == gold


def test_a_grader_of_the_user():
    assert grader(f"{__name__}:lenient")("it is 4", "4") == Grade(0.5, True, "it is 4", Reason.OK)
    with pytest.raises(TypeError, match="returned bool, not a Grade"):
        grader(f"{__name__}:no_grade")("4", "4")


def completion_of(text: str, finish: Finish) -> Completion:
    tokens = np.zeros(3, dtype=np.int32)
    spans = (VersionSpan(0, 3, 0),)
    return Completion("c", tokens, np.zeros(3, dtype=np.float32), finish, spans, text)


def prompt_of(gold: str, verifier: str = "math") -> Prompt:
    task = Task("t", "What?", gold, verifier)
    messages = (Message("user", "What?"),)
    return Prompt("p", messages, Objective.SOLVE, gold, verifier, task, "test-1")


@pytest.mark.parametrize(
    ("text", "finish", "grade"),
    [
        (r"\boxed{4}", "stop", Grade(1.0, True, "4", Reason.OK)),
        (r"\boxed{5}", "stop", Grade(0.0, False, "5", Reason.OK)),
        ("four", "stop", Grade(0.0, False, None, Reason.NO_ANSWER)),
        (r"\boxed{}", "stop", Grade(0.0, False, None, Reason.NO_ANSWER)),
        (r"\boxed{4} and", "length", Grade(0.0, False, "4", Reason.TRUNCATED)),
        (r"it is \boxed{", "length", Grade(0.0, False, None, Reason.TRUNCATED)),
        (r"\boxed{4}", "abort", Grade(0.0, False, "4", Reason.TRUNCATED)),
        ("", "length", Grade(0.0, False, None, Reason.TRUNCATED)),
    ],
)
def test_grading_a_completion(text, finish, grade):
    assert grade_completion(prompt_of("4"), completion_of(text, finish)) == grade
