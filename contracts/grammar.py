r"""The one grammar of answers and verdicts.

What a prompt asks for (``ASK_*``) is what the parser reads (``last_boxed``, ``read_verdict``),
in training, evaluation and test-time scaling. Tolerance is data: the tables below, which
docs/grading.md shows.
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
    YES: ("yes", "correct", "right", "true", "it is correct", "the answer is correct"),
    NO: (
        "no",
        "incorrect",
        "wrong",
        "false",
        "not correct",
        "it is incorrect",
        "it is not correct",
        "the answer is incorrect",
        "the answer is not correct",
        "the answer is wrong",
    ),
    FIRST: ("a", "answer a", "option a", "first", "first answer", "the first", "a is correct"),
    SECOND: ("b", "answer b", "option b", "second", "second answer", "the second", "b is correct"),
}
"""Every writing that counts as a verdict, in lower case, after ``normalise_verdict``."""

VERDICT_ECHOES: dict[str, tuple[str, ...]] = {
    YES: VERDICT_WORDS[YES],
    NO: VERDICT_WORDS[NO],
    FIRST: ("correct", "right", "true", "yes"),
    SECOND: ("correct", "right", "true", "yes"),
}
"""What may stand behind a verdict and a comma or colon: ``A: Correct``, ``No, it is wrong``."""

VERDICT_WRAPPERS = ("text", "textbf", "textit", "mathrm", "mathbf", "mbox")
"""LaTeX commands that may stand around a verdict."""

VERDICT_EDGES = " \t\n\r.!:;,'\"`*$"
"""Characters that may stand before and behind a verdict. So may one pair of brackets."""

_BOX_COMMAND = BOX.removesuffix("{")
_MAX_WRAPPERS = 5
_WORD_TO_VERDICT = {word: verdict for verdict, words in VERDICT_WORDS.items() for word in words}
_TEXT_MACRO = re.compile(rf"\\(?:{'|'.join(VERDICT_WRAPPERS)})\s*\{{(.*)\}}", re.DOTALL)
_BRACKETED = re.compile(r"\(?([^()]*)\)|\[([^\[\]]*)\]")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_ECHO = re.compile(r"\s*[:,.;]\s*")


def last_boxed(text: str) -> str | None:
    r"""The contents of the last complete ``\boxed{...}``, braces balanced, stripped.

    ``\{`` and ``\}`` are text, not braces. None if there is no complete box, or an empty one.
    Linear in the length of ``text``.
    """
    end = len(text)
    while (start := text.rfind(_BOX_COMMAND, 0, end)) >= 0:
        brace = start + len(_BOX_COMMAND)
        while brace < end and text[brace].isspace():
            brace += 1
        if brace < end and text[brace] == "{":
            inside = _balanced(text, brace + 1, end)
            if inside is not None:
                return inside.strip() or None
        end = start
    return None


def _balanced(text: str, start: int, end: int) -> str | None:
    """``text[start:...]`` up to the brace that closes the one before ``start``."""
    depth = 1
    for match in _BRACE.finditer(text, start, end):
        brace = match[0]
        if brace == "{":
            depth += 1
        elif brace == "}":
            depth -= 1
            if depth == 0:
                return text[start : match.start()]
    return None


def normalise_verdict(word: str) -> str:
    r"""Lower case, without ``\text{}``, enclosing brackets and punctuation at the edges."""
    for _ in range(_MAX_WRAPPERS):
        before = word
        word = word.strip(VERDICT_EDGES)
        for wrapper in (_TEXT_MACRO, _BRACKETED):
            if match := wrapper.fullmatch(word):
                word = next(group for group in match.groups() if group is not None)
        if word == before:
            break
    return " ".join(word.lower().split())


def verdict_of(answer: str) -> str | None:
    """The verdict that the contents of a box stand for: ``yes``, ``no``, ``A``, ``B`` or None."""
    if len(answer) > LONGEST_VERDICT:
        return None
    word = normalise_verdict(answer)
    if word in _WORD_TO_VERDICT:
        return _WORD_TO_VERDICT[word]
    head, *echoes = _ECHO.split(word)
    verdict = _WORD_TO_VERDICT.get(normalise_verdict(head))
    if verdict is None or any(echo not in VERDICT_ECHOES[verdict] for echo in echoes):
        return None
    return verdict


def read_verdict(text: str) -> str | None:
    r"""The verdict in the last box of ``text``: ``yes``, ``no``, ``A``, ``B`` or None."""
    inside = last_boxed(text)
    return None if inside is None else verdict_of(inside)
