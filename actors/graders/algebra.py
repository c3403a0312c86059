r"""Expressions and equations that can be compared without sympy: a reader of LaTeX formulas.

Sums, products, quotients, powers, roots, ``\sin`` and its like, ``\log``: most of what is asked
for, at a hundredth of the cost. What is ambiguous (``1/2x``, ``\sin x/2``), of another kind, or
too large is left to others. Where a formula can be read, it is read as math-verify reads it.
"""

from __future__ import annotations

import cmath
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

from actors.graders import rational
from actors.graders.rational import UndecidedError, Value, atom, constant, piece

MAX_LENGTH = 400
"""Longest formula that is read here, in characters."""

MAX_DEPTH = 25
"""Deepest nesting that is read."""


def same_expression(gold: str, answer: str) -> bool | None:
    """Whether two expressions (LaTeX, tidied) are equal wherever both are defined.

    None if that is not decided here. A difference between decimals is not: they may be rounded.
    """
    try:
        left, right = _read_alike(gold, answer)
        return rational.same(left, right)
    except UndecidedError:
        return None


def same_equation(gold: tuple[str, str], answer: tuple[str, str]) -> bool | None:
    """Whether two equations, given by their sides, are multiples of each other; None: undecided."""
    try:
        sides = _read_alike(*gold, *answer)
        left, right = rational.minus(*sides[:2]), rational.minus(*sides[2:])
        return rational.are_multiples(left, right)
    except UndecidedError:
        return None


def _read_alike(*texts: str) -> list[Value]:
    """Read all ``texts``. Case is folded, unless one of them has a letter in both cases."""
    fold = not any(_in_both_cases(text) for text in texts)
    return [_read(text, fold) for text in texts]


def _in_both_cases(text: str) -> bool:
    letters = set(_COMMAND.sub("", text))
    return any(letter.isupper() and letter.lower() in letters for letter in letters)


def _read(text: str, fold: bool) -> Value:
    found = _cached(text, fold)
    if found is None:
        raise UndecidedError
    return found


@lru_cache(maxsize=2048)
def _cached(text: str, fold: bool) -> Value | None:
    if len(text) > MAX_LENGTH:
        return None
    try:
        return _Reader(text, fold).whole()
    except UndecidedError:
        return None


FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
    "cot": lambda z: 1 / cmath.tan(z),
    "sec": lambda z: 1 / cmath.cos(z),
    "csc": lambda z: 1 / cmath.sin(z),
    "arcsin": cmath.asin,
    "arccos": cmath.acos,
    "arctan": cmath.atan,
    "sinh": cmath.sinh,
    "cosh": cmath.cosh,
    "tanh": cmath.tanh,
    "ln": cmath.log,
    "log": cmath.log10,
    "exp": cmath.exp,
}
"""Functions of one argument; ``\\log`` without a base is the decimal one, as math-verify has it."""

_COMMAND = re.compile(r"\\[A-Za-z]+")
_GREEK = "alpha|beta|gamma|delta|epsilon|theta|lambda|mu|rho|sigma|tau|phi|omega|pi"
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?|\.\d+)"
    rf"|(?P<letter>[A-Za-z](?:_(?:[A-Za-z0-9]|\{{[A-Za-z0-9]+\}}))?|\\(?:{_GREEK})(?![A-Za-z]))"
    r"|(?P<times>\\cdot(?![A-Za-z])|\\times(?![A-Za-z])|\*)"
    r"|(?P<frac>\\frac(?![A-Za-z]))|(?P<sqrt>\\sqrt(?![A-Za-z]))"
    rf"|\\(?P<function>(?:{'|'.join(FUNCTIONS)})(?![A-Za-z]))"
    r"|(?P<sign>[-+/^(){}\[\]_]))"
)
_RUNS = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{3,}")
_NO_LETTERS = frozenset("dDEIOS")
"""Letters that may be a differential, or a constant that is written otherwise."""
_NAMES = frozenset("fghqFGHPQ")
"""Letters before a bracket that may be a function."""
_ENDS = frozenset(("end", "+", "-", ")", "}", "]"))

Token = tuple[str, str]


def _tokens(text: str) -> list[Token]:
    if any(set(run) - set("xyz") for run in _RUNS.findall(text)):
        raise UndecidedError
    out: list[Token] = []
    place, text = 0, text.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise UndecidedError
        kind, token = match.lastgroup, match[match.lastgroup]
        if kind == "number" and out and out[-1][0] == "number":
            raise UndecidedError
        out.append((kind, token if kind != "letter" else re.sub("[{}]", "", token)))
        place = match.end()
    return out


