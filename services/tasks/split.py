"""The held-out part: the same in every run, and nothing in it is ever trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contracts.errors import UserError
from contracts.types import Task


@dataclass(frozen=True, slots=True)
class TaskSplit:
    """Tasks to train on, and tasks kept for evaluation. No question is in both."""

    train: Sequence[Task]
    held_out: Sequence[Task]


def question_key(task: Task) -> str:
    """What makes two tasks the same question: wording and images, case and spaces aside."""
    return "\n".join((" ".join(task.question.casefold().split()), *task.images))


def split_tasks(
    tasks: Sequence[Task],
    held_out: int,
    seed: int,
    *,
    key: Callable[[Task], str] = question_key,
    where: str = "",
) -> TaskSplit:
    """Keep ``held_out`` distinct questions back; the rest, without repetitions of them, is trained.

    Questions are chosen by a hash of their content and the seed: neither the order of a file
    nor a library's random numbers change what is held out.

    Args:
        tasks: all tasks.
        held_out: how many to keep back.
        seed: of the choice.
        key: tasks with equal keys are the same question.
        where: the source, for the error.

    Raises:
        UserError: too few distinct questions for that, and one to train on.
    """
    first: dict[str, Task] = {}
    for task in tasks:
        first.setdefault(key(task), task)
    if len(first) < held_out + 1:
        raise UserError(
            f"{len(first)} distinct questions are too few for {held_out} held out and at least "
            "one to train on",
            where=where,
            remedy=f"set tasks.held_out (and evaluation.tasks) to {len(first) - 1} or less, "
            "or give more tasks"
            if len(first) > 1
            else "give more tasks",
        )
    chosen = sorted(first, key=lambda content: _draw(seed, content))[:held_out]
    kept = set(chosen)
    return TaskSplit(
        train=tuple(task for task in tasks if key(task) not in kept),
        held_out=tuple(first[content] for content in chosen),
    )


def _draw(seed: int, content: str) -> bytes:
    text = f"{seed}/{content}".encode(errors="surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()
