"""Keyboard spellings of mathematics as LaTeX."""

from __future__ import annotations

import re

_WORDS = re.compile(
    r"(?<![A-Za-z\\])(pi|theta|alpha|beta|sin|cos|tan|cot|log|ln|exp|infty)(?![A-Za-z])"
)
_ROOT = re.compile(r"(?<![A-Za-z\\])sqrt\s*\(([^()]*)\)")
_PLAIN_ROOT = re.compile(r"\\sqrt\s*\(([^()]*)\)")
_EXPONENT = re.compile(r"\^\s*(-?\d{2,}|-\d)")
_STARS = re.compile(r"\*\*")
_INFINITY = re.compile(r"(?<![A-Za-z\\])(?:infinity|inf|oo)(?![A-Za-z])", re.IGNORECASE)


def to_latex(text: str) -> str:
    r"""Keyboard spellings as LaTeX: ``sqrt(2)``, ``pi``, ``x**2``, ``x^10``."""
    text = _STARS.sub("^", text)
    text = _ROOT.sub(r"\\sqrt{\1}", text)
    text = _PLAIN_ROOT.sub(r"\\sqrt{\1}", text)
    text = _INFINITY.sub(r"\\infty ", text)
    text = _WORDS.sub(r"\\\1 ", text)
    return _EXPONENT.sub(r"^{\1}", text)
