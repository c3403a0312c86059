"""One spelling for one thing: what an answer looks like once layout and typography are gone.

The tables are the tolerance. Everything here is linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata

MAX_ANSWER = 2000
"""Longest answer, in characters, that is read at all, unless the gold answer is longer."""


def words(text: str) -> frozenset[str]:
    """The words of ``text``, for tables that one can read."""
    return frozenset(text.split())


CHARACTERS = {
    "−": "-",
    "–": "-",
    "—": "-",
    "×": r"\times ",
    "·": r"\cdot ",
    "⋅": r"\cdot ",
    "∙": r"\cdot ",
    "÷": "/",
    "∕": "/",
    "⁄": "/",
    "π": r"\pi ",
    "∞": r"\infty ",
    "√": r"\sqrt ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "≠": r"\ne ",
    "≈": r"\approx ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "∈": r"\in ",
    "±": r"\pm ",
    "°": r"^\circ ",
    "θ": r"\theta ",
    "α": r"\alpha ",
    "β": r"\beta ",
    "½": r"\frac{1}{2}",
    "⅓": r"\frac{1}{3}",
    "⅔": r"\frac{2}{3}",
    "¼": r"\frac{1}{4}",
    "¾": r"\frac{3}{4}",
    "⅕": r"\frac{1}{5}",
    "⅛": r"\frac{1}{8}",
    "∅": r"\emptyset ",
    "“": '"',
    "”": '"',
    "’": "'",
    "\u00a0": "~",
    "\u202f": "~",
    "\u2009": "~",
}
"""Characters of typography, and what they are here."""

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_SUPERSCRIPT_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")
_CHARACTER = re.compile("|".join(map(re.escape, CHARACTERS)))

COMMANDS = {
    "dfrac": r"\frac",
    "tfrac": r"\frac",
    "cfrac": r"\frac",
    "leq": r"\le ",
    "leqslant": r"\le ",
    "geq": r"\ge ",
    "geqslant": r"\ge ",
    "neq": r"\ne ",
    "lt": "<",
    "gt": ">",
    "lbrace": r"\{",
    "rbrace": r"\}",
    "lor": r"\vee ",
    "degree": r"^\circ ",
    "textdegree": r"^\circ ",
    "simeq": r"\approx ",
    "varnothing": r"\emptyset ",
    "ast": "*",
    "div": "/",
    "dots": "...",
    "ldots": "...",
    "cdots": "...",
}
"""LaTeX commands written in another way."""

LAYOUT = words(
    "left right big Big bigg Bigg bigl bigr Bigl Bigr displaystyle textstyle scriptstyle limits "
    "middle hfill normalsize large Large phantom"
)
"""LaTeX commands that change the look only."""

SPACES = words("quad qquad enspace thinspace hspace space")
"""LaTeX commands that are blanks."""

WRAPPERS = words(
    "text textbf textit textrm texttt textnormal mathrm mathbf mathit mathsf mathtt mbox "
    "operatorname boldsymbol bm emph underline"
)
"""Commands around a piece of text: the piece stays."""

_COMMAND = re.compile(r"\\([A-Za-z]+)")
_WRAPPED = re.compile(r"\\(" + "|".join(sorted(WRAPPERS, key=len, reverse=True)) + r")\s*\{")
_GROUPING = re.compile(r"(?<=\d)(?:\\[,!;: ]|~|\{,\})(?=\d{3}(?!\d))")
_EMPTY_SET = re.compile(r"\\\{\s*\\\}")
_SPACING = re.compile(r"(\\\\)|(\\!)|\\[,;:> ]|~")
_BLANKS = re.compile(r"\s+")


def tidy(text: str) -> str:
    """``text`` without layout, markup and typography; math delimiters and end stops gone."""
    if text.isascii() and text.isalnum():
        return text
    if not text.isascii():
        text = _ascii_maths(text)
    text = _undelimited(_unmarked(text.strip()))
    if "\\" in text or "~" in text or "{" in text:
        text = _latex(text)
    text = _BLANKS.sub(" ", text).strip()
    return _undelimited(text.rstrip(" .,;:"))


def _unmarked(text: str) -> str:
    """Without the Markdown for bold or code around all of it."""
    for mark in ("**", "`"):
        if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
            text = text[len(mark) : -len(mark)].strip()
    return text


def _ascii_maths(text: str) -> str:
    text = _SUPERSCRIPT_RUN.sub(lambda m: f"^{{{m[0].translate(_SUPERSCRIPTS)}}}", text)
    text = _CHARACTER.sub(lambda m: CHARACTERS[m[0]], text)
    return unicodedata.normalize("NFKC", text)


def _latex(text: str) -> str:
    text = _EMPTY_SET.sub(r"\\emptyset ", _GROUPING.sub("", text))
    text = _unwrapped(text)
    text = _SPACING.sub(lambda m: m[1] or ("" if m[2] else " "), text)
    return _COMMAND.sub(_command, text)


def _command(match: re.Match[str]) -> str:
    name = match[1]
    if name in LAYOUT:
        return ""
    if name in SPACES:
        return " "
    return COMMANDS.get(name, match[0])


def _unwrapped(text: str) -> str:
    r"""``\text{cm}`` and its like become `` cm ``. One pass with a stack, so linear."""
    if not _WRAPPED.search(text):
        return text
    out: list[str] = []
    wrapped: list[bool] = []
    i = 0
    while i < len(text):
        if match := _WRAPPED.match(text, i):
            out.append(" ")
            wrapped.append(True)
            i = match.end()
            continue
        char = text[i]
        if char == "\\":
            out.append(text[i : i + 2])
            i += 2
            continue
        if char == "{":
            wrapped.append(False)
        elif char == "}" and wrapped:
            char = " " if wrapped.pop() else "}"
        out.append(char)
        i += 1
    return "".join(out)


_DELIMITERS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"))


def _undelimited(text: str) -> str:
    """Without the dollar signs or brackets that mark all of it as mathematics."""
    for opening, closing in _DELIMITERS:
        inside = text[len(opening) : -len(closing)]
        if (
            len(text) > len(opening) + len(closing)
            and text.startswith(opening)
            and text.endswith(closing)
            and not inside.endswith("\\")
            and opening not in inside
        ):
            return inside.strip()
    return text
