"""The grammar: the last box, and verdicts as people write them."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.grammar import (
    ASK_A_B,
    ASK_YES_NO,
    LONGEST_VERDICT,
    VERDICT_WORDS,
    last_boxed,
    read_verdict,
    verdict_of,
)

BOXES = [
    (r"so \boxed{5}", "5"),
    (r"\boxed{ 5 }", "5"),
    (r"\boxed {5}", "5"),
    ("\\boxed\n{5}", "5"),
    (r"\boxed{1} then \boxed{2}", "2"),
    (r"\boxed{\frac{1}{2}} and so on }", r"\frac{1}{2}"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed{\}}", r"\}"),
    (r"\boxed{5\\}", r"5\\"),
    (r"\boxed{1} and \boxed{2", "1"),
    (r"\boxed{outer \boxed{inner}}", "inner"),
    (r"\boxed{a} \boxed{b \boxed{c", "a"),
    (r"\\boxed{7}", "7"),
    (r"\boxed{" + "{" * 9 + "x" + "}" * 9 + "}", "{" * 9 + "x" + "}" * 9),
    ("\\boxed{two\nlines}", "two\nlines"),
    ("no box", None),
    ("", None),
    (r"\boxed", None),
    (r"\boxed{", None),
    (r"\boxed{}", None),
    (r"\boxed{1} \boxed{ }", None),
    (r"\boxed5", None),
    (r"\box{5}", None),
    (r"\boxedfoo{5}", None),
    (r"\boxed{5\}", None),
    (r"boxed{5}", None),
]


@pytest.mark.parametrize(("text", "inside"), BOXES)
def test_last_boxed(text: str, inside: str | None) -> None:
    assert last_boxed(text) == inside


balanced = st.recursive(
    st.text(alphabet=string.ascii_letters + string.digits + " +-,.", max_size=8),
    lambda inner: st.builds(lambda a, b, c: f"{a}{{{b}}}{c}", inner, inner, inner),
    max_leaves=12,
)
free = st.text(alphabet=r"\{}boxed 12", max_size=40)


@given(before=free, inside=balanced, after=st.text(alphabet="abc .}$", max_size=10))
def test_the_last_box_is_found_whatever_stands_around_it(
    before: str, inside: str, after: str
) -> None:
    # An odd number of backslashes in front would be another command.
    text = f"{before} \\boxed{{{inside}}}{after}"
    assert last_boxed(text) == (inside.strip() or None)


@given(st.text(alphabet=r"\{}boxed ", max_size=200))
def test_what_is_found_has_balanced_braces(text: str) -> None:
    inside = last_boxed(text)
    if inside is not None:
        bare = re.sub(r"\\.", "", inside, flags=re.DOTALL)
        assert bare.count("{") == bare.count("}")
        assert inside in text


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{" * 100_000,
        r"\boxed" * 200_000,
        r"\boxed{" + "{" * 1_000_000,
        "{" * 500_000 + "}" * 500_000,
        r"\boxed" + " " * 1_000_000,
        "\\" * 1_000_001,
    ],
    ids=["boxes", "commands", "open", "balanced", "blanks", "backslashes"],
)
def test_megabytes_without_a_box_end(text: str) -> None:
    assert last_boxed(text) is None


def test_megabytes_inside_a_box_are_kept_whole() -> None:
    inside = "{" * 500_000 + "}" * 500_000
    assert last_boxed(rf"\boxed{{{inside}}}") == inside


VERDICTS = {
    "yes": ["Yes", "yes", "YES", "Yes.", " yes ", r"\text{Yes}", r"\text{Yes}.", r"\textbf{Yes}",
            "**Yes**", "(Yes)", "'yes'", "Correct", "correct.", "True", "right", "Yes, correct",
            "Yes, it is correct.", r"\mathrm{ Yes }", "[yes]", "$Yes$"],
    "no": ["No", "no.", "NO!", r"\text{No}", "Incorrect", "incorrect.", "wrong", "False",
           "not correct", "Not correct.", "No, incorrect", "No: it is not correct",
           "The answer is wrong."],
    "A": ["A", "a", "(A)", "A.", "A: Correct", "Answer A", "answer a.", r"\text{A}",
          r"\text{(A)}", "Option A", "first", "A is correct", "**A**", "A)", "[A]"],
    "B": ["B", "b", "(B)", "B.", "B: correct", "Answer B", "second", r"\mathrm{B}", "B is correct"],
    "": ["", "maybe", "yes or no", "yes no", "Yes, no", "Yes: incorrect", "A or B", "A, B", "AB",
         "A: Incorrect", "A: wrong", "C", "both", "neither", "not yes", "no, correct", "1", "5",
         "A: 12", "yes" * 20, "not", "n", "y", "not A", "incorrectly", "A, correct, wrong"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("writing", "verdict"), [(w, v) for v, writings in VERDICTS.items() for w in writings]
)
def test_verdicts(writing: str, verdict: str) -> None:
    assert (read_verdict(rf"I think \boxed{{{writing}}}.") or "") == verdict


def test_what_is_asked_for_is_what_is_read() -> None:
    asked = re.findall(r"\\boxed\{[^}]*\}", ASK_YES_NO) + re.findall(r"\\boxed\{[^}]*\}", ASK_A_B)
    assert [read_verdict(box) for box in asked] == ["yes", "no", "A", "B"]


def test_the_table_is_unambiguous_and_read_as_it_stands() -> None:
    words = [word for writings in VERDICT_WORDS.values() for word in writings]
    assert len(words) == len(set(words))
    for verdict, writings in VERDICT_WORDS.items():
        for word in writings:
            assert verdict_of(word) == verdict_of(word.upper()) == verdict
            assert len(word) <= LONGEST_VERDICT


def test_a_verdict_needs_its_box_and_the_last_one_counts() -> None:
    assert read_verdict("Yes") is None
    assert read_verdict(r"\boxed{Yes} no, \boxed{No}") == "no"
    assert read_verdict(r"\boxed{Yes} \boxed{12}") is None


@given(st.text(max_size=60))
def test_any_text_is_a_verdict_or_none(text: str) -> None:
    assert verdict_of(text) in {"yes", "no", "A", "B", None}
