"""Held-out scores: what counts as a trial, and what the bank of candidates holds."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.types import (
    Candidate,
    Completion,
    Grade,
    Group,
    GroupSummary,
    Objective,
    Prompt,
    Reason,
    Task,
    VersionSpan,
)
from recycler.recycle import pairwise_prompt, pointwise_prompt, reflect_prompt, solve_prompt
from services.evaluation import bank_entry, judge_prompts, scores_of, verdicts

TASK = Task("2+2", "2+2", "4")
OTHER = Task("3+3", "3+3", "6")


def candidate(task: Task, answer: str) -> Candidate:
    return Candidate(task, f"{task.id}#{answer}", answer, f"so {answer}", answer == task.gold)


def summary(prompt: Prompt, answer: str | None, *, correct: bool) -> GroupSummary:
    completion = Completion(
        id=f"{prompt.id}/0",
        tokens=np.zeros(2, np.int32),
        logprobs=np.zeros(2, np.float32),
        finish="stop",
        spans=(VersionSpan(0, 2, 3),),
        text="",
    )
    grade = Grade(float(correct), correct, answer, Reason.OK if answer else Reason.NO_ANSWER)
    return GroupSummary.of(Group(prompt, np.zeros(4, np.int32), (completion,), (grade,)))


def group(texts: dict[str, bool], finish: Reason = Reason.OK) -> Group:
    prompt = solve_prompt(TASK, "terse")
    completions = tuple(
        Completion(
            f"{prompt.id}/{i}",
            np.zeros(1, np.int32),
            np.zeros(1, np.float32),
            "stop",
            (VersionSpan(0, 1, 0),),
            answer,
        )
        for i, answer in enumerate(texts)
    )
    grades = tuple(Grade(float(right), right, text, finish) for text, right in texts.items())
    return Group(prompt, np.zeros(1, np.int32), completions, grades)


def test_every_score_counts_its_own_trials() -> None:
    right, wrong = candidate(TASK, "4"), candidate(TASK, "5")
    summaries = [
        summary(solve_prompt(TASK, "terse"), "4", correct=True),
        summary(solve_prompt(OTHER, "terse"), "5", correct=False),
        summary(pointwise_prompt(right, "terse"), "Yes", correct=True),
        summary(pointwise_prompt(wrong, "terse"), "Yes", correct=False),
        summary(pointwise_prompt(wrong, "terse"), "No", correct=True),
        summary(pairwise_prompt(right, wrong, "terse", right_first=True), "B", correct=False),
        summary(reflect_prompt(wrong, "terse"), "4", correct=True),
        summary(reflect_prompt(right, "terse"), "7", correct=False),
    ]
    found = {name: (score.value, score.n) for name, score in scores_of(summaries).items()}
    assert found == {
        "policy_accuracy": (0.5, 2),
        "judge_accuracy": (0.75, 3),
        "judge_true_positive_rate": (1.0, 1),
        "judge_true_negative_rate": (0.5, 2),
        "judge_yes_rate": (pytest.approx(2 / 3), 3),
        "pairwise_accuracy": (0.0, 1),
        "reflection_fix_rate": (1.0, 1),
        "reflection_keep_rate": (0.0, 1),
    }


def test_a_judge_that_always_says_yes_is_no_better_than_chance() -> None:
    right, wrong = candidate(TASK, "4"), candidate(TASK, "5")
    always = [summary(pointwise_prompt(right, "terse"), "Yes", correct=True)] * 9
    always += [summary(pointwise_prompt(wrong, "terse"), "Yes", correct=False)]
    scores = scores_of(always)
    assert scores["judge_accuracy"].value == 0.5
    assert scores["judge_yes_rate"].value == 1.0


def test_nothing_measured_is_no_score() -> None:
    assert {score.value for score in scores_of([]).values()} == {None}


def test_verdicts_leave_out_what_is_none() -> None:
    prompt = pointwise_prompt(candidate(TASK, "4"), "terse")
    said = [summary(prompt, answer, correct=False) for answer in ("Yes.", None, "maybe", "no")]
    assert verdicts(said) == [True, False]


def test_judge_prompts_are_balanced_and_never_repeat() -> None:
    tasks = [Task(f"{i}+1", f"{i}+1", str(i + 1)) for i in range(21)]
    entries = [bank_entry(of_task(task, right=i % 3 != 0), 0, 64) for i, task in enumerate(tasks)]
    prompts = judge_prompts(entries, "terse", 0)
    labels = [p.label for p in prompts if p.objective is Objective.POINTWISE]
    assert labels.count("yes") == labels.count("no") > 0
    positions = [p.label for p in prompts if p.objective is Objective.PAIRWISE]
    assert abs(positions.count("A") - positions.count("B")) <= 1
    assert len({p.id for p in prompts}) == len(prompts)
    shown = [p.shown_correct for p in prompts if p.objective is Objective.REFLECT]
    assert {(True,), (False,)} == set(shown)


def of_task(task: Task, *, right: bool) -> Group:
    made = group({"wrong": False} | ({task.gold: True} if right else {}))
    prompt = solve_prompt(task, "terse")
    completions = tuple(
        Completion(f"{prompt.id}/{i}", c.tokens, c.logprobs, c.finish, c.spans, c.text)
        for i, c in enumerate(made.completions)
    )
    return Group(prompt, made.prompt_tokens, completions, made.grades)


def test_the_bank_holds_what_the_verifier_could_read() -> None:
    entry = bank_entry(group({"4": True, "5": False}), 0, 64)
    assert entry.right is not None
    assert entry.wrong is not None
    assert (entry.right.answer, entry.wrong.answer) == ("4", "5")
    unread = bank_entry(group({"4": True, "5": False}, Reason.TRUNCATED), 0, 64)
    assert (unread.right, unread.wrong) == (None, None)


def test_the_bank_is_the_same_for_the_same_seed() -> None:
    many = group({str(i): i == 4 for i in range(8)})
    chosen = {bank_entry(many, 7, 64).wrong for _ in range(5)}
    assert len(chosen) == 1
    assert len({bank_entry(many, seed, 64).wrong for seed in range(20)}) > 1
