"""What a prompt template is: a wording with places to fill, versioned by id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Template

from contracts.types import ImagePart, Message, Objective, Task, TextPart


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """One wording. ``examples`` are chat turns before the question: instructions, worked examples.

    ``$question``, ``$candidate``, ``$first`` and ``$second`` in ``text`` are filled in.
    """

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
"""The wordings of every objective. Which of several is used depends on the seed."""
