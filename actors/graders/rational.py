r"""Rational functions of letters, roots and whatever else, exact and without sympy.

A value is a quotient of polynomials with rational coefficients in atoms: letters, ``\pi``, ``e``,
``i``, roots of primes, and pieces such as ``\sin(2x)`` that are taken as they are. Squares of
roots and of ``i`` are worked out. Without such pieces the polynomial is unique, because roots of
different primes are independent over the rationals (Besicovitch 1940, J. London Math. Soc. 15:3):
two quotients are equal exactly if they are equal multiplied out. (That no polynomial relates
``\pi`` and ``e`` is taken for granted.) With pieces, equal polynomials still mean equal values, and
the values at a few points tell most different ones apart.
"""

from __future__ import annotations

import cmath
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

Monomial = tuple[tuple[str, int], ...]
"""Powers of atoms, sorted by atom."""

Polynomial = dict[Monomial, Fraction]
"""Coefficients by monomial, none of them 0. Never changed once made."""

Points = tuple[complex, ...]

ROOT = "√"
"""Begins the atom of a square root of a prime or of -1."""

IMAGINARY = f"{ROOT}-1"
CONSTANTS = {r"\pi": math.pi, "e": math.e, IMAGINARY: 1j}

MAX_EXPONENT = 40
MAX_TERMS = 100
MAX_PRODUCT = 1_000
MAX_BITS = 3_000
MAX_RADICAND = 10**9
MAX_SIZE = 1e6
"""Largest number, and inverse of the smallest, of which a function is worked out at a point."""

ONE: Polynomial = {(): Fraction(1)}
_POINTS = 2


class UndecidedError(Exception):
    """What was given is not of the kind that is decided here, or grows too large."""


@dataclass(frozen=True, slots=True)
class Value:
    """``top`` over ``bottom``, which is not 0.

    ``decimal``: a decimal point was among it. ``pieces``: so was something that is taken as it
    is. ``points``: its values where letters have certain values, None if these are not exact
    enough to tell anything.
    """

    top: Polynomial
    bottom: Polynomial
    points: Points | None
    decimal: bool = False
    pieces: bool = False

    @property
    def only_letters(self) -> bool:
        r"""Whether neither ``\pi`` nor a root nor a piece is in it."""
        atoms = {atom for part in (self.top, self.bottom) for m in part for atom, _ in m}
        return not self.pieces and not any(a in CONSTANTS or a.startswith(ROOT) for a in atoms)

    @property
    def number(self) -> Fraction | None:
        """The rational number it is, or None."""
        if self.top.keys() - {()} or self.bottom.keys() - {()}:
            return None
        return self.top.get((), Fraction(0)) / self.bottom[()]

    @property
    def key(self) -> str:
        """What it looks like, as a hash: equal for values that are written alike.

        The text itself would grow with every function around it, by a factor each time.
        """
        text = f"{sorted(self.top.items())}/{sorted(self.bottom.items())}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def constant(value: Fraction, *, decimal: bool = False) -> Value:
    """A number."""
    points = _checked([complex(float(value))] * _POINTS) if abs(value) < MAX_SIZE else None
    return Value(_trimmed({(): value}), ONE, points, decimal)


def atom(name: str) -> Value:
    """A letter or a constant."""
    known = CONSTANTS.get(name)
    points = tuple(_place(name, n) for n in range(_POINTS)) if known is None else (known,) * _POINTS
    return Value({((name, 1),): Fraction(1)}, ONE, points)


def piece(
    name: str, function: Callable[..., complex] | None, *arguments: Value, known: bool = False
) -> Value:
    """``function`` of ``arguments``, taken as it is. Without a function it has no points.

    Args:
        name: tells functions apart.
        function: what it is worth at a point.
        arguments: what it is of; written differently, they make different pieces.
        known: with these arguments it is no unknown piece (a root of a prime).
    """
    label = name if known else f"{name}[{'|'.join(argument.key for argument in arguments)}]"
    return Value(
        {((label, 1),): Fraction(1)},
        ONE,
        _applied(function, arguments),
        decimal=any(argument.decimal for argument in arguments),
        pieces=not known,
    )


