"""Rollouts in a file, as ``coevolve recycle`` reads them: into graded groups.

One line per rollout::

    {"task": {"id": "t1", "question": "What is 2 + 2?", "gold": "4"}, "response": "\\\\boxed{4}"}

``task`` may have a ``verifier`` (math) and ``images``. The line may have a ``finish`` (stop,
length, abort), a ``grade`` as ``coevolve grade`` writes it (graded here otherwise), and an
``id`` of the completion. Lines with the same task id are one group, wherever they stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from actors.grade_file import VERIFIER, check_verifier, json_object
from actors.graders.processes import GraderProcesses, Question
from actors.graders.registry import settle
from contracts.errors import UserError
from contracts.types import Completion, Finish, Grade, Group, Reason, Task
from recycler.recycle import solve_prompt

Text = Annotated[str, Field(min_length=1)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class TaskRow(_Row):
    """``contracts.types.Task`` in a file."""

    id: Text
    question: Text
    gold: Text
    verifier: Text = VERIFIER
    images: list[Text] = []

    def task(self) -> Task:
        """The task it stands for."""
        return Task(self.id, self.question, self.gold, self.verifier, tuple(self.images))


class GradeRow(_Row):
    """``contracts.types.Grade`` in a file."""

    reward: float
    correct: bool
    extracted: str | None
    reason: Literal["ok", "no_answer", "truncated", "timeout", "error"]

    def grade(self) -> Grade:
        """The grade it stands for."""
        return Grade(self.reward, self.correct, self.extracted, Reason(self.reason))


class RolloutRow(_Row):
    """A rollout in a file."""

    task: TaskRow
    response: str
    finish: Finish = "stop"
    grade: GradeRow | None = None
    id: Text | None = None


@dataclass(frozen=True, slots=True)
class _Ungraded:
    task: Task
    completions: list[Completion]
    grades: list[Grade | None]
    where: str


def read_groups(
    lines: Iterable[str], where: str, style: str, processes: GraderProcesses
) -> list[Group]:
    """The groups of a file's rollouts, in the order in which their tasks first appear.

    Args:
        lines: the lines, all of which are checked before anything is graded.
        where: name of the file, for messages.
        style: wording of the solve prompts.
        processes: grades the rollouts that have no grade.

    Raises:
        UserError: a line is no rollout, an id is given twice, or two lines give one task id
            to different tasks. Names the line and the field.
    """
    ungraded = _by_task(_rows(lines, where))
    questions = [_question(group) for group in ungraded]
    return [
        _group(group, style, iter(grades))
        for group, grades in zip(ungraded, processes.grade_many(questions), strict=True)
    ]


def _rows(lines: Iterable[str], where: str) -> Iterator[tuple[str, RolloutRow]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            place = f"{where}:{number}"
            yield place, _row(line, place)


def _row(line: str, where: str) -> RolloutRow:
    fields = json_object(line, where)
    if "task" not in fields and {"objective", "prompt", "completion"} <= fields.keys():
        raise UserError(
            "this is a record of a run, written to be read: question and verifier are not in it",
            where=where,
            remedy="see docs/recycling.md for lines that can be recycled",
        )
    try:
        row = RolloutRow.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{field!r}: {first['msg']}",
            where=where,
            remedy='a line is {"task": {"id": ..., "question": ..., "gold": ...}, "response": ...}',
        ) from error
    check_verifier(row.task.verifier, row.task.gold, where)
    return row


def _by_task(rows: Iterable[tuple[str, RolloutRow]]) -> list[_Ungraded]:
    groups: dict[str, _Ungraded] = {}
    seen: dict[str, str] = {}
    for where, row in rows:
        task = row.task.task()
        group = groups.setdefault(task.id, _Ungraded(task, [], [], where))
        if group.task != task:
            raise UserError(
                f"task {task.id!r} is another one at {group.where}",
                where=where,
                remedy="give each task an id of its own",
            )
        completion = _completion(row, f"{task.id}/solve#{len(group.completions)}")
        if completion.id in seen:
            raise UserError(
                f"id {completion.id!r} was given before, at {seen[completion.id]}", where=where
            )
        seen[completion.id] = where
        group.completions.append(completion)
        group.grades.append(row.grade.grade() if row.grade else None)
    return list(groups.values())


def _completion(row: RolloutRow, name: str) -> Completion:
    return Completion(
        id=row.id or name,
        tokens=np.zeros(0, np.int32),
        logprobs=np.zeros(0, np.float32),
        finish=row.finish,
        spans=(),
        text=row.response,
    )


def _question(group: _Ungraded) -> Question:
    texts = [
        completion.text
        for completion, grade in zip(group.completions, group.grades, strict=True)
        if grade is None
    ]
    return Question(group.task.verifier, group.task.gold, tuple(texts))


def _group(group: _Ungraded, style: str, fresh: Iterator[Grade]) -> Group:
    grades: Sequence[Grade] = [
        grade or settle(next(fresh), completion)
        for grade, completion in zip(group.grades, group.completions, strict=True)
    ]
    prompt = solve_prompt(group.task, style)
    return Group(prompt, np.zeros(0, np.int32), tuple(group.completions), tuple(grades))
