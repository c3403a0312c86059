"""Renderings of one value are equal, of different values are not; nothing makes a grader raise."""

from __future__ import annotations

import random
from fractions import Fraction

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from actors.graders import grader, quick_grade
from actors.graders.numbers import read_number
from actors.graders.tidy import tidy
from contracts.types import Reason

# How long an example takes says something about the machine, not about the grader.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

math = grader("math")


def equal(gold: str, answer: str) -> bool:
    return math(rf"\boxed{{{answer}}}", gold).correct


def grouped(number: int, comma: str) -> str:
    return f"{number:,}".replace(",", comma)


INTEGER_STYLES = (
    str,
    lambda n: f"+{n}" if n >= 0 else str(n).replace("-", "−"),
    lambda n: f"{n}.0",
    lambda n: f"{n}.",
    lambda n: grouped(n, ","),
    lambda n: grouped(n, "{,}"),
    lambda n: grouped(n, r"\,"),
    lambda n: f"${n}$",
    lambda n: f"x = {n}",
    lambda n: rf"{n}\text{{ apples}}",
    lambda n: rf"\text{{Total}} = {n} \text{{ cm}}",
    lambda n: f"{{{n}}}",
    lambda n: f"({n})",
    lambda n: rf"\mathbf{{{n}}}",
    lambda n: f"-0{-n}" if n < 0 else f"0{n}",
    lambda n: rf"{n} \times 10^{{0}}",
    lambda n: f"{n * 1000}e-3",
    lambda n: f"{n}/1",
)
integers = st.one_of(st.integers(-2000, 2000), st.integers(-(10**30), 10**30))
style = st.sampled_from(INTEGER_STYLES)


@given(integers, style)
def test_renderings_of_an_integer_are_equal(number, write):
    assert equal(str(number), write(number))
    assert equal(f"{number:,}", write(number))


@given(integers, integers, style)
def test_renderings_of_different_integers_are_not(number, other, write):
    assume(number != other)
    assert not equal(str(number), write(other))


fractions = st.builds(Fraction, st.integers(-300, 300), st.integers(2, 120)).filter(
    lambda f: f.denominator > 1
)


def finite_decimal(value: Fraction) -> str | None:
    for places in range(1, 12):
        scaled = value * 10**places
        if scaled.denominator == 1:
            digits = str(abs(scaled.numerator)).rjust(places + 1, "0")
            return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
    return None


def fraction_writings(value: Fraction, factor: int) -> list[str]:
    top, bottom = value.numerator * factor, value.denominator * factor
    sign = "-" if top < 0 else ""
    whole, rest = divmod(abs(top), bottom)
    out = [
        f"{top}/{bottom}",
        rf"\frac{{{top}}}{{{bottom}}}",
        rf"{sign}\dfrac{{{abs(top)}}}{{{bottom}}}",
        rf"\frac{{{-top}}}{{{-bottom}}}",
        rf"x = {sign}\left(\frac{{{abs(top)}}}{{{bottom}}}\right)"
        if not sign
        else f"{top}/{bottom}",
        rf"{sign}{abs(top)} / {bottom}",
    ]
    if whole and rest:
        out += [rf"{sign}{whole}\frac{{{rest}}}{{{bottom}}}", f"{sign}{whole} {rest}/{bottom}"]
    decimal = finite_decimal(value)
    if decimal:
        out += [decimal, f"{decimal}000", f"{decimal}e0"]
        percent = finite_decimal(value * 100) or str(value * 100)
        out += [f"{percent}%", rf"{percent}\%"]
    else:
        out.append(f"{float(value):.9f}")
    return out


@given(fractions, st.integers(1, 9), st.randoms(use_true_random=False))
def test_renderings_of_a_fraction_are_equal(value, factor, draw):
    gold = draw.choice(fraction_writings(value, 1)[:6])
    for answer in fraction_writings(value, factor):
        assert equal(gold, answer), (gold, answer)


@given(fractions, fractions, st.integers(1, 9), st.randoms(use_true_random=False))
def test_renderings_of_different_fractions_are_not(value, other, factor, draw):
    # 25% of a question that asks for per cent may be written 25.
    assume(value != other and value != other * 100 and other != value * 100)
    gold = draw.choice(fraction_writings(value, 1)[:6])
    for answer in fraction_writings(other, factor):
        assert not equal(gold, answer), (gold, answer)


decimals = st.decimals(-1000, 1000, allow_nan=False, allow_infinity=False, places=3)