def _applied(
    function: Callable[..., complex] | None, arguments: tuple[Value, ...]
) -> Points | None:
    places = [argument.points for argument in arguments if argument.points is not None]
    if function is None or len(places) < len(arguments):
        return None
    if any(abs(value) > MAX_SIZE for points in places for value in points):
        return None
    try:
        return _checked([complex(function(*values)) for values in zip(*places, strict=True)])
    except (ValueError, OverflowError, ZeroDivisionError):
        return None


def _place(name: str, n: int) -> complex:
    """The value of a letter at point ``n``: between 0.5 and 2.5, and nothing special."""
    digest = hashlib.blake2b(f"{n}/{name}".encode(), digest_size=6).digest()
    return complex(0.5 + 2 * int.from_bytes(digest, "big") / 2**48)


def _checked(points: list[complex]) -> Points | None:
    """``points``, if all are finite and of a size whose digits mean something."""
    sound = all(p == 0 or 1 / MAX_SIZE < abs(p) < MAX_SIZE for p in points)
    return tuple(points) if sound else None


def plus(left: Value, right: Value) -> Value:
    """The sum."""
    if left.bottom == right.bottom:
        top, bottom = _sum(left.top, right.top), left.bottom
    else:
        top = _sum(_times(left.top, right.bottom), _times(right.top, left.bottom))
        bottom = _times(left.bottom, right.bottom)
    return _joint(left, right, top, bottom, _added(left.points, right.points))


def times(left: Value, right: Value) -> Value:
    """The product."""
    top, bottom = _times(left.top, right.top), _times(left.bottom, right.bottom)
    points = None
    if left.points is not None and right.points is not None:
        points = _checked([a * b for a, b in zip(left.points, right.points, strict=True)])
    return _joint(left, right, top, bottom, points)


def inverse(of: Value) -> Value:
    """One over it."""
    if not of.top:
        raise UndecidedError
    points = None
    if of.points is not None and all(of.points):
        points = _checked([1 / value for value in of.points])
    top, bottom = _normal(of.bottom, of.top)
    return replace(of, top=top, bottom=bottom, points=points)


def minus(left: Value, right: Value) -> Value:
    """The difference."""
    return plus(left, times(constant(Fraction(-1)), right))


def power(base: Value, exponent: int) -> Value:
    """A whole power."""
    if abs(exponent) > MAX_EXPONENT or (exponent == 0 and not base.top):
        raise UndecidedError
    if exponent < 0:
        base, exponent = inverse(base), -exponent
    out = replace(constant(Fraction(1)), decimal=base.decimal, pieces=base.pieces)
    for _ in range(exponent):
        out = times(out, base)
    return out


def root(of: Value) -> Value:
    """The square root; of a number worked out, of other things as it is."""
    value = of.number
    if value is None or of.decimal:
        return general_power(of, constant(Fraction(1, 2)))
    radicand = value.numerator * value.denominator
    if abs(radicand) > MAX_RADICAND:
        raise UndecidedError
    outside, inside = _square_parts(abs(radicand))
    out = constant(Fraction(outside, value.denominator))
    for prime in (*inside, *((-1,) if radicand < 0 else ())):
        name = f"{ROOT}{prime}"
        factor = piece(name, cmath.sqrt, constant(Fraction(prime)), known=True)
        out = times(out, factor)
    return out


def general_power(base: Value, exponent: Value) -> Value:
    """Any power: taken as it is, but for whole exponents and square roots of numbers."""
    number = exponent.number
    if number is not None and number.denominator == 1 and not exponent.decimal:
        return power(base, int(number))
    if number == Fraction(1, 2) and base.number is not None and not base.decimal:
        return root(base)
    if base.number == 0:
        raise UndecidedError
    positive = base.points is not None and all(p.imag == 0 and p.real > 0 for p in base.points)
    # Which of its roots is meant is clear for positive numbers alone.
    return piece("pow", (lambda b, x: b**x) if positive else None, base, exponent)


