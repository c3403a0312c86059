"""Type by type: renderings of one value are equal, of different values are not."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from actors.graders import grader

# How long an example takes says something about the machine, not about the grader.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

math, choice = grader("math"), grader("choice")


def equal(gold: str, answer: str) -> bool:
    return math(rf"\boxed{{{answer}}}", gold).correct


def plain(value: Fraction) -> str:
    """A value with a finite decimal, written out."""
    text = format(Decimal(value.numerator) / Decimal(value.denominator), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


cents = st.integers(1, 99_999).map(lambda n: Fraction(n, 100))

PERCENT = (
    lambda v: f"{plain(v)}%",
    lambda v: rf"{plain(v)}\%",
    lambda v: rf"${plain(v)}\%$",
    lambda v: f"{plain(v)} percent",
    lambda v: rf"{plain(v)}\text{{ percent}}",
    lambda v: f"{plain(v)} per cent",
    plain,
    lambda v: plain(v / 100),
    lambda v: rf"\frac{{{(v / 100).numerator}}}{{{(v / 100).denominator}}}",
)


@given(cents, st.sampled_from(PERCENT[:6]), st.sampled_from(PERCENT))
def test_percentages(value, write_gold, write):
    assume((value / 100).denominator > 1)
    assert equal(write_gold(value), write(value))


@given(cents, cents, st.sampled_from(PERCENT[:6]), st.sampled_from(PERCENT))
def test_different_percentages(value, other, write_gold, write):
    assume(value not in (other, other / 100) and (other / 100).denominator > 1)
    assert not equal(write_gold(value), write(other))


CURRENCIES = {
    "dollar": ("${}", r"\${}", "{} dollars", "{} USD", r"{}\text{{ dollars}}", "US${}", "${} USD"),
    "euro": ("€{}", "{} euros", "{} EUR", "{} €"),
    "sterling": ("£{}", r"\pounds{}", "{} GBP"),
    "yen": ("¥{}", "{} yen", "{} JPY"),
}
amounts = st.sampled_from(
    [plain, lambda v: f"{float(v):.2f}", lambda v: f"{float(v):,.2f}", lambda v: f"{float(v):.3f}"]
)


@st.composite
def money(draw):
    """A writer of amounts of one currency, and that currency's name."""
    name = draw(st.sampled_from(sorted(CURRENCIES)))
    form, amount = draw(st.sampled_from(CURRENCIES[name])), draw(amounts)
    return name, lambda value: form.format(amount(value))


@given(cents, money(), money())
def test_amounts_of_money(value, gold, answer):
    assert equal(gold[1](value), answer[1](value)) is (gold[0] == answer[0])
    assert equal(gold[1](value), plain(value)), "a sign that is left out is the question's"


@given(cents, cents, money(), money())
def test_different_amounts_of_money(value, other, gold, answer):
    assume(value != other)
    assert not equal(gold[1](value), answer[1](other))


UNITS = {
    "length": {"mm": "1/1000", "cm": "1/100", "m": "1", "km": "1000", "inches": "0.0254"},
    "mass": {"mg": "1/1000000", "grams": "1/1000", "kg": "1", "tonnes": "1000"},
    "time": {"seconds": "1", "minutes": "60", "hours": "3600", "days": "86400"},
    "volume": {"mL": "1/1000", "liters": "1"},
    "area": {"cm^2": "1/10000", "square meters": "1", r"\text{ m}^2": "1", "km^2": "1000000"},
    "speed": {"m/s": "1", "km/h": "5/18"},
}
quantity = st.tuples(
    st.sampled_from([(kind, unit) for kind, units in UNITS.items() for unit in units]),
    st.sampled_from(["{} {}", r"{}\text{{ {}}}", r"{}~{}", r"{}\,{}"]),
)


def written(value: Fraction, unit: str, form: str) -> str:
    number = f"{value.numerator}/{value.denominator}" if value.denominator > 1 else f"{value}"
    return form.format(number, unit)


@given(cents, quantity, quantity)
def test_quantities_in_any_unit_of_their_kind(value, gold, answer):
    (kind, unit), form = gold
    (other_kind, other_unit), other_form = answer
    assume("text" not in unit or "text" not in form)
    assume("text" not in other_unit or "text" not in other_form)
    there = value * Fraction(UNITS[kind][unit])
    gold_text = written(value, unit, form)
    if kind == other_kind:
        converted = there / Fraction(UNITS[kind][other_unit])
        assert equal(gold_text, written(converted, other_unit, other_form))
        assert not equal(gold_text, written(converted * 2, other_unit, other_form))
    else:
        assert not equal(gold_text, written(value, other_unit, other_form))