@given(decimals, st.integers(0, 4), st.integers(-5, 5))
def test_renderings_of_a_decimal_are_equal(value, zeros, exponent):
    text = f"{value:.3f}"
    moved = f"{value.scaleb(-exponent):f}"
    for answer in (
        text + "0" * zeros,
        text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text,
        f"{moved}e{exponent}",
        rf"{moved} \times 10^{{{exponent}}}",
        rf"{moved}\cdot 10^{{{exponent}}}",
    ):
        assert equal(text, answer), (text, answer)


@given(decimals, decimals)
def test_different_decimals_are_not(value, other):
    assume(value not in (other, other * 100) and other != value * 100)
    assert not equal(f"{value:.3f}", f"{other:.3f}")
    assert not equal(f"{value:.3f}", f"{other:.3f}%") or other / 100 == value or other == value


items = st.lists(st.integers(-50, 50), min_size=2, max_size=5, unique=True)


@given(items, st.randoms(use_true_random=False))
def test_the_order_of_a_list_does_not_matter_that_of_a_tuple_does(numbers, draw):
    shuffled = numbers[:]
    draw.shuffle(shuffled)
    plain, other = ", ".join(map(str, numbers)), ", ".join(map(str, shuffled))
    assert equal(plain, other)
    assert equal(rf"\{{{plain}\}}", other)
    assert equal(f"({plain})", f"({other})") is (numbers == shuffled)
    assert not equal(plain, ", ".join(map(str, numbers[1:])))
    assert not equal(plain, f"{other}, 51")


@given(st.integers(-99, 99), st.lists(st.integers(-99, 99), min_size=1, max_size=4))
def test_several_answers_never_equal_one(gold, others):
    for joint in (" or ", ", ", " and ", "; ", " "):
        assert not equal(str(gold), joint.join(map(str, [gold, *others])))


@given(st.integers(10, 99), st.integers(10, 99), st.sampled_from(["+", "-", "*", r"\times", "/"]))
def test_copying_a_sum_is_no_answer(left, right, sign):
    value = {"+": left + right, "-": left - right, "/": left // right}.get(sign, left * right)
    assume(sign != "/" or left % right == 0)
    assert not equal(str(value), f"{left}{sign}{right}")
    assert not equal(str(value), f"{left} {sign} {right} = {value}")


@given(st.permutations("ABCD"), st.permutations("ABCD"))
def test_words_with_the_same_letters_are_not_equal(word, other):
    assert equal("".join(word), "".join(other)) is (word == other)


PIECES = (
    "{", "}", "(", ")", "[", "]", r"\{", r"\}", "^", "_", ",", ".", "-", "+", "*", "/", "=", "<",
    r"\frac", r"\sqrt", r"\text{", r"\left(", r"\boxed{", r"\times", r"\pm", r"\cup", r"\in", "$",
    r"\\", "\\", "%", r"\%", "0", "1", "9" * 30, "e9", "10^", "x", "AB", "or", "and", " ", "\n",
    "½", "π", "²", "−", "\u202f", "\0", "apples", "cm", "per", "A", "(A)", "yes", ":", "|", "&",
    r"\overline{3}", r"\begin{pmatrix}", "!", "~", "`", "**", "١", "五",
)  # fmt: skip
hostile = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)
golds = st.one_of(
    hostile,
    st.sampled_from(["12", "1/2", "25%", "$3", "(1,2]", "1, 2", "x=4", r"\sqrt{2}", "A", "ABC"]),
)


@settings(max_examples=400)
@example(answer="^", gold="{=", name="math")
@example(answer="{=", gold="^", name="math")
@given(hostile, golds, st.sampled_from(["math", "choice", "exact"]))
def test_hostile_text_gets_a_quick_grade_or_none(answer, gold, name):
    grade = quick_grade(name, rf"\boxed{{{answer}}}", gold)
    if grade is not None:
        assert grade.reason in (Reason.OK, Reason.NO_ANSWER)
        assert grade.reward == float(grade.correct)


@given(st.text(max_size=80))
def test_tidying_any_text_settles(text):
    assert tidy(tidy(text)) == tidy(tidy(tidy(text)))


@given(st.text(alphabet="0123456789.,/-+e^{}\\frac %$km", max_size=25))
def test_a_number_that_is_read_is_finite_and_signed_once(text):
    number = read_number(tidy(text))
    if number is not None:
        assert abs(number.value) < Fraction(10) ** 1100


def test_text_equal_to_the_gold_answer_is_right():
    draw = random.Random(0)
    for _ in range(300):
        text = "".join(draw.choices("abcxyz0123 +-*/^(),=.", k=draw.randint(1, 12))).strip()
        if text:
            assert equal(text, text), text
