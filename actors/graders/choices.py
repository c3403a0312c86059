"""Choices among letters: how people write the one they mean."""

from __future__ import annotations

import re

from actors.graders.tidy import tidy

_LEAD = re.compile(
    r"(?:the\s+)?(?:(?:correct\s+)?(?:answer|option|choice)\s*(?:is)?\s*:?\s*)", re.I
)
_ONE = re.compile(r"[(\[{]?\s*([A-Za-z])\s*[)\]}]?")
_WITH_TEXT = re.compile(r"(?:\(([A-Z])\)\s*:?|\[([A-Z])\]\s*:?|([A-Z])\s*[.:)])\s*\S.*", re.DOTALL)
_SEVERAL = re.compile(r"[A-Z](?:\s*(?:,|;|\band\b|&|\s)\s*\(?[A-Z]\)?)+|[A-Z]{2,26}")
_LETTERS = re.compile(r"(?<![A-Za-z])[A-Z](?![A-Za-z])|[A-Z]{2,}")
_ALTERNATIVES = re.compile(r"\b(?:or|and|either|not|nor)\b\s*\(?[A-Z]\b", re.I)


def read_letters(text: str) -> str:
    """The letters chosen, in upper case and alphabetical order; empty if that is not clear.

    ``(A)``, ``A.``, ``A) 12``, ``A: because``, ``Option A``, ``a``; for several: ``A, C``, ``AC``.
    """
    text = tidy(text)[:400]
    if match := _LEAD.match(text):
        text = text[match.end() :].strip()
    if match := _ONE.fullmatch(text):
        return match[1].upper()
    if _SEVERAL.fullmatch(text):
        letters = "".join(_LETTERS.findall(text.replace(" and ", ",")))
        return "".join(sorted(letters)) if len(set(letters)) == len(letters) else ""
    if (match := _WITH_TEXT.fullmatch(text)) and not _ALTERNATIVES.search(text):
        return match[1] or match[2] or match[3]
    return ""