ends = st.integers(-50, 50)
sides = st.tuples(st.sampled_from("(["), st.sampled_from(")]"))


def interval_writings(low: int, high: int, opening: str, closing: str) -> list[str]:
    below = {"(": "<", "[": r"\le"}[opening]
    above = {")": "<", "]": r"\le"}[closing]
    turned = {"<": ">", r"\le": r"\ge"}
    return [
        f"{opening}{low},{high}{closing}",
        f"{opening} {low}, {high} {closing}",
        rf"\left{opening}{low}, {high}\right{closing}",
        rf"x \in {opening}{low}, {high}{closing}",
        rf"{low} {below} x {above} {high}",
        rf"{high} {turned[above]} x {turned[below]} {low}",
        f"{opening}{low}.0, {high}/1{closing}",
    ]


@given(ends, ends, sides, st.data())
def test_intervals(low, high, brackets, data):
    assume(low < high)
    writings = interval_writings(low, high, *brackets)
    gold = data.draw(st.sampled_from(writings))
    for answer in writings:
        assert equal(gold, answer), (gold, answer)


@given(ends, ends, sides, ends, ends, sides, st.data())
def test_different_intervals(low, high, brackets, other_low, other_high, other_brackets, data):
    assume(low < high and other_low < other_high)
    assume((low, high, brackets) != (other_low, other_high, other_brackets))
    gold = data.draw(st.sampled_from(interval_writings(low, high, *brackets)))
    for answer in interval_writings(other_low, other_high, *other_brackets):
        assert not equal(gold, answer), (gold, answer)


@given(ends, ends, st.sampled_from([("<", ")"), (r"\le", "]")]))
def test_half_lines(end, other, kind):
    sign, bracket = kind
    assert equal(rf"(-\infty, {end}{bracket}", rf"x {sign} {end}")
    assert equal(rf"x {sign} {end}", rf"(-\infty,{end}{bracket}")
    assert equal(rf"(-\infty, {end}{bracket}", rf"x {sign} {other}") is (end == other)
    assert not equal(rf"(-\infty, {end}{bracket}", rf"{end} {sign} x")


values = st.fractions(-20, 20, max_denominator=12)
value_styles = st.sampled_from(
    [
        lambda v: f"{v.numerator}/{v.denominator}" if v.denominator > 1 else str(v),
        lambda v: rf"\frac{{{v.numerator}}}{{{v.denominator}}}" if v.denominator > 1 else f"{v}.0",
        lambda v: (
            rf"{'-' * (v < 0)}\dfrac{{{abs(v.numerator)}}}{{{v.denominator}}}"
            if v.denominator > 1
            else f"{v}"
        ),
    ]
)
several = st.lists(values, min_size=2, max_size=4, unique=True)
set_forms = st.sampled_from(
    [
        ", ".join,
        lambda items: rf"\{{{', '.join(items)}\}}",
        lambda items: rf"\left\{{ {','.join(items)} \right\}}",
        lambda items: f"{', '.join(items[:-1])} and {items[-1]}",
        lambda items: " or ".join(f"x = {item}" for item in items),
        lambda items: rf"x \in \{{{', '.join(items)}\}}",
    ]
)


@given(several, set_forms, set_forms, value_styles, value_styles, st.randoms(use_true_random=False))
def test_sets_and_lists(items, gold_form, form, gold_style, style, draw):
    shuffled = items[:]
    draw.shuffle(shuffled)
    gold = gold_form([gold_style(item) for item in items])
    answers = [style(item) for item in shuffled]
    assert equal(gold, form(answers)), (gold, form(answers))
    assert not equal(gold, form([*answers, "77"]))
    assert not equal(gold, form([*answers[:-1], "77"]))
    if len(answers) > 2:
        assert not equal(gold, form(answers[:-1]))


@given(several, value_styles, value_styles, st.randoms(use_true_random=False))
def test_tuples(items, gold_style, style, draw):
    shuffled = items[:]
    draw.shuffle(shuffled)
    gold = f"({', '.join(map(gold_style, items))})"
    for form in ("({})", r"\left({}\right)", "( {} )"):
        assert equal(gold, form.format(", ".join(map(style, items))))
        answer = form.format(", ".join(map(style, shuffled)))
        assert equal(gold, answer) is (shuffled == items)
    assert not equal(gold, rf"\{{{', '.join(map(style, items))}\}}")


slopes = st.integers(-9, 9).filter(lambda n: n not in (0, 1, -1))


