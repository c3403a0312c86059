"""Plain numbers and quantities, read exactly and without sympy.

A plain number is worked out: an integer, a decimal, a fraction of integers, a mixed number, a
decimal times a power of ten. ``30+12``, ``84/2`` and ``2^{10}`` are not: an operation is left
to be carried out, and taking them would reward copying the question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from actors.graders.units import CURRENCY_SIGNS, SCALES, Unit, is_in_table, read_unit, same_kinds

MAX_EXPONENT = 1000
"""Largest power of ten that is written out."""

MIN_ROUNDED_DIGITS = 6
"""A value without a finite decimal may be given rounded to at least so many digits."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number with what stood around it.

    ``last_place``: value of one unit in the last decimal shown, None if it was no decimal.
    ``digits``: significant digits shown, 0 if it was no decimal.
    """

    value: Fraction
    last_place: Fraction | None = None
    digits: int = 0
    percent: bool = False
    unit: Unit | None = None


_INTEGER = r"\d{1,3}(?:,\d{3})+(?![\d,])|\d+"
_SIGN = r"[+-]?\s*"
_FRACTION = r"\\frac\s*(?:\{\s*([+-]?\s*\d+)\s*\}|(\d))\s*(?:\{\s*([+-]?\s*\d+)\s*\}|(\d))"
_CURRENCY = "|".join(re.escape(sign) for sign in sorted(CURRENCY_SIGNS, key=len, reverse=True))
_HEAD = re.compile(rf"({_SIGN})({_CURRENCY})?\s*({_SIGN})")
_DECIMAL = re.compile(
    rf"({_INTEGER})?(?:\.(\d*)(?:\\overline\s*\{{(\d+)\}})?)?"
    r"(?:[eE]([+-]?\d+)(?![\d.])|\s*(?:\\times|\\cdot|\*|x(?=\s*10\s*\^))\s*"
    r"10\s*\^\s*(?:\{\s*([+-]?\s*\d+)\s*\}|([+-]?\d+)(?![\d.])))?"
)
_POWER_OF_TEN = re.compile(r"10\s*\^\s*(?:\{\s*([+-]?\s*\d+)\s*\}|([+-]?\d+)(?![\d.]))")
_LATEX_FRACTION = re.compile(_FRACTION)
_PLAIN_FRACTION = re.compile(rf"({_INTEGER})\s*/\s*({_INTEGER})(?![\d.,])")
_PARENTHESISED = re.compile(r"\(\s*([+-]?\s*\d+)\s*\)\s*/\s*\(?\s*(\d+)\s*\)?(?![\d.,])")
_MIXED = re.compile(
    rf"(\d+)\s*{_FRACTION}"
    r"|(\d+)(?:\s+|\s+and\s+)(\d+)\s*/\s*(\d+)(?![\d.,/])"
)
_PERCENT = re.compile(r"\s*(?:\\?%|percent|per cent|pct|percentage points?)")
_PLAIN_INTEGER = re.compile(r"[+-]?\d+")


def read_number(text: str, *, lenient_unit: bool = True) -> Number | None:
    """``text`` (tidied) as one plain number with an optional percent sign, currency or unit.

    Args:
        text: all of it has to be the number.
        lenient_unit: let a single letter right behind the digits be a unit (``12m``).
    """
    if _PLAIN_INTEGER.fullmatch(text):
        return Number(Fraction(int(text)))
    head = _HEAD.match(text)
    if head is None:
        return None
    sign = _sign(head[1], head[3])
    body = _body(text, head.end())
    if sign is None or body is None:
        return None
    number, end = body
    number = replace(number, value=sign * number.value)
    return _with_rest(number, head[2], text[end:], lenient_unit=lenient_unit)


def _sign(first: str, second: str) -> int | None:
    signs = (first + second).replace(" ", "")
    if len(signs) > 1:
        return None
    return -1 if signs == "-" else 1


def _body(text: str, start: int) -> tuple[Number, int] | None:
    for reader in (_mixed, _fraction, _power_of_ten, _decimal):
        found = reader(text, start)
        if found is not None:
            return found
    return None


def _mixed(text: str, start: int) -> tuple[Number, int] | None:
    match = _MIXED.match(text, start)
    if match is None:
        return None
    whole = int(match[1] or match[6])
    top, bottom = match[2] or match[3] or match[7], match[4] or match[5] or match[8]
    part = _ratio(top, bottom)
    if part is None or not 0 < part < 1:
        return None
    return Number(whole + part), match.end()


def _fraction(text: str, start: int) -> tuple[Number, int] | None:
    for pattern in (_LATEX_FRACTION, _PARENTHESISED, _PLAIN_FRACTION):
        match = pattern.match(text, start)
        if match is None:
            continue
        groups = [group for group in match.groups() if group is not None]
        value = _ratio(groups[0], groups[1])
        # 84/2 is a division that is still to be done, not a fraction.
        if value is None or (value.denominator == 1 and _integer(groups[1]) not in (1, -1)):
            return None
        return Number(value), match.end()
    return None


def _ratio(top: str, bottom: str) -> Fraction | None:
    below = _integer(bottom)
    return Fraction(_integer(top), below) if below else None


def _integer(text: str) -> int:
    return int(text.replace(",", "").replace(" ", ""))


def _power_of_ten(text: str, start: int) -> tuple[Number, int] | None:
    match = _POWER_OF_TEN.match(text, start)
    if match is None:
        return None
    exponent = _exponent(match[1] or match[2])
    return None if exponent is None else (Number(Fraction(10) ** exponent), match.end())


def _exponent(text: str) -> int | None:
    text = text.replace(" ", "")
    if len(text) > 6 or abs(int(text)) > MAX_EXPONENT:
        return None
    return int(text)


def _decimal(text: str, start: int) -> tuple[Number, int] | None:
    match = _DECIMAL.match(text, start)
    if match is None or not (match[1] or match[2] or match[3]):
        return None
    whole, part, repeat = (match[1] or "0").replace(",", ""), match[2] or "", match[3]
    value = Fraction(int(whole + part), 10 ** len(part))
    if repeat:
        value += Fraction(int(repeat), (10 ** len(repeat) - 1) * 10 ** len(part))
    exponent_text = match[4] or match[5] or match[6]
    exponent = _exponent(exponent_text) if exponent_text else 0
    if exponent is None:
        return None
    scale = Fraction(10) ** exponent
    if not part or repeat:
        return Number(value * scale), match.end()
    digits = len((whole + part).lstrip("0"))
    return Number(value * scale, scale / 10 ** len(part), digits), match.end()


def _with_rest(
    number: Number, currency: str | None, rest: str, *, lenient_unit: bool
) -> Number | None:
    """``number`` with what stands behind it, or None if that is nothing known."""
    spaced = rest[:1] in (" ", "^", "\\", "")
    rest = rest.strip()
    scaled = _scaled(number, rest)
    if scaled is not None:
        number, rest = scaled
    if match := _PERCENT.fullmatch(" " + rest):
        return replace(number, percent=True) if match and currency is None else None
    if not rest:
        return replace(number, unit=read_unit(currency)) if currency else number
    if not spaced and not (lenient_unit or len(rest) > 1):
        return None
    unit = read_unit(rest)
    # "2ab" is a product; only what is surely a unit may touch the digits.
    if unit is None or not (spaced or is_in_table(unit)):
        return None
    if currency is not None and not same_kinds(unit, read_unit(currency) or unit):
        return None
    return replace(number, unit=unit)


def _scaled(number: Number, rest: str) -> tuple[Number, str] | None:
    word, _, after = rest.partition(" ")
    scale = SCALES.get(word.lower())
    if scale is None:
        return None
    last = None if number.last_place is None else number.last_place * scale
    return replace(number, value=number.value * scale, last_place=last), after


def same_number(gold: Number, answer: Number) -> bool:
    """Whether ``answer`` says what ``gold`` says.

    A unit or a percent sign that one side leaves out is taken from the other; where both have
    a unit they must measure the same, and are converted.
    """
    if gold.unit is not None and answer.unit is not None:
        if not same_kinds(gold.unit, answer.unit):
            return False
        ratio = answer.unit.factor / gold.unit.factor
        last = None if answer.last_place is None else answer.last_place * ratio
        answer = replace(answer, value=answer.value * ratio, last_place=last)
    if _same_value(gold, answer):
        return True
    if gold.percent == answer.percent:
        return False
    return _same_value(_of_hundred(gold), _of_hundred(answer))


def _of_hundred(number: Number) -> Number:
    """``25%`` as 0.25; other numbers as they are."""
    if not number.percent:
        return number
    last = None if number.last_place is None else number.last_place / 100
    return replace(number, value=number.value / 100, last_place=last)


def _same_value(gold: Number, answer: Number) -> bool:
    return gold.value == answer.value or _rounds_to(gold, answer) or _rounds_to(answer, gold)


def _rounds_to(exact: Number, rounded: Number) -> bool:
    """Whether ``rounded`` is ``exact`` to the digits shown, where no decimal is exact."""
    return (
        rounded.last_place is not None
        and rounded.digits >= MIN_ROUNDED_DIGITS
        and not _is_finite_decimal(exact.value)
        and abs(exact.value - rounded.value) < rounded.last_place
    )


def _is_finite_decimal(value: Fraction) -> bool:
    """Whether ``value`` has a finite decimal: its denominator has no prime but 2 and 5."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1
