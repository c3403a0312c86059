"""What a prompt template is: a wording with places to fill, under a name and a version."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from string import Template

from contracts.types import ImagePart, Message, Objective, Task, TextPart


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """One wording. ``examples`` are chat turns before the question: instructions, worked examples.

    ``$question``, ``$candidate``, ``$first`` and ``$second`` in ``text`` are filled in.
    ``version`` goes up by one with every change of ``text`` or ``examples``; a test keeps count.
    """

    name: str
    text: str
    examples: tuple[Message, ...] = ()
    version: int = 1

    @property
    def id(self) -> str:
        """Name and version, as prompts record them: ``point-1.v1``."""
        return f"{self.name}.v{self.version}"

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits of a hash of the wording: what a version stands for."""
        turns = [(message.role, message.text()) for message in self.examples]
        content = repr((self.text, turns)).encode()
        return hashlib.blake2b(content, digest_size=8).hexdigest()

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