def same(left: Value, right: Value) -> bool | None:
    """Whether both are equal wherever they are defined; None if that is not decided here."""
    if _times(left.top, right.bottom) == _times(right.top, left.bottom):
        return True
    if left.decimal or right.decimal:
        return None
    if not (left.pieces or right.pieces):
        return False
    return False if _apart(left.points, right.points) else None


def are_multiples(left: Value, right: Value) -> bool | None:
    """Whether they are rational multiples of each other, none being 0; None: undecided."""
    one, other = _times(left.top, right.bottom), _times(right.top, left.bottom)
    if one and one.keys() == other.keys() and len({one[m] / other[m] for m in one}) == 1:
        return True
    decided = left.only_letters and right.only_letters and not (left.decimal or right.decimal)
    return False if decided else None


def _apart(left: Points | None, right: Points | None) -> bool:
    if left is None or right is None:
        return False
    return any(abs(a - b) > 1e-5 * max(abs(a), abs(b)) for a, b in zip(left, right, strict=True))


def _joint(
    left: Value, right: Value, top: Polynomial, bottom: Polynomial, points: Points | None
) -> Value:
    top, bottom = _normal(top, bottom)
    return Value(top, bottom, points, left.decimal or right.decimal, left.pieces or right.pieces)


def _normal(top: Polynomial, bottom: Polynomial) -> tuple[Polynomial, Polynomial]:
    """Both divided by one coefficient of ``bottom``, which becomes 1."""
    if bottom == ONE:
        return top, bottom
    leading = bottom[max(bottom)]
    if leading == 1:
        return top, bottom
    return _trimmed({m: v / leading for m, v in top.items()}), _trimmed(
        {m: v / leading for m, v in bottom.items()}
    )


def _added(left: Points | None, right: Points | None) -> Points | None:
    """Sums at the points, unless so much cancels that few digits are left."""
    if left is None or right is None:
        return None
    sums = [a + b for a, b in zip(left, right, strict=True)]
    sound = all(
        abs(s) > 1e-6 * max(abs(a), abs(b)) or a == b == 0
        for s, a, b in zip(sums, left, right, strict=True)
    )
    return _checked(sums) if sound else None


def _trimmed(polynomial: Polynomial) -> Polynomial:
    out = {monomial: value for monomial, value in polynomial.items() if value}
    if len(out) > MAX_TERMS or any(
        max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS
        for value in out.values()
    ):
        raise UndecidedError
    return out


def _sum(left: Polynomial, right: Polynomial) -> Polynomial:
    out = dict(left)
    for monomial, value in right.items():
        out[monomial] = out.get(monomial, Fraction(0)) + value
    return _trimmed(out)


def _times(left: Polynomial, right: Polynomial) -> Polynomial:
    if len(left) * len(right) > MAX_PRODUCT:
        raise UndecidedError
    out: Polynomial = {}
    for monomial, value in left.items():
        for other, factor in right.items():
            joint, scale = _joined(monomial, other)
            out[joint] = out.get(joint, Fraction(0)) + value * factor * scale
    return _trimmed(out)


def _joined(left: Monomial, right: Monomial) -> tuple[Monomial, int]:
    """The product of two monomials, squares of roots worked out into the factor."""
    if not left or not right:
        return left or right, 1
    powers = dict(left)
    for name, exponent in right:
        powers[name] = powers.get(name, 0) + exponent
    scale = 1
    for name, exponent in list(powers.items()):
        if name.startswith(ROOT) and exponent > 1:
            scale *= int(name.removeprefix(ROOT)) ** (exponent // 2)
            powers[name] = exponent % 2
            if not powers[name]:
                del powers[name]
    return tuple(sorted(powers.items())), scale


@lru_cache(maxsize=1024)
def _square_parts(number: int) -> tuple[int, tuple[int, ...]]:
    """``number`` as the square of the first times the product of the second, primes."""
    if number == 0:
        return 0, ()
    outside, inside, divisor = 1, [], 2
    while divisor * divisor <= number:
        count = 0
        while number % divisor == 0:
            number //= divisor
            count += 1
        outside *= divisor ** (count // 2)
        if count % 2:
            inside.append(divisor)
        divisor += 1
    return outside, (*inside, number) if number > 1 else tuple(inside)
