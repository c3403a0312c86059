r"""The one grammar of answers and verdicts.

What a prompt asks for (``ASK_*``) is what the parser reads (``last_boxed``, ``read_verdict``),
in training, evaluation and test-time scaling. Tolerance is data: ``VERDICT_WORDS``.
"""

from __future__ import annotations

import re

BOX = r"\boxed{"

ASK_ANSWER = r"Put the final answer inside \boxed{}."
ASK_YES_NO = r"End with \boxed{Yes} if it is correct or \boxed{No} if it is not."
ASK_A_B = r"End with \boxed{A} or \boxed{B}, whichever answer is correct."

YES, NO, FIRST, SECOND = "yes", "no", "A", "B"

LONGEST_VERDICT = 40
"""A box with more characters than this is no verdict."""

VERDICT_WORDS: dict[str, tuple[str, ...]] = {
    YES: ("yes", "correct", "right", "true"),
    NO: ("no", "incorrect", "wrong", "false", "not correct"),
    FIRST: ("a", "answer a", "option a", "first"),
    SECOND: ("b", "answer b", "option b", "second"),
}
"""Every writing that counts as a verdict, in lower case, after ``normalise_verdict``."""

_WORD_TO_VERDICT = {word: verdict for verdict, words in VERDICT_WORDS.items() for word in words}
_TEXT_MACRO = re.compile(r"^\\(?:text|mathrm|textbf|mathbf|mbox)\s*\{(.*)\}$", re.DOTALL)


def last_boxed(text: str) -> str | None:
    r"""The contents of the last complete ``\boxed{...}``, braces balanced, stripped.

    ``\{`` and ``\}`` are text, not braces. None if there is no complete box, or an empty one.
    Linear in the length of ``text``.
    """
    end = len(text)
    while (start := text.rfind(BOX, 0, end)) >= 0:
        inside = _balanced(text, start + len(BOX), end)
        if inside is not None:
            return inside.strip() or None
        end = start
    return None


def _balanced(text: str, start: int, end: int) -> str | None:
    """``text[start:...]`` up to the brace that closes the one before ``start``."""
    depth = 1
    i = start
    while i < end:
        char = text[i]
        if char == "\\":
            i += 2
            continue
        if char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                return text[start:i]
        i += 1
    return None


def normalise_verdict(word: str) -> str:
    r"""Lower case, without ``\text{}``, surrounding brackets, and closing punctuation."""
    word = word.strip()
    while match := _TEXT_MACRO.match(word):
        word = match.group(1).strip()
    word = word.strip(" \t\n.!:;,'\"`*")
    if word.startswith("(") and word.endswith(")"):
        word = word[1:-1]
    return " ".join(word.lower().split())


def verdict_of(answer: str) -> str | None:
    """The verdict that the contents of a box stand for: ``yes``, ``no``, ``A``, ``B`` or None."""
    if len(answer) > LONGEST_VERDICT:
        return None
    return _WORD_TO_VERDICT.get(normalise_verdict(answer))


def read_verdict(text: str) -> str | None:
    r"""The verdict in the last box of ``text``: ``yes``, ``no``, ``A``, ``B`` or None."""
    inside = last_boxed(text)
    return None if inside is None else verdict_of(inside)
