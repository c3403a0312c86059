"""Equality of expressions through math-verify. May run long: call it under a hard deadline.

Its own timeouts use SIGALRM, which works in a main thread only; they are off.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from actors.graders.spelling import to_latex

if TYPE_CHECKING:
    from sympy import Basic


def same_expression(gold: str, answer: str) -> bool:
    """Whether two expressions (tidied, no relation sign) are equal wherever they are defined.

    False as well where one of them cannot be read. Not bounded in time.
    """
    if gold.replace(" ", "") == answer.replace(" ", ""):
        return True
    left, right = parse_expression(gold), parse_expression(answer)
    if left is None or right is None:
        return False
    return _equal(left, right)


def same_equation(gold: tuple[str, str], answer: tuple[str, str]) -> bool:
    """Whether two equations, given by their sides, have the same solutions, as math-verify sees it.

    Sides may be swapped, moved across, and multiplied by a number.
    """
    sides = [parse_expression(side) for side in (*gold, *answer)]
    if not all(isinstance(side, _library().expression) for side in sides):
        return False
    left, right = sides[0] - sides[1], sides[2] - sides[3]
    if _equal(left, right) or _equal(left, -right):
        return True
    ratio = _library().simplify(left / right)
    return bool(ratio.is_number and ratio.is_nonzero and ratio.is_finite)


@lru_cache(maxsize=512)
def parse_expression(text: str) -> Any:
    """The sympy expression that math-verify reads in ``text``, or None."""
    library = _library()
    found = library.parse(
        f"${to_latex(text)}$",
        library.extraction,
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
    )
    return found[0] if found else None


def _equal(left: Basic, right: Basic) -> bool:
    if left == right:
        return True
    if _differ_at_a_point(left, right):
        return False
    if _is_zero_when_expanded(left, right):
        return True
    return bool(_library().verify(left, right, timeout_seconds=None))


_POINTS = (0.7321, 1.3719, 2.2361, 0.4142, 1.1892, 3.3166, 0.8409)


def _differ_at_a_point(left: Basic, right: Basic) -> bool:
    """Whether both have finite values at one point, and these are not the same.

    Much faster than a failing proof of equality, which is what wrong answers cost.
    """
    symbols = sorted(
        getattr(left, "free_symbols", set()) | getattr(right, "free_symbols", set()), key=str
    )
    if len(symbols) > len(_POINTS):
        return False
    point = dict(zip(symbols, _POINTS, strict=False))
    try:
        one, other = complex(left.evalf(subs=point)), complex(right.evalf(subs=point))
    except (AttributeError, TypeError, ValueError, OverflowError, ArithmeticError):
        return False
    if not (abs(one) < 1e300 and abs(other) < 1e300):
        return False
    return abs(one - other) > 1e-5 * max(abs(one), abs(other))


def warm_up() -> None:
    """Load math-verify, and whatever it loads on its first use."""
    same_expression(r"\frac{\sqrt{3}}{2}", r"\sqrt{3/4}")
    same_expression("(x+1)^2", "x^2+2x+1")
    same_expression(r"\sin x", r"\cos x")
    same_equation(("y", "2x+1"), ("2x-y+1", "0"))


def _is_zero_when_expanded(left: Basic, right: Basic) -> bool:
    """Equality of polynomials, which is most of it and much faster than a simplification."""
    try:
        return bool((left - right).expand() == 0)
    except (AttributeError, TypeError, ValueError):
        return False


class _Library:
    """math-verify, imported when first needed: it costs a second that numbers do not need."""

    def __init__(self) -> None:
        from latex2sympy2_extended import NormalizationConfig
        from math_verify import LatexExtractionConfig, parse, verify
        from sympy import Expr, simplify

        for name in ("math_verify.parser", "math_verify.grader"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self.parse, self.verify, self.simplify = parse, verify, simplify
        self.expression = Expr
        # Units are read by this project's own table: math-verify's takes "ab" out of "2ab".
        self.extraction = [
            LatexExtractionConfig(
                boxed_match_priority=-1,
                normalization_config=NormalizationConfig(
                    basic_latex=True,
                    units=False,
                    malformed_operators=True,
                    nits=True,
                    boxed="none",
                ),
            )
        ]


@lru_cache(maxsize=1)
def _library() -> _Library:
    return _Library()
