"""Units of measure and currencies: names, kinds and factors, as a table.

A unit is a product of powers of kinds (``length``, ``time``, ...) with one exact factor.
A word that is not in the table is a kind of its own: ``5 apples``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from actors.graders.tidy import words

UNITS: dict[str, tuple[tuple[str, str], ...]] = {
    "length": (
        ("nm nanometer nanometre", "1/1000000000"),
        ("mm millimeter millimetre", "1/1000"),
        ("cm centimeter centimetre", "1/100"),
        ("dm decimeter decimetre", "1/10"),
        ("m meter metre", "1"),
        ("km kilometer kilometre", "1000"),
        ("in inch inches", "0.0254"),
        ("ft foot feet", "0.3048"),
        ("yd yard", "0.9144"),
        ("mi mile", "1609.344"),
        ("unit units", "1"),
    ),
    "mass": (
        ("mg milligram", "1/1000000"),
        ("g gram gm", "1/1000"),
        ("kg kilogram kilo", "1"),
        ("t tonne", "1000"),
        ("oz ounce", "0.028349523125"),
        ("lb lbs pound", "0.45359237"),
        ("ton", "907.18474"),
    ),
    "time": (
        ("ms millisecond", "1/1000"),
        ("s sec second", "1"),
        ("min minute", "60"),
        ("h hr hrs hour", "3600"),
        ("day", "86400"),
        ("week wk", "604800"),
    ),
    "month": (("month mo mos", "1"), ("year yr yrs", "12")),
    "volume": (
        ("ml mL milliliter millilitre", "1/1000"),
        ("l L liter litre", "1"),
        ("gal gallon", "3.785411784"),
        ("qt quart", "0.946352946"),
        ("pt pint", "0.473176473"),
        ("cup", "0.2365882365"),
    ),
    "angle": (("\\circ deg degree", "1"),),
    "radian": (("rad radian", "1"),),
    "celsius": (("\\circC C celsius Celsius", "1"),),
    "fahrenheit": (("\\circF F fahrenheit Fahrenheit", "1"),),
    "energy": (("J joule", "1"), ("kJ kilojoule", "1000"), ("cal calorie", "4.184")),
    "power": (("W watt", "1"), ("kW kilowatt", "1000")),
    "force": (("N newton", "1"), ("kN kilonewton", "1000")),
    "pressure": (("Pa pascal", "1"), ("kPa kilopascal", "1000")),
    "frequency": (("Hz hertz", "1"), ("kHz", "1000"), ("MHz", "1000000")),
    "tension": (("V volt", "1"),),
    "current": (("A ampere amp", "1"),),
    "resistance": (("\\Omega ohm", "1"),),
    "amount": (("mol mole", "1"),),
    "dollar": (("$ \\$ dollar dollars USD usd US$", "1"), ("cent ¢", "1/100")),
    "euro": (("€ EUR eur euro", "1"),),
    "sterling": (("£ \\pounds GBP gbp quid", "1"), ("pence penny p", "1/100")),
    "yen": (("¥ JPY jpy yen", "1"),),
    "yuan": (("CNY RMB yuan", "1"),),
    "rupee": (("₹ INR Rs Rs. rupee", "1"),),
    "pair": (("pair", "1"),),
}
SPEEDS = {"mph": "mi/h", "kmph": "km/h", "kph": "km/h", "fps": "ft/s", "mps": "m/s"}

_KNOWN: dict[str, tuple[str, Fraction]] = {
    name: (kind, Fraction(factor))
    for kind, rows in UNITS.items()
    for names, factor in rows
    for name in names.split()
}

SCALES = {
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
}
"""Words behind a number that multiply it."""

CURRENCY_SIGNS = tuple(
    name
    for kind in ("dollar", "euro", "sterling", "yen", "yuan", "rupee")
    for names, factor in UNITS[kind]
    if factor == "1"
    for name in names.split()
    if not (name.isalpha() and name.islower())
)
"""What may stand before a number and is a currency."""

NO_UNIT = words(
    "a an and or nor not is are was be to too of if then else than less more most least about "
    "between from in on at by with without plus minus times over divided half third quarter "
    "thirds quarters fifth fifths tenth tenths hundredth hundredths thousandth thousandths "
    "squared cubed factorial remainder mod one two three four five six seven eight nine ten "
    "eleven twelve zero negative positive either maybe possibly approximately around nearly "
    "only but also except up down each way x y z n k equal equals"
) | frozenset(SCALES)
"""Words behind a number that make it something else than a quantity."""

_UNIT_TEXT = re.compile(r"[A-Za-z$€£¥₹¢\\^{}0-9/.\- ]{1,60}")
_POWER = re.compile(r"^(.*?)\s*\^\s*\{?\s*(-?[1-6])\s*\}?$")
_WORDS = re.compile(r"[A-Za-z]+(?:-[A-Za-z]+)*")
_POWER_WORDS = {"square": 2, "sq": 2, "sq.": 2, "cubic": 3, "cu": 3}


@dataclass(frozen=True, slots=True)
class Unit:
    """``kinds``: sorted (kind, power) pairs; ``factor``: to the base unit of these kinds."""

    kinds: tuple[tuple[str, int], ...]
    factor: Fraction


def read_unit(text: str) -> Unit | None:
    """``text`` as a unit: from the table, or up to four words; None if it is neither."""
    text = text.strip()
    if not text or not _UNIT_TEXT.fullmatch(text):
        return None
    text = SPEEDS.get(text, text).replace(" per ", "/")
    powers: dict[str, int] = {}
    factor = Fraction(1)
    for place, piece in enumerate(text.split("/")):
        part = _part(piece.strip())
        if part is None:
            return None
        kind, power, part_factor = part
        sign = 1 if place == 0 else -1
        powers[kind] = powers.get(kind, 0) + sign * power
        factor *= part_factor ** (sign * power)
    return Unit(tuple(sorted(powers.items())), factor)


def is_in_table(unit: Unit) -> bool:
    """Whether all of ``unit`` comes from the table."""
    return all(kind in UNITS for kind, _ in unit.kinds)


def _part(text: str) -> tuple[str, int, Fraction] | None:
    """One factor of a unit: kind, power, factor of the first power."""
    power = 1
    text = text.removeprefix("^").strip() if text.startswith("^") else text
    text = text.strip("{} ")
    head, _, rest = text.partition(" ")
    if head in _POWER_WORDS and rest:
        text, power = rest, _POWER_WORDS[head]
    elif match := _POWER.match(text):
        text, power = match[1].strip(), int(match[2])
    known = _known(text.strip())
    if known is not None:
        return known[0], power, known[1]
    names = text.replace("-", " ").split()
    if not _plain_words(names):
        return None
    return " ".join(_singular(word.lower()) for word in names), power, Fraction(1)


def _known(text: str) -> tuple[str, Fraction] | None:
    compact = text.replace(" ", "")
    for name in (text, compact, compact.rstrip("."), text.lower(), _singular(text.lower())):
        if name in _KNOWN:
            return _KNOWN[name]
    return None


def _plain_words(names: list[str]) -> bool:
    return (
        0 < len(names) <= 4
        and all(_WORDS.fullmatch(word) and word.lower() not in NO_UNIT for word in names)
        and any(len(word) > 1 for word in names)
    )


def _singular(word: str) -> str:
    """Without a plural s, roughly: both sides are treated alike."""
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def same_kinds(gold: Unit, other: Unit) -> bool:
    """Whether both measure the same; words may be more or fewer (``apples``, ``red apples``)."""
    if gold.kinds == other.kinds:
        return True
    if len(gold.kinds) != len(other.kinds):
        return False
    return all(
        p == q and k not in UNITS and m not in UNITS and _nested(set(k.split()), set(m.split()))
        for (k, p), (m, q) in zip(gold.kinds, other.kinds, strict=True)
    )


def _nested(left: set[str], right: set[str]) -> bool:
    return left <= right or right <= left
