"""Comparison of an answer with a gold answer, typed by the gold answer.

Numbers, choices, text and everything made of them are decided here, fast and without sympy;
what is left, expressions, goes to the ``symbolic`` function that the caller gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from actors.graders import shapes
from actors.graders.choices import read_letters
from actors.graders.numbers import Number, read_number, same_number
from actors.graders.shapes import Bracketed, Relation, Several, Single, Union
from actors.graders.tidy import MAX_ANSWER, tidy
from actors.graders.units import is_in_table, read_unit

Symbolic = Callable[[str, str], bool]
"""Whether two expressions, or two equations, are equal."""

_INTEGER = re.compile(r"[+-]?\d{1,4000}")
_LETTER = re.compile(r"\(?([A-Z])\)?")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+")
_TRAILING_UNIT = re.compile(r"^(.*[^\s+\-*/^=(,])\s+([A-Za-z\\]\S*(?: \S+)?)$")
_BASED = re.compile(r"[0-9A-Fa-f]+\s*_\s*\{?\s*\d+\s*\}?")
_RATIO = re.compile(r"[^:]+:[^:]+(?::[^:]+)*")


def same_answer(gold: str, answer: str, symbolic: Symbolic) -> bool:
    """Whether ``answer`` (the contents of the box) says what ``gold`` says.

    Args:
        gold: the gold answer, as in the data.
        answer: one answer; several where one is asked for are wrong.
        symbolic: decides equality of expressions and may be slow.
    """
    if _INTEGER.fullmatch(gold) and _INTEGER.fullmatch(answer):
        return int(gold) == int(answer)
    if answer == gold:
        return True
    if len(answer) > max(MAX_ANSWER, 2 * len(gold)) or len(gold) > MAX_ANSWER:
        return False
    return _same(tidy(gold), tidy(answer), symbolic)


def _same(gold: str, answer: str, symbolic: Symbolic) -> bool:
    """``same_answer`` on tidied texts."""
    if not answer:
        return False
    if answer == gold:
        return True
    kind = gold_kind(gold)
    if kind.letter:
        return read_letters(answer) == kind.letter
    if kind.number is not None:
        return _same_to_number(kind.number, gold, answer)
    if kind.text:
        return shapes.canonical_text(gold) == shapes.canonical_text(answer)
    return _same_shape(kind.shape, answer, symbolic)


@dataclass(frozen=True, slots=True)
class GoldKind:
    """How a gold answer is read. The first that is set counts, from the top."""

    letter: str
    number: Number | None
    text: bool
    shape: shapes.Shape


@lru_cache(maxsize=4096)
def gold_kind(gold: str) -> GoldKind:
    """The type of ``gold`` (tidied). Cached: a group shares its gold answer."""
    letter = _LETTER.fullmatch(gold)
    number = None if letter else read_number(gold, lenient_unit=False)
    shape = shapes.read(gold)
    inner = shape.text if isinstance(shape, Single) else _domain(shape)
    if number is None and inner not in ("", gold):
        return gold_kind(inner)
    text = bool(_BASED.fullmatch(gold)) or (isinstance(shape, Single) and shapes.is_text(gold))
    return GoldKind(letter[1] if letter else "", number, text, shape)


def _domain(shape: shapes.Shape) -> str:
    r"""``[0, 1]`` of ``x \in [0, 1]``; empty for everything else."""
    if isinstance(shape, Relation) and shape.signs == ("in",):
        return _value(shape) or ""
    return ""


def _same_to_number(gold: Number, gold_text: str, answer: str) -> bool:
    stated = _stated(answer)
    number = None if stated is None else read_number(stated)
    if number is not None:
        return same_number(gold, number)
    # "100,200" in the data may have been meant as a list; then an answer shows it by blanks.
    if _GROUPED.fullmatch(gold_text) and ", " in answer:
        return gold_text.split(",") == [item.strip() for item in answer.split(",")]
    return False


def _stated(answer: str) -> str | None:
    """The one value that ``answer`` states, its name dropped; None if it states several."""
    for _ in range(4):
        if read_number(answer) is not None:
            return answer
        shape = shapes.read(answer)
        if isinstance(shape, Relation):
            value = _value(shape)
            if value is None or value == answer:
                return None
            answer = value
        elif isinstance(shape, Several) and len(shape.items) == 1:
            answer = shape.items[0]
        elif isinstance(shape, Single) and shape.text != answer:
            answer = shape.text
        else:
            return answer if isinstance(shape, Single) else None
    return None


def _value(relation: Relation) -> str | None:
    """``12`` of ``x = 12``, ``12 = x`` and ``x = y = 12``; None where sides are no names."""
    if any(sign not in ("=", "~", "in") for sign in relation.signs):
        return None
    values = [side for side in relation.sides if side and not shapes.is_name(side)]
    if len(values) == 1:
        return values[0]
    if not values:
        return relation.sides[-1]
    if "~" in relation.signs and _consistent(values):
        return values[0]
    equal = {value.replace(" ", "") for value in values}
    return values[0] if len(equal) == 1 else None


def _consistent(values: list[str]) -> bool:
    r"""Whether ``1/3 \approx 0.333`` holds, so that its first side is the exact answer."""
    first, *others = (read_number(value) for value in values)
    return first is None or all(
        other is not None and abs(first.value - other.value) < (other.last_place or 1)
        for other in others
    )


def _same_shape(shape: shapes.Shape, answer: str, symbolic: Symbolic) -> bool:
    if not shapes.is_readable(answer):
        return False
    match shape:
        case Several():
            return _same_several(shape, answer, symbolic)
        case Bracketed():
            return _same_bracketed(shape, answer, symbolic)
        case Union():
            other = shapes.read(_unnamed(answer))
            return isinstance(other, Union) and _match_up(shape.parts, other.parts, symbolic)
        case Relation():
            return _same_relation(shape, answer, symbolic)
        case Single():
            return _same_single(shape.text, answer, symbolic)


def _same_several(shape: Several, answer: str, symbolic: Symbolic) -> bool:
    """Lists and sets: the same items in any order, each as often."""
    answer = _unnamed(answer)
    for grouped in (True, False):
        other = shapes.read(answer, grouped=grouped)
        if not isinstance(other, Several):
            other = Several((answer,))
        if _match_up(_expanded(shape.items), _expanded(other.items), symbolic):
            return True
        if "," not in answer:
            break
    return False


def _expanded(items: tuple[str, ...]) -> tuple[str, ...]:
    r"""Items that are lists themselves (``x = \pm 2``, ``\{1\}``) taken apart, once."""
    out: list[str] = []
    for item in items:
        shape = shapes.read(_unnamed(item)) if r"\pm" in item else None
        out.extend(shape.items if isinstance(shape, Several) else (item,))
    return tuple(out)


def _match_up(gold: tuple[str, ...], answer: tuple[str, ...], symbolic: Symbolic) -> bool:
    if len(gold) != len(answer):
        return False
    left = list(answer)
    for item in gold:
        found = next((i for i, other in enumerate(left) if _same(item, other, symbolic)), None)
        if found is None:
            return False
        left.pop(found)
    return True


def _same_bracketed(shape: Bracketed, answer: str, symbolic: Symbolic) -> bool:
    other = shapes.read(_unnamed(answer))
    if isinstance(other, Relation):
        other = _interval_of(other) or other
    return (
        isinstance(other, Bracketed)
        and (other.opening, other.closing) == (shape.opening, shape.closing)
        and len(other.items) == len(shape.items)
        and all(_same(g, a, symbolic) for g, a in zip(shape.items, other.items, strict=True))
    )


def _unnamed(text: str) -> str:
    r"""Without a name in front: ``x = 1, 2`` as ``1, 2``; ``x \in [0, 1]`` as ``[0, 1]``."""
    match = re.match(r"([^=<>\\]{1,30}?)\s*(?:=|\\in\b|:)\s*(.+)", text, re.DOTALL)
    if match and shapes.is_name(match[1].strip()) and not re.search(r"[=<>]|\\in\b", match[2]):
        return match[2]
    return text


_INEQUALITIES = {"<": ("(", ")"), "<=": ("[", "]")}
_TURNED = {">": "<", ">=": "<="}


def _interval_of(relation: Relation) -> Bracketed | None:
    """The interval that inequalities around one name describe, or None."""
    sides, signs = relation.sides, relation.signs
    if signs and all(sign in _TURNED for sign in signs):
        sides, signs = sides[::-1], tuple(_TURNED[sign] for sign in reversed(signs))
    if not signs or any(sign not in _INEQUALITIES for sign in signs):
        return None
    if len(sides) == 3 and shapes.is_name(sides[1]):
        opening, closing = _INEQUALITIES[signs[0]][0], _INEQUALITIES[signs[1]][1]
        return Bracketed(opening, (sides[0], sides[2]), closing)
    if len(sides) == 2 and shapes.is_name(sides[0]) and not shapes.is_name(sides[1]):
        return Bracketed("(", (r"-\infty", sides[1]), _INEQUALITIES[signs[0]][1])
    if len(sides) == 2 and shapes.is_name(sides[1]):
        return Bracketed(_INEQUALITIES[signs[0]][0], (sides[0], r"\infty"), ")")
    return None


def _same_relation(shape: Relation, answer: str, symbolic: Symbolic) -> bool:
    interval = _interval_of(shape)
    if interval is not None:
        return _same_bracketed(interval, answer, symbolic)
    other = shapes.read(answer)
    if len(shape.signs) != 1:
        return False
    value = _value(shape)
    if value is not None and not (isinstance(other, Relation) and _names_differ(shape, other)):
        stated = _value(other) if isinstance(other, Relation) else answer
        if stated is not None and _same(value, stated, symbolic):
            return True
    if isinstance(other, Relation) and other.signs == shape.signs:
        if shape.signs == ("=",):
            return symbolic("=".join(shape.sides), "=".join(other.sides))
        return all(_same(g, a, symbolic) for g, a in zip(shape.sides, other.sides, strict=True))
    return False


def _names_differ(gold: Relation, answer: Relation) -> bool:
    """Whether both name a single letter, and not the same: ``x = 4`` is not ``y = 4``."""
    left, right = _names(gold), _names(answer)
    return bool(left and right and not left & right)


def _names(relation: Relation) -> set[str]:
    return {
        re.sub(r"[\s{}]", "", side)
        for side in relation.sides
        if shapes.is_name(side) and len(re.sub(r"[^A-Za-z]", "", side.split("_")[0])) <= 2
    }


def _same_single(gold: str, answer: str, symbolic: Symbolic) -> bool:
    """Expressions, and ratios such as ``3:2``."""
    if _RATIO.fullmatch(gold):
        parts, others = gold.split(":"), answer.split(":")
        return len(parts) == len(others) and all(
            _same(g.strip(), a.strip(), symbolic) for g, a in zip(parts, others, strict=True)
        )
    stated = _stated(answer)
    if stated is None or shapes.is_text(stated):
        return False
    return symbolic(_unitless(gold), _unitless(stated))


def _unitless(text: str) -> str:
    r"""``2\pi`` of ``2\pi cm``."""
    match = _TRAILING_UNIT.match(text)
    unit = read_unit(match[2]) if match and len(match[2]) > 1 else None
    return match[1] if match and unit and is_in_table(unit) else text
