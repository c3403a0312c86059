r"""The worked style: a few solved sums as chat turns before the question, for small models.

A model of 135M parameters hardly boxes an answer, and judges by habit, unless it sees how it
is done. The examples are computed here, so none can be wrong; verdicts come in balanced order,
mirrored from one wording to the next, so that no verdict is the usual one or the last one. A
verdict follows the derivation at once: such a model does not copy the proposed number truly
("82. 92 is not equal to 92, so it is right"), and what is copied wrong is noise that hides whether
the verdict was right. Two examples of each are as good as four (as many verdicts in a box, as many
groups with both verdicts), and their prompts are most of what a step has to read.
What is proposed stands before the question, not between it and the derivation: there, such a model
wrote a wrong proposal down as its own result in one of five times, here in one of thirty.
The request stands once, as a system message: every turn of an example would pay for it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from contracts.grammar import ASK_A_B, ASK_ANSWER, ASK_YES_NO, BOX
from contracts.types import Message, Objective
from recycler.wording import PromptTemplate, Style


class Sum(NamedTuple):
    """A sum or difference, with a proposed answer that is off by ``off`` (0: right)."""

    left: int
    operator: str
    right: int
    off: int = 0

    @property
    def value(self) -> int:
        """The right answer."""
        return self.left + self.right if self.operator == "+" else self.left - self.right

    @property
    def proposed(self) -> int:
        """The answer shown in the example."""
        return self.value + self.off

    @property
    def terms(self) -> str:
        """For example ``12 + 7``."""
        return f"{self.left} {self.operator} {self.right}"


def _box(inside: object) -> str:
    return f"{BOX}{inside}}}"


def _chat(ask: str, turns: Iterable[tuple[str, str]]) -> tuple[Message, ...]:
    """The request as system message, then questions and answers in turn."""
    messages = [Message("system", ask)]
    for question, answer in turns:
        messages += [Message("user", question), Message("assistant", answer)]
    return tuple(messages)


def _solved(sum_: Sum) -> tuple[str, str]:
    answer = f"{sum_.terms} = {sum_.value}, so the answer is {_box(sum_.value)}."
    return f"What is {sum_.terms}?", answer


def _proposed(sum_: Sum, request: str) -> str:
    return f"Proposed answer: {sum_.proposed}\n{request} What is {sum_.terms}?"


def _judged(sum_: Sum) -> tuple[str, str]:
    verdict = "No" if sum_.off else "Yes"
    return _proposed(sum_, "Is it correct?"), f"{sum_.terms} = {sum_.value}. {_box(verdict)}"


def _reflected(sum_: Sum) -> tuple[str, str]:
    found = f"not {sum_.proposed}" if sum_.off else "as proposed"
    answer = f"{sum_.terms} = {sum_.value}, {found}. The answer is {_box(sum_.value)}."
    return _proposed(sum_, "Check it."), answer


def _paired(sum_: Sum, right_first: bool) -> tuple[str, str]:
    """``off`` is that of the wrong answer; ``right_first`` puts the right one at A."""
    first, second = sum_.value, sum_.proposed
    if not right_first:
        first, second = second, first
    letter = "A" if right_first else "B"
    question = f"Answer A: {first}\nAnswer B: {second}\nWhich is correct? What is {sum_.terms}?"
    return question, f"{sum_.terms} = {sum_.value}. {_box(letter)}"


_TO_SOLVE = (
    (Sum(12, "+", 7), Sum(25, "-", 9)),
    (Sum(31, "-", 6), Sum(18, "+", 5)),
)
"""Examples of each solve wording."""

_TO_JUDGE = (
    (Sum(12, "+", 5, -1), Sum(29, "+", 8)),
    (Sum(13, "+", 6), Sum(24, "-", 7, 1)),
)
"""Examples of each pointwise wording: no yes, and its mirror image."""

_TO_COMPARE = (
    ((Sum(8, "+", 5, 1), True), (Sum(21, "-", 7, -2), False)),
    ((Sum(19, "-", 4, 1), False), (Sum(11, "+", 12, -1), True)),
)
"""Examples of each pairwise wording: A B, and its mirror image."""

_TO_REFLECT = (
    (Sum(14, "+", 8, -1), Sum(27, "-", 5)),
    (Sum(16, "+", 7), Sum(22, "-", 9, 1)),
)
"""Examples of each reflection wording: wrong right, and its mirror image."""

_PROPOSAL = "Proposed answer: $candidate\n"

WORKED: Style = {
    Objective.SOLVE: tuple(
        PromptTemplate(f"worked-solve-{n}", "$question", _chat(ASK_ANSWER, map(_solved, sums)))
        for n, sums in enumerate(_TO_SOLVE, 1)
    ),
    Objective.POINTWISE: tuple(
        PromptTemplate(
            f"worked-point-{n}",
            f"{_PROPOSAL}Is it correct? $question",
            _chat(ASK_YES_NO, map(_judged, sums)),
            version=4,
        )
        for n, sums in enumerate(_TO_JUDGE, 1)
    ),
    Objective.PAIRWISE: tuple(
        PromptTemplate(
            f"worked-pair-{n}",
            "Answer A: $first\nAnswer B: $second\nWhich is correct? $question",
            _chat(ASK_A_B, (_paired(sum_, right_first) for sum_, right_first in sums)),
            version=4,
        )
        for n, sums in enumerate(_TO_COMPARE, 1)
    ),
    Objective.REFLECT: tuple(
        PromptTemplate(
            f"worked-reflect-{n}",
            f"{_PROPOSAL}Check it. $question",
            _chat(ASK_ANSWER, map(_reflected, sums)),
            version=4,
        )
        for n, sums in enumerate(_TO_REFLECT, 1)
    ),
}
