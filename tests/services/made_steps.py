"""Steps and batches made of summaries, for tests that need no actor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.refs import GroupRef
from contracts.types import GroupSummary, Message, Objective, Prompt, Task, UpdateReport
from services.batches import Batch
from services.step import Step
from services.tasks.stream import StreamState

ABSENT: Any = None


def prompt(name: str, objective: Objective = Objective.SOLVE) -> Prompt:
    return Prompt(
        id=name,
        messages=(Message("user", name),),
        objective=objective,
        label="1",
        verifier="math",
        task=Task(name, name, "1"),
        template="test",
    )


def batch_of(
    summaries: Sequence[GroupSummary], number: int = 1, pending: Sequence[Prompt] = ()
) -> Batch:
    return Batch(
        number=number,
        step=number,
        ends_step=True,
        groups=[GroupRef(ABSENT, summary) for summary in summaries],
        prompts={s.prompt_id: prompt(s.prompt_id, s.objective) for s in summaries},
        recycled=list(pending),
        tasks=StreamState(epoch=0, position=0, seed=0, tasks=""),
        pending=tuple(pending),
        phases={"generate": 1.0},
    )


def step_of(summaries: Sequence[GroupSummary], report: UpdateReport, number: int = 1) -> Step:
    step = Step(number, ages=[0])
    step.add(batch_of(summaries, number), report, 0)
    return step
