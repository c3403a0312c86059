"""How prompts are worded: solving, judging, reflecting, by style. Data, with versions.

A change of wording is a new version. What is asked for comes from ``contracts.grammar`` and from
nowhere else; ``terse`` alone asks for nothing, it is the language the tiny model grew up with.
"""

from __future__ import annotations

from contracts.types import Objective
from recycler.natural import NATURAL
from recycler.wording import PromptTemplate, Style
from recycler.worked import WORKED

__all__ = ["ALL_TEMPLATES", "NATURAL", "STYLES", "TERSE", "WORKED", "PromptTemplate", "Style"]

TERSE: Style = {
    Objective.SOLVE: (PromptTemplate("terse-solve-1", "Solve $question"),),
    Objective.POINTWISE: (
        PromptTemplate("terse-point-1", "Solve $question Proposed $candidate Correct?"),
    ),
    Objective.PAIRWISE: (
        PromptTemplate("terse-pair-1", "Solve $question A: $first B: $second Which is correct?"),
    ),
    Objective.REFLECT: (
        PromptTemplate("terse-reflect-1", "Solve $question Proposed $candidate Check and answer"),
    ),
}

STYLES: dict[str, Style] = {"terse": TERSE, "natural": NATURAL, "worked": WORKED}
"""Every style that ``recycle.style`` can name."""

ALL_TEMPLATES: dict[str, tuple[str, Objective, PromptTemplate]] = {
    template.name: (style, objective, template)
    for style, wordings in STYLES.items()
    for objective, templates in wordings.items()
    for template in templates
}
"""Style, objective and wording of every template by name. Names are unique across styles."""