class _Reader:
    """Reads one formula, from left to right, by recursive descent."""

    def __init__(self, text: str, fold: bool) -> None:
        self._tokens = _tokens(text)
        self._fold = fold
        self._place = 0
        self._depth = 0

    def whole(self) -> Value:
        value = self._sum()
        if self._place != len(self._tokens):
            raise UndecidedError
        return value

    def _peek(self) -> Token:
        return self._tokens[self._place] if self._place < len(self._tokens) else ("sign", "end")

    def _next(self) -> Token:
        token = self._peek()
        self._place += 1
        return token

    def _take(self, text: str) -> bool:
        """Go past ``text`` if it comes next."""
        found = self._peek()[1] == text
        self._place += found
        return found

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise UndecidedError

    def _sum(self) -> Value:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UndecidedError
        value = self._product()
        while self._peek()[1] in ("+", "-"):
            add = rational.plus if self._next()[1] == "+" else rational.minus
            value = add(value, self._product())
        self._depth -= 1
        return value

    def _product(self) -> Value:
        negative = self._take("-")
        if not negative:
            self._take("+")
        value = self._factor()
        divided = False
        while (token := self._peek())[1] not in _ENDS:
            if token[0] == "times":
                self._next()
                value, divided = rational.times(value, self._factor()), False
            elif self._take("/"):
                value, divided = rational.times(value, rational.inverse(self._factor())), True
            elif divided or token[0] == "number" or (token[0] == "sign" and token[1] != "("):
                # 1/2x, x2 and the like can be read in two ways.
                raise UndecidedError
            else:
                value = rational.times(value, self._factor())
        return rational.times(constant(Fraction(-1)), value) if negative else value

    def _factor(self) -> Value:
        kind, text = self._next()
        if kind == "function":
            return self._function(text)
        base = self._base(kind, text)
        if self._take("^"):
            base = rational.general_power(base, self._argument())
            if self._peek()[1] == "^":
                raise UndecidedError
        return base

    def _base(self, kind: str, text: str) -> Value:
        match kind:
            case "number":
                if self._peek()[0] == "frac":
                    # 2\frac{1}{2} is two and a half, or one.
                    raise UndecidedError
                return constant(Fraction(text), decimal="." in text)
            case "letter":
                return self._letter(text)
            case "frac":
                top = self._argument()
                return rational.times(top, rational.inverse(self._argument()))
            case "sqrt":
                return self._root()
        if text != "(":
            raise UndecidedError
        value = self._sum()
        self._expect(")")
        return value

    def _letter(self, text: str) -> Value:
        if text in _NO_LETTERS or (text in _NAMES and self._peek()[1] == "("):
            raise UndecidedError
        if text == "i":
            return rational.root(constant(Fraction(-1)))
        return atom(text.lower() if self._fold else text)

    def _root(self) -> Value:
        if not self._take("["):
            return rational.root(self._argument())
        degree = self._sum()
        self._expect("]")
        return rational.general_power(self._argument(), rational.inverse(degree))

    def _argument(self) -> Value:
        r"""What stands in braces, or the one digit or letter behind ``\frac``, ``^``, ``\sqrt``."""
        if self._take("{"):
            value = self._sum()
            self._expect("}")
            return value
        kind, text = self._next()
        if kind == "number" and text.isdigit():
            if len(text) > 1:
                self._place -= 1
                self._tokens[self._place] = (kind, text[1:])
            return constant(Fraction(text[0]))
        if kind == "letter":
            return self._letter(text)
        raise UndecidedError

    def _function(self, name: str) -> Value:
        r"""``\sin x``, ``\sin^2(x)``, ``\log_2 x`` and the like, from behind the name."""
        base = self._argument() if name == "log" and self._take("_") else None
        exponent = self._argument() if self._take("^") else None
        if exponent is not None and (exponent.number is None or exponent.number < 0):
            # \sin^{-1} is not one over it.
            raise UndecidedError
        argument = self._function_argument()
        if base is not None:
            value = piece("log_", lambda b, z: cmath.log(z) / cmath.log(b), base, argument)
        elif name == "exp":
            value = rational.general_power(atom("e"), argument)
        else:
            value = piece(name, FUNCTIONS[name], argument)
        return value if exponent is None else rational.general_power(value, exponent)

    def _function_argument(self) -> Value:
        if self._take("("):
            value = self._sum()
            self._expect(")")
            if self._peek()[1] in ("^", "/"):
                raise UndecidedError
            return value
        braced = self._peek()[1] == "{"
        value = self._argument() if braced else self._factor()
        while self._peek()[0] in ("letter", "frac", "sqrt") and not braced:
            value = rational.times(value, self._factor())
        if self._peek()[1] not in _ENDS and self._peek()[0] != "function":
            # How far the argument of \sin x/2 or \sin x \cdot y goes is not clear.
            raise UndecidedError
        return value
