"""What kind of answer a text is: lists, brackets, unions, relations, text, expressions.

``read`` takes a tidied text apart at its outermost level; the parts stay text and are read
when they are compared, because how a part is read depends on the gold part it is held against.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from actors.graders.tidy import words as word_set

MAX_DEPTH = 20
"""Deepest nesting of brackets that is read."""


@dataclass(frozen=True, slots=True)
class Several:
    """Answers side by side, in any order: ``1, 2``, ``1 or 2``, ``\\{1, 2\\}``, ``\\pm 2``."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bracketed:
    """A tuple, a point, an interval or an ordered list: brackets and order matter."""

    opening: str
    items: tuple[str, ...]
    closing: str


@dataclass(frozen=True, slots=True)
class Union:
    """Sets joined by a cup."""

    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """Sides and the signs between them: ``1 < x \\le 2``."""

    sides: tuple[str, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Single:
    """One answer."""

    text: str


Shape = Several | Bracketed | Union | Relation | Single

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d[\d,.]*\d|[A-Za-z]+|.", re.DOTALL)
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_OPEN = frozenset(("(", "[", "{", r"\{", r"\langle", r"\lfloor", r"\lceil", r"\begin"))
_CLOSE = frozenset((")", "]", "}", r"\}", r"\rangle", r"\rfloor", r"\rceil", r"\end"))
_LISTING = frozenset((",", ";", "or", "and", "Or", "And", "OR", "AND", r"\vee", r"\wedge"))
_CUP = frozenset((r"\cup",))
_SIGNS = {
    "=": "=",
    r"\approx": "~",
    "<": "<",
    ">": ">",
    r"\le": "<=",
    r"\ge": ">=",
    r"\ne": "!=",
    r"\in": "in",
    r"\equiv": "==",
    r"\to": "->",
    r"\rightarrow": "->",
}


def read(text: str, *, grouped: bool = True) -> Shape:
    """The outermost shape of ``text`` (tidied).

    Args:
        text: an answer.
        grouped: read ``1,234`` as one number, not as two.
    """
    parts = _split(text, _LISTING, grouped=grouped)
    if parts is None:
        return Single(text)
    if len(parts) > 1:
        return Several(tuple(part for part in parts if part))
    parts = _split(text, _CUP, grouped=grouped)
    if parts is not None and len(parts) > 1:
        return Union(tuple(parts))
    relation = _relation(text)
    if relation is not None:
        return relation
    return _bracketed(text) or _plus_minus(text) or Single(text)


def is_readable(text: str) -> bool:
    """Whether the brackets of ``text`` match up and are not nested too deeply.

    The shape of a bracket does not matter: ``(1, 2]`` is an interval.
    """
    return _split(text, frozenset(), grouped=False) is not None


def _tokens(text: str, *, grouped: bool) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        token = match[0]
        if "," in token and len(token) > 1 and not (grouped and _GROUPED.fullmatch(token)):
            yield from re.findall(r"[\d.]+|,", token)
        else:
            yield token


def _split(text: str, separators: frozenset[str], *, grouped: bool) -> list[str] | None:
    """``text`` cut at ``separators`` outside of brackets; None if brackets do not match up."""
    parts: list[list[str]] = [[]]
    depth = 0
    for token in _tokens(text, grouped=grouped):
        if token in _OPEN:
            depth += 1
        elif token in _CLOSE:
            depth -= 1
        if depth < 0 or depth > MAX_DEPTH:
            return None
        if depth == 0 and token in separators:
            parts.append([])
        else:
            parts[-1].append(token)
    return ["".join(part).strip() for part in parts] if depth == 0 else None


def _relation(text: str) -> Relation | None:
    sides: list[list[str]] = [[]]
    signs: list[str] = []
    depth = 0
    for token in _tokens(text, grouped=True):
        depth += (token in _OPEN) - (token in _CLOSE)
        if depth == 0 and token in _SIGNS:
            if token == "=" and signs and not "".join(sides[-1]).strip() and signs[-1] in "<>":
                signs[-1] += "="
                continue
            signs.append(_SIGNS[token])
            sides.append([])
        else:
            sides[-1].append(token)
    if not signs:
        return None
    return Relation(tuple("".join(side).strip() for side in sides), tuple(signs))


_PAIRS = (
    (r"\{", r"\}"),
    (r"\langle", r"\rangle"),
    ("(", ")"),
    ("[", "]"),
    ("(", "]"),
    ("[", ")"),
    ("{", "}"),
)


def _bracketed(text: str) -> Shape | None:
    """The shape of a text that one pair of brackets encloses, else None."""
    for opening, closing in _PAIRS:
        if not (text.startswith(opening) and text.endswith(closing)):
            continue
        parts = _inside(text[len(opening) : len(text) - len(closing)].strip())
        if parts is None:
            continue
        if opening == r"\{":
            return Several(parts)
        if (opening, closing) in (("(", ")"), ("{", "}")) and len(parts) == 1:
            return read(parts[0])
        return Bracketed(opening, parts, closing)
    return None


def _inside(text: str) -> tuple[str, ...] | None:
    """The items between brackets; a comma groups digits only where others separate."""
    parts = _split(text, frozenset((",", ";")), grouped=", " in text or ";" in text)
    return None if parts is None else tuple(parts)


_PLUS_MINUS = re.compile(r"\\pm|\+/-|\+-")


def _plus_minus(text: str) -> Several | None:
    if len(_PLUS_MINUS.findall(text)) != 1:
        return None
    before, after = _PLUS_MINUS.split(text)
    plus = f"{before}+{after}" if before.strip() else after.strip()
    return Several((plus, f"{before}-{after}".strip()))


_FUNCTIONS = word_set(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp sqrt pi max min "
    "gcd lcm mod det dim ker inf sup lim arg deg cis infinity infty frac"
)
_GEOMETRY = re.compile(r"\\(?:angle|triangle|overline|overrightarrow|widehat|parallel|perp|cong)\b")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_LETTERS = re.compile(r"[^\W\d_]+")
_OPERATORS = re.compile(r"[+*/^=_\\<>|!(){}\[\]]|\d")


def is_text(text: str) -> bool:
    """Whether ``text`` is words (or points of a figure) rather than an expression.

    Letters in a row with nothing else are words: as a product, ``ABC`` would equal ``CBA``.
    Only ``x``, ``y`` and ``z`` in a row are a product.
    """
    if _GEOMETRY.search(text):
        return True
    words = _LETTERS.findall(_COMMAND.sub(" ", text))
    wordy = [w for w in words if len(w) > 1 and w.lower() not in _FUNCTIONS and set(w) - set("xyz")]
    if not wordy:
        return False
    if not _OPERATORS.search(text):
        return True
    return " " in text and any(len(w) > 2 for w in wordy) and not re.search(r"[+*/^=\\<>]", text)


_BRACED_WORD = re.compile(r"\{\s*(\w+)\s*\}")


def canonical_text(text: str) -> str:
    """Text as it is compared: case folded, without quotes and needless blanks and braces."""
    text = _BRACED_WORD.sub(r"\1", text)
    text = text.strip("\"' ").casefold()
    text = re.sub(r"\s*([{}()\\,:;/-])\s*", r"\1", text)
    return " ".join(text.split())


_NAME = re.compile(
    r"\(\s*[A-Za-z](?:\s*,\s*[A-Za-z])+\s*\)|"
    r"(?:\\[A-Za-z]+\s*|[A-Za-z][A-Za-z' ]*)(?:_(?:\w|\{\w+\}))?'*"
    r"\s*(?:\(\s*\w{1,4}(?:\s*,\s*\w{1,4})*\s*\))?"
)
_NOT_NAMES = frozenset((r"\pi", r"\infty", r"\emptyset", "e", "i", "pi", "infinity"))


def is_name(text: str) -> bool:
    """Whether ``text`` names the thing that is asked for: ``x``, ``f(x)``, ``(x, y)``, ``Area``."""
    return text not in _NOT_NAMES and len(text) <= 60 and _NAME.fullmatch(text) is not None
