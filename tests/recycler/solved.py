"""Verified solve groups, made by a policy of known accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from contracts.types import Completion, Finish, Grade, Group, Reason, Task, VersionSpan
from recycler.recycle import solve_prompt

NO_TOKENS = np.zeros(0, dtype=np.int32)


def task(left: int, right: int, **changes: object) -> Task:
    name = f"{left}+{right}"
    fields = {"id": name, "question": name, "gold": str(left + right), **changes}
    return Task(**fields)  # type: ignore[arg-type]


def completion(name: str, text: str, finish: Finish = "stop") -> Completion:
    return Completion(
        id=name,
        tokens=np.zeros(3, dtype=np.int32),
        logprobs=np.zeros(3, dtype=np.float32),
        finish=finish,
        spans=(VersionSpan(0, 3, 1),),
        text=text,
    )


def group(of: Task, answers: Sequence[str], style: str = "terse") -> Group:
    """A group whose completions give ``answers``, graded by comparison with the gold answer."""
    grades = tuple(Grade(float(a == of.gold), a == of.gold, a, Reason.OK) for a in answers)
    return graded(of, [f"It is \\boxed{{{a}}}" for a in answers], grades, style)


def graded(of: Task, texts: Sequence[str], grades: Sequence[Grade], style: str = "terse") -> Group:
    prompt = solve_prompt(of, style)
    completions = tuple(completion(f"{prompt.id}#{i}", text) for i, text in enumerate(texts))
    return Group(prompt, NO_TOKENS, completions, tuple(grades))


def policy(accuracy: float, seed: int = 0, tasks: int = 32, samples: int = 8) -> list[Group]:
    """What a policy that is right with probability ``accuracy`` answers to ``tasks`` sums."""
    draw = np.random.default_rng(seed)
    groups = []
    for index in range(tasks):
        sum_ = task(10 + index, int(draw.integers(10, 100)))
        gold = int(sum_.gold)
        answers = [
            str(gold if draw.random() < accuracy else gold + int(draw.integers(1, 12)))
            for _ in range(samples)
        ]
        groups.append(group(sum_, answers))
    return groups
