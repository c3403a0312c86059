"""What a strategy may ask of a model, and what it gets back.

A strategy never learns whether a reply is right: grades stay with whoever answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from contracts.types import Task


@dataclass(frozen=True, slots=True)
class Cost:
    """What was spent: tokens of prompts, tokens sampled, prompts asked.

    A prompt that is sampled several times at once is read once.
    """

    prompt: int = 0
    generated: int = 0
    calls: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.prompt + other.prompt,
            self.generated + other.generated,
            self.calls + other.calls,
        )

    @property
    def tokens(self) -> int:
        """All tokens, read and sampled."""
        return self.prompt + self.generated


@dataclass(frozen=True, slots=True)
class Reply:
    """A completion that answers a question.

    ``answer`` is the string that a grader reads in it; None where there is none, or where the
    completion was cut off. ``tokens``: sampled. ``id`` is unique within an evaluation.
    """

    id: str
    text: str
    answer: str | None
    tokens: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """A pointwise judgement: yes, no, or None where neither could be read."""

    yes: bool | None
    tokens: int


T_co = TypeVar("T_co", Reply, Verdict, covariant=True)


@dataclass(frozen=True, slots=True)
class Asked(Generic[T_co]):
    """What came back for one prompt: as many completions as were asked for."""

    prompt_tokens: int
    replies: tuple[T_co, ...]

    @property
    def cost(self) -> Cost:
        """What it took."""
        generated = sum(reply.tokens for reply in self.replies)
        return Cost(self.prompt_tokens, generated, 1 if self.replies else 0)


@dataclass(frozen=True, slots=True)
class Shown:
    """A reply that is shown to the model that gave it, to be judged or reflected on."""

    task: Task
    reply: Reply


class Answerer(Protocol):
    """One model, asked in batches. Results are in the order of what was asked."""

    @property
    def deterministic(self) -> bool:
        """Whether the same prompt always gets the same completion (greedy)."""

    def solve(self, tasks: Sequence[Task], times: int) -> list[Asked[Reply]]:
        """Answer each task ``times`` times, each time from scratch."""

    def judge(self, shown: Sequence[Shown], times: int) -> list[Asked[Verdict]]:
        """Say of each reply, ``times`` times, whether it is right. All have an answer."""

    def reflect(self, shown: Sequence[Shown], times: int) -> list[Asked[Reply]]:
        """Look at each reply again and answer anew. All have an answer."""

    def face(self, reply: Reply) -> str:
        """What prompts show of a reply: two with the same face cannot be told apart by a judge."""

    def same(self, task: Task, left: str, right: str) -> bool:
        """Whether two answers to a task are the same to its grader."""
