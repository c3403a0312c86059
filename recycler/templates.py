"""How prompts are worded: solving, judging, reflecting, by style. Data, versioned by id.

A change of wording is a new id. ``$question``, ``$candidate``, ``$first``, ``$second`` are
filled in; what is asked for comes from ``contracts.grammar`` and from nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Template

from contracts.grammar import ASK_A_B, ASK_ANSWER, ASK_YES_NO
from contracts.types import ImagePart, Message, Objective, Task, TextPart


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """One wording. ``examples`` are worked examples shown before the question, as chat turns."""

    id: str
    text: str
    examples: tuple[Message, ...] = ()

    def render(self, task: Task, **shown: str) -> tuple[Message, ...]:
        """The chat messages of this wording for ``task``; its images come first.

        Args:
            task: the task asked about; its question fills ``$question``.
            shown: ``candidate``, or ``first`` and ``second``, where the wording has them.

        Raises:
            KeyError: the wording names something that was not given.
        """
        text = Template(self.text).substitute(question=task.question, **shown)
        if not task.images:
            return (*self.examples, Message("user", text))
        parts: tuple[TextPart | ImagePart, ...] = (
            *(ImagePart(path) for path in task.images),
            TextPart(text),
        )
        return (*self.examples, Message("user", parts))


Style = Mapping[Objective, tuple[PromptTemplate, ...]]

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

NATURAL: Style = {
    Objective.SOLVE: (PromptTemplate("solve-1", f"$question\nThink step by step. {ASK_ANSWER}"),),
    Objective.POINTWISE: (
        PromptTemplate(
            "point-1",
            "Question: $question\nProposed answer: $candidate\n"
            f"Is the proposed answer correct? Think step by step. {ASK_YES_NO}",
        ),
    ),
    Objective.PAIRWISE: (
        PromptTemplate(
            "pair-1",
            "Question: $question\nAnswer A: $first\nAnswer B: $second\n"
            f"One of the two is correct. Compare them step by step. {ASK_A_B}",
        ),
    ),
    Objective.REFLECT: (
        PromptTemplate(
            "reflect-1",
            "Question: $question\nProposed answer: $candidate\n"
            "Check the proposed answer. Keep it if it is right, mend it if it is wrong. "
            f"{ASK_ANSWER}",
        ),
    ),
}

STYLES: dict[str, Style] = {"terse": TERSE, "natural": NATURAL}
