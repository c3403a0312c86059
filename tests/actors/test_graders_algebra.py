"""Formulas compared without sympy: by hand, against sympy, and what is left to it."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.graders import algebra, symbolic
from actors.graders.spelling import to_latex

# How long an example takes says something about the machine, not about the grader.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def same(gold: str, answer: str) -> bool | None:
    forwards = algebra.same_expression(to_latex(gold), to_latex(answer))
    assert algebra.same_expression(to_latex(answer), to_latex(gold)) is forwards
    return forwards


EQUAL = [
    ("(x+1)^2", "x^2+2x+1"), ("x(x+2)+1", "(x+1)^2"), ("2ab", r"b \cdot 2 a"), ("x**2", "x^2"),
    (r"\frac{x^2-1}{x+1}", "x-1"), (r"\frac{1}{x}+\frac{1}{y}", r"\frac{x+y}{xy}"),
    (r"\sqrt{12}", r"2\sqrt{3}"), (r"\frac{1}{\sqrt2}", r"\frac{\sqrt{2}}{2}"),
    (r"(\sqrt{2}+\sqrt{3})^2", r"5+2\sqrt{6}"), (r"\sqrt{\frac{3}{4}}", r"\frac{\sqrt3}{2}"),
    (r"(1+\sqrt{5})(1-\sqrt{5})", "-4"), (r"\pi r^2", r"r^2\pi"), ("2^{10}", "4^5"),
    ("(1+i)^2", "2i"), (r"\sqrt{-4}", "2i"), ("x^{-1}", r"\frac1x"), ("-x", "0-x"),
    (r"\frac12 x", r"\frac{x}{2}"), ("x_1 + x_2", "x_{2}+x_{1}"), (r"\sqrt{x}", "x^{1/2}"),
    (r"2\sin(x)\cos(x)", r"\cos(x) \cdot 2 \sin x"), (r"\sin^2 x", r"(\sin(x))^2"),
    (r"\sin 2x", r"\sin(x+x)"), ("e^{2x}+1", r"1+\exp(2x)"), (r"\log_2(x+1)", r"\log_{2}(1+x)"),
    (r"\sqrt[3]{x+1}", r"(1+x)^{\frac{1}{3}}"), (r"\theta+\alpha", r"\alpha+\theta"),
    ("N+1", "n+1"), ("R^2-r^2", "(R-r)(R+r)"), ("0.5x", r"\frac{x}{2}"),
    (r"\frac{\sin x}{\cos x}", r"\frac{1}{\cos x}\sin x"), ("2(x+1)(x-1)", "2x^2-2"),
]  # fmt: skip

DIFFERENT = [
    ("(x+1)^2", "x^2+1"), ("x", "y"), ("2ab", "2a"), (r"\sqrt{2}", r"\sqrt{3}"), ("x", "-x"),
    (r"\pi", "3"), (r"\sqrt{2}+\sqrt{3}", r"\sqrt{5}"), (r"\frac{x+1}{x^2-1}", r"\frac{1}{x+1}"),
    ("3+4i", "3-4i"), ("R^2-r^2", "0"), (r"\sin x", r"\cos x"), ("e^{2x}", "e^{x}"),
    (r"\log_2 x", r"\log_3 x"), (r"\sqrt{x}", r"\sqrt[3]{x}"), (r"\ln x", r"\log x"),
    (r"\sin 2x", r"2\sin x"), (r"\tan x^2", r"(\tan x)^2"), ("x_1", "x_2"), ("x^2", "x^3"),
    (r"\pi^2", r"2\pi"), ("2^{x}", "x^{2}"),
]  # fmt: skip

LEFT_TO_OTHERS = [
    (r"\sin^2 x+\cos^2 x", "1"), ("1.414214", r"\sqrt{2}"), ("0.33x", r"\frac{x}{3}"),
    ("1/2x", "x/2"), (r"2\frac{1}{2}x", "2.5x"), (r"\sin x/2", r"\sin(x/2)"), ("f(x)", "fx"),
    (r"\tan^{-1} x", r"\arctan x"), ("x!", "x!"), ("|x|", "|x|"), (r"\int x dx", "x"),
    ("9^{9^{9}}", "x"), ("(x+1)^{1000}", "x"), ("x^2^3", "x"), ("dx", "xd"), ("E", "e"),
    ("abc", "cba"), ("(x", "x"), ("x)", "x"), ("", "x"), ("x+", "x"), (r"\sqrt{", "x"),
    (r"\frac{1}{0}", "1"), (r"\frac{1}{x-x}", "1"), ("0^0", "1"), ("x 2", "2x"), ("1 2", "12"),
    (r"\begin{pmatrix}1\end{pmatrix}", "1"), ("x" * 500, "x"), ("(" * 60 + "x" + ")" * 60, "x"),
    (r"\sin x \cdot 2", r"2\sin x"), (r"\ln(x^2)", r"2\ln x"), (r"\sqrt{x^2}", "x"),
    ("(-x)^{1/3}", "-x^{1/3}"),
    (r"\sqrt{99999999999999999}", "1"), ("1,2", "2,1"), ("x=1", "1=x"),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "answer"), EQUAL)
def test_equal(gold: str, answer: str) -> None:
    assert same(gold, answer) is True


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_different(gold: str, answer: str) -> None:
    assert same(gold, answer) is False


@pytest.mark.parametrize(("gold", "answer"), LEFT_TO_OTHERS)
def test_left_to_others(gold: str, answer: str) -> None:
    assert same(gold, answer) is None


@pytest.mark.parametrize(
    ("gold", "answer", "decided"),
    [
        ("y = 2x + 1", "2x - y + 1 = 0", True),
        ("y = 2x + 1", "2y = 4x + 2", True),
        ("y = 2x + 1", "2x + 1 = y", True),
        ("x^2 + y^2 = 4", "4 - y^2 = x^2", True),
        ("y = 2x + 1", "y = 2x - 1", False),
        ("y = 2x + 1", "x = 2y + 1", False),
        ("y = 2x", "0 = 0", False),
        ("y = x", r"\sqrt{2} y = \sqrt{2} x", None),
        ("y = 0.5x", "2y = x", True),
        ("y = 0.3x", "3y = x", None),
        ("y = |x|", "y = |x|", None),
    ],
)
def test_equations(gold: str, answer: str, decided: bool | None) -> None:
    left, right = gold.split("="), answer.split("=")
    assert algebra.same_equation((left[0], left[1]), (right[0], right[1])) is decided
    assert algebra.same_equation((right[0], right[1]), (left[0], left[1])) is decided


def test_functions_of_sums_of_functions_do_not_grow_without_bound() -> None:
    nested = "x"
    for _ in range(11):
        nested = rf"\sin(({nested}+1)^{{9}})"
    assert same(nested, nested) is True
    assert same(nested, f"{nested}+1") in (False, None)


LEAVES = (
    "x",
    "y",
    "2",
    "7",
    r"\pi",
    r"\sqrt{2}",
    r"\sqrt{12}",
    "a",
    r"\frac{1}{2}",
    "x_1",
    "i",
    "e",
)
JOINS = (
    "{a}+{b}", "{a} - {b}", "({a})({b})", r"{a} \cdot {b}", r"\frac{{{a}}}{{{b}}}", "({a})^{{3}}",
    "-({a})", "({a})/({b})", "{a}{b}", r"\sin({a})", r"\cos {a}", "e^{{{a}}}", r"\ln({a})",
    r"\log_{{2}}({a})", r"\sqrt{{{a}}}", r"({a})^{{{b}}}", r"\sin^2 {a}", r"\sqrt[3]{{{a}}}",
)  # fmt: skip


def formula(draw: random.Random, depth: int) -> str:
    if depth == 0:
        return draw.choice(LEAVES)
    parts = {"a": formula(draw, depth - 1), "b": formula(draw, draw.randrange(depth))}
    return draw.choice(JOINS).format(**parts)


def test_what_is_decided_is_what_sympy_finds() -> None:
    draw = random.Random(3)
    decided = {True: 0, False: 0}
    while min(decided.values()) < 40:
        gold = formula(draw, draw.randint(1, 3))
        answer = draw.choice([formula(draw, 2), f"{gold}+3-3", rf"\frac{{2({gold})}}{{2}}"])
        found = same(gold, answer)
        if found is None or decided[found] >= 60:
            continue
        decided[found] += 1
        # math-verify takes 1((2)) and the like for something else than 2, and so misses equals.
        if symbolic.same_expression(gold, answer) != found:
            assert found, (gold, answer)
            left, right = symbolic.parse_expression(gold), symbolic.parse_expression(answer)
            assert abs(complex((left - right).subs(dict.fromkeys(left.free_symbols, 1.3)))) < 1e-9


coefficients = st.lists(st.integers(-9, 9), min_size=1, max_size=4)


@given(coefficients, coefficients)
def test_polynomials_are_equal_exactly_if_their_coefficients_are(
    one: list[int], other: list[int]
) -> None:
    def horner(values: list[int]) -> str:
        text = "0"
        for value in values:
            text = f"({text})x+{value}" if value >= 0 else f"({text})x-{-value}"
        return text

    def powers(values: list[int]) -> str:
        terms = [f"({v})x^{len(values) - 1 - i}" for i, v in enumerate(values)]
        return "+".join(reversed(terms))

    def stripped(values: list[int]) -> list[int]:
        first = next((i for i, value in enumerate(values) if value), len(values))
        return values[first:]

    assert same(horner(one), powers(other)) is (stripped(one) == stripped(other))


@given(st.integers(1, 400), st.integers(1, 400), st.fractions(-5, 5), st.fractions(-5, 5))
def test_roots_of_numbers_are_exact(one: int, other: int, a: Fraction, b: Fraction) -> None:
    def times(factor: Fraction, radicand: int) -> str:
        return rf"\frac{{{factor.numerator}}}{{{factor.denominator}}}\sqrt{{{radicand}}}"

    assert same(times(a, one), times(b, other)) is (a * abs(a) * one == b * abs(b) * other)
    product = rf"({times(a, one)})({times(b, other)})"
    assert same(product, times(a * b, one * other)) is True


@given(st.text(alphabet=r"xyie123+-*/^(){}[]\ _.sincosqrtfalogp", max_size=40))
def test_any_text_is_decided_or_not(text: str) -> None:
    assert algebra.same_expression(text, "x+1") in (True, False, None)
    if algebra.same_expression(text, text) is not None:
        assert algebra.same_expression(text, text) is True
