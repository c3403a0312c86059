"""Judge metrics: every figure against counts made by hand, and what a habit of the judge does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.types import (
    Candidate,
    Completion,
    Grade,
    Group,
    GroupSummary,
    Prompt,
    Reason,
    Task,
    VersionSpan,
)
from recycler.prompts import pairwise_prompt, pointwise_prompt, reflect_prompt
from services.evaluate.judging import judge_record, rate
from services.evaluation import BankEntry, joined, judge_prompts, pair_prompts
from services.records import EvaluationRecord, JudgeRecord


def candidates(number: int) -> tuple[Candidate, Candidate]:
    """A right and a wrong answer to a task of that number."""
    task = Task(f"{number}+1", f"{number}+1", str(number + 1))
    return (
        Candidate(task, f"{task.id}#0", task.gold, "", True),
        Candidate(task, f"{task.id}#1", str(number + 7), "", False),
    )


def answered(prompt: Prompt, *answers: str | None) -> GroupSummary:
    """A prompt with completions that were read as ``answers``."""
    tokens, logprobs = np.zeros(2, np.int32), np.zeros(2, np.float32)
    completions = tuple(
        Completion(f"{prompt.id}/{i}", tokens, logprobs, "stop", (VersionSpan(0, 2, 0),), "")
        for i in range(len(answers))
    )
    grades = tuple(
        Grade(
            float(answer == prompt.label),
            answer == prompt.label,
            answer,
            Reason.OK if answer else Reason.NO_ANSWER,
        )
        for answer in answers
    )
    return GroupSummary.of(Group(prompt, tokens, completions, grades))


def test_rates_are_those_counted_by_hand() -> None:
    said = []
    for number, (on_right, on_wrong) in enumerate(
        [("yes", "no"), ("yes", "yes"), ("no", "no"), (None, "no")]
    ):
        right, wrong = candidates(number)
        said += [
            answered(pointwise_prompt(right, "terse"), on_right),
            answered(pointwise_prompt(wrong, "terse"), on_wrong),
        ]
    record = judge_record(said)
    assert (record.candidates, record.verdicts, record.unread) == (8, 8, 1)
    assert record.true_positive_rate.value == 0.5
    assert record.false_positive_rate.value == 0.25
    assert record.balanced_accuracy.value == pytest.approx((0.5 + 0.75) / 2)
    assert record.yes_rate.value == pytest.approx(3 / 7)
    assert record.calibration_error is None


@pytest.mark.parametrize("habit", ["yes", "no"])
def test_a_judge_with_a_habit_is_at_chance(habit: str) -> None:
    said = [answered(pointwise_prompt(c, "terse"), habit) for n in range(9) for c in candidates(n)]
    record = judge_record(said)
    assert record.balanced_accuracy.value == 0.5
    assert record.yes_rate.value == float(habit == "yes")


def test_calibration_is_measured_from_repeated_verdicts() -> None:
    said = []
    for number in range(4):
        right, wrong = candidates(number)
        said += [
            # Three quarters of yes, and always right; a quarter of yes, and always wrong.
            answered(pointwise_prompt(right, "terse"), "yes", "yes", "yes", "no"),
            answered(pointwise_prompt(wrong, "terse"), "no", "no", "no", "yes"),
        ]
    record = judge_record(said)
    assert record.verdicts == 32
    assert record.calibration_error == pytest.approx(0.25)
    assert [(b.confidence, b.accuracy.value, b.accuracy.n) for b in record.reliability] == [
        (0.25, 0.0, 4),
        (0.75, 1.0, 4),
    ]


def test_a_judge_that_is_sure_and_right_has_no_calibration_error() -> None:
    said = [
        answered(pointwise_prompt(c, "terse"), *["yes" if c.correct else "no"] * 3)
        for n in range(5)
        for c in candidates(n)
    ]
    assert judge_record(said).calibration_error == 0


def test_consistency_is_of_the_same_answer_not_of_the_same_letter() -> None:
    said = []
    choices = [("A", "B"), ("B", "A"), ("A", "A"), (None, "B")]
    for number, (right_first, wrong_first) in enumerate(choices):
        right, wrong = candidates(number)
        one = pairwise_prompt(right, wrong, "terse", right_first=True)
        other = pairwise_prompt(right, wrong, "terse", right_first=False)
        said += [answered(one, right_first), answered(other, wrong_first)]
    record = judge_record(said)
    # The right one twice, the wrong one twice, the first place twice, and one not read.
    assert record.pairwise_consistency.value == 0.5
    assert record.pairwise_accuracy.value == pytest.approx((1 + 0 + 0.5 + 0.5) / 4)
    assert record.pairwise_first_rate.value == pytest.approx(4 / 7)


def test_reflections_fix_keep_and_break() -> None:
    said = []
    for number in range(4):
        right, wrong = candidates(number)
        kept = right.task.gold if number else None
        fixed = right.task.gold if number > 2 else "0"
        said += [
            answered(reflect_prompt(right, "terse"), kept),
            answered(reflect_prompt(wrong, "terse"), fixed),
        ]
    record = judge_record(said)
    shares = (record.reflection_fix, record.reflection_keep, record.reflection_break)
    assert [share.value for share in shares] == [0.25, 0.75, 0.25]


def test_both_orders_of_a_bank_differ_in_the_order_alone() -> None:
    entries = [BankEntry(right.task, right, wrong) for right, wrong in map(candidates, range(7))]
    for style in ("terse", "natural", "worked"):
        asked = [p for p in judge_prompts(entries, style, 3) if p.objective == "pairwise"]
        turned = pair_prompts(entries, style, 3, 1)
        assert [p.parents[::-1] for p in asked] == [p.parents for p in turned]
        assert [p.template for p in asked] == [p.template for p in turned]
        assert all(a.label != b.label for a, b in zip(asked, turned, strict=True))


def test_later_verdicts_join_the_first() -> None:
    right, wrong = candidates(1)
    one, other = pointwise_prompt(right, "terse"), pointwise_prompt(wrong, "terse")
    found = joined([answered(one, "yes"), answered(other, "no"), answered(one, "no", None)])
    assert [summary.extracted for summary in found] == [("yes", "no", None), ("no",)]
    assert [summary.correct for summary in found] == [(True, False, False), (True,)]


def test_nothing_asked_is_nothing_measured() -> None:
    assert judge_record([]) == JudgeRecord()


def test_evaluations_of_before_judge_records_can_be_read() -> None:
    old = '{"mode": "greedy", "scores": {}, "step": 3, "tasks": 8}'
    assert EvaluationRecord.model_validate_json(old).judge == {}


def test_a_record_comes_back_from_its_line() -> None:
    said = [
        answered(pointwise_prompt(c, "terse"), "yes", "no") for n in range(4) for c in candidates(n)
    ]
    record = EvaluationRecord(
        step=1, mode="sampled", tasks=4, scores={}, judge={"fixed": judge_record(said)}
    )
    assert EvaluationRecord.model_validate_json(record.line()) == record


@given(st.lists(st.lists(st.booleans(), max_size=4), max_size=12))
def test_a_rate_is_within_its_interval(trials: list[list[bool]]) -> None:
    score = rate(trials)
    if not any(trials):
        assert score.value is None
        return
    assert score.value is not None
    assert score.low is not None
    assert score.high is not None
    assert 0 <= score.low <= score.value <= score.high <= 1
