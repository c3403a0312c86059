"""One prompt of each objective, out of a task and graded candidates.

Used by the recycler, and by evaluation on a fixed set of candidates. Labels come from the
task and from the candidates' grades, never from a model.
"""

from __future__ import annotations

import hashlib

from contracts.grammar import FIRST, NO, SECOND, YES
from contracts.types import Candidate, Objective, Prompt, Task
from recycler.templates import STYLES, PromptTemplate

VERDICT_VERIFIER = "verdict"
"""The grader of judge prompts: it reads yes or no, A or B."""


def solve_prompt(task: Task, style: str, seed: int = 0) -> Prompt:
    """Ask for the answer to ``task``. Label: the gold answer."""
    prompt_id = f"{task.id}/solve"
    template = pick_template(style, Objective.SOLVE, prompt_id, seed)
    return Prompt(
        id=prompt_id,
        messages=template.render(task),
        objective=Objective.SOLVE,
        label=task.gold,
        verifier=task.verifier,
        task=task,
        template=template.id,
    )


def pointwise_prompt(
    candidate: Candidate, style: str, seed: int = 0, *, reasoning: bool = False
) -> Prompt:
    """Ask whether ``candidate`` is correct. Label: ``yes`` or ``no``, as it was graded.

    Both candidates of one task get the same wording, so that only the answer tells them apart.
    """
    template = pick_template(style, Objective.POINTWISE, candidate.task.id, seed)
    shown = _text_of(candidate, reasoning)
    return Prompt(
        id=f"{candidate.completion_id}/pointwise",
        messages=template.render(candidate.task, candidate=shown),
        objective=Objective.POINTWISE,
        label=YES if candidate.correct else NO,
        verifier=VERDICT_VERIFIER,
        task=candidate.task,
        template=template.id,
        parents=(candidate.completion_id,),
        shown=(shown,),
        shown_correct=(candidate.correct,),
    )


def pairwise_prompt(
    right: Candidate,
    wrong: Candidate,
    style: str,
    seed: int = 0,
    *,
    right_first: bool,
    reasoning: bool = False,
) -> Prompt:
    """Ask which of two candidates of one task is correct. Label: the right one's position.

    Both orders of one pair get the same wording, so that only the position tells them apart.

    Raises:
        ValueError: they are of two tasks, or not graded right and wrong.
    """
    if right.task.id != wrong.task.id or not right.correct or wrong.correct:
        raise ValueError(
            f"{right.completion_id} and {wrong.completion_id} are no right and wrong answer "
            "to one task"
        )
    first, second = (right, wrong) if right_first else (wrong, right)
    prompt_id = f"{first.completion_id}|{second.completion_id}/pairwise"
    pair = "|".join(sorted((right.completion_id, wrong.completion_id)))
    template = pick_template(style, Objective.PAIRWISE, pair, seed)
    shown = (_text_of(first, reasoning), _text_of(second, reasoning))
    return Prompt(
        id=prompt_id,
        messages=template.render(right.task, first=shown[0], second=shown[1]),
        objective=Objective.PAIRWISE,
        label=FIRST if right_first else SECOND,
        verifier=VERDICT_VERIFIER,
        task=right.task,
        template=template.id,
        parents=(first.completion_id, second.completion_id),
        shown=shown,
        shown_correct=(first.correct, second.correct),
    )


def reflect_prompt(
    candidate: Candidate, style: str, seed: int = 0, *, reasoning: bool = False
) -> Prompt:
    """Ask to keep ``candidate`` if it is right, to mend it if not. Label: the gold answer."""
    prompt_id = f"{candidate.completion_id}/reflect"
    template = pick_template(style, Objective.REFLECT, prompt_id, seed)
    shown = _text_of(candidate, reasoning)
    return Prompt(
        id=prompt_id,
        messages=template.render(candidate.task, candidate=shown),
        objective=Objective.REFLECT,
        label=candidate.task.gold,
        verifier=candidate.task.verifier,
        task=candidate.task,
        template=template.id,
        parents=(candidate.completion_id,),
        shown=(shown,),
        shown_correct=(candidate.correct,),
    )


def pick_template(style: str, objective: Objective, key: str, seed: int) -> PromptTemplate:
    """One of a style's wordings, the same for the same ``key`` and ``seed``, in every process."""
    templates = STYLES[style][objective]
    digest = hashlib.blake2b(f"{seed}/{objective}/{key}".encode(), digest_size=8).digest()
    return templates[int.from_bytes(digest, "big") % len(templates)]


def _text_of(candidate: Candidate, reasoning: bool) -> str:
    return candidate.reasoning if reasoning else candidate.answer