def signed(number: int) -> str:
    return f"+ {number}" if number >= 0 else f"- {-number}"


def line_writings(slope: int, offset: int, factor: int) -> list[str]:
    return [
        f"y = {slope}x {signed(offset)}",
        f"y={slope}x{signed(offset)}".replace(" ", ""),
        f"{slope}x {signed(offset)} = y",
        f"y = {offset} {signed(slope)}x",
        f"{slope}x - y {signed(offset)} = 0",
        f"{factor}y = {factor * slope}x {signed(factor * offset)}",
        rf"y = {slope} \cdot x {signed(offset)}",
    ]


@given(slopes, slopes, slopes, st.data())
def test_equations(slope, offset, factor, data):
    writings = line_writings(slope, offset, factor)
    gold = data.draw(st.sampled_from(writings[:4]))
    for answer in writings:
        assert equal(gold, answer), (gold, answer)


@given(slopes, slopes, slopes, slopes, slopes, st.data())
def test_different_equations(slope, offset, other_slope, other_offset, factor, data):
    assume((slope, offset) != (other_slope, other_offset))
    gold = data.draw(st.sampled_from(line_writings(slope, offset, factor)[:4]))
    for answer in line_writings(other_slope, other_offset, factor):
        assert not equal(gold, answer), (gold, answer)


def quadratic_writings(a: int, p: int, q: int) -> list[str]:
    return [
        f"{a}(x {signed(-p)})(x {signed(-q)})",
        f"{a}x^2 {signed(-a * (p + q))}x {signed(a * p * q)}",
        f"{a * p * q} {signed(-a * (p + q))}x {signed(a)}x^{{2}}",
        rf"{a}(x^2 {signed(-(p + q))} \cdot x {signed(p * q)})",
        f"{a}*x**2 {signed(-a * (p + q))}*x {signed(a * p * q)}",
    ]


@given(slopes, slopes, slopes, st.data())
def test_expressions(a, p, q, data):
    writings = quadratic_writings(a, p, q)
    gold = data.draw(st.sampled_from(writings))
    for answer in writings:
        assert equal(gold, answer), (gold, answer)


@given(st.tuples(slopes, slopes, slopes), st.tuples(slopes, slopes, slopes), st.data())
def test_different_expressions(one, other, data):
    assume((one[0], sorted(one[1:])) != (other[0], sorted(other[1:])))
    gold = data.draw(st.sampled_from(quadratic_writings(*one)))
    for answer in quadratic_writings(*other):
        assert not equal(gold, answer), (gold, answer)


CHOICES = (
    "{}", "({})", "{}.", "{})", r"\text{{{}}}", r"\textbf{{({})}}", "**{}**", "Option {}",
    "The answer is {}", "{}: because it is so", "({}) 12", "{}. 3 apples",
)  # fmt: skip
letters = st.sampled_from("ABCDEFGHJ")


@given(letters, letters, st.sampled_from(CHOICES), st.sampled_from(["{}", "({})"]))
def test_choices(gold, letter, form, gold_form):
    for grade in (math, choice):
        answer = rf"\boxed{{{form.format(letter)}}}"
        assert grade(answer, gold_form.format(gold)).correct is (gold == letter)


@given(letters, letters, st.sampled_from(["{}{}", "{} or {}", "{}, {}", "({}) and ({})", "{}/{}"]))
def test_two_choices_are_none(gold, other, form):
    assume(gold != other)
    assert not equal(gold, form.format(gold, other))
    assert not equal(gold, form.format(other, gold))


WORDS = (
    "Tuesday", "isosceles", "Evelyn", "no solution", "north east", "blue", "undefined", "parabola",
    "always true", "Friday the third", "equilateral triangle",
)  # fmt: skip
TEXT = (
    str, str.upper, str.lower, str.capitalize, lambda w: rf"\text{{{w}}}", lambda w: f"{w}.",
    lambda w: f" {w} ", lambda w: f"**{w}**", lambda w: rf"\textbf{{{w}}}", lambda w: f'"{w}"',
    lambda w: w.replace(" ", "  "), lambda w: rf"\mathrm{{{w}}}",
)  # fmt: skip


@given(
    st.sampled_from(WORDS), st.sampled_from(WORDS), st.sampled_from(TEXT), st.sampled_from(TEXT[:5])
)
def test_text(gold, word, write, write_gold):
    assert equal(write_gold(gold), write(word)) is (gold == word)


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_not_its_anagram(word):
    assert not equal(word, word[::-1])
    assert not equal(word, word[1:] + word[0])
