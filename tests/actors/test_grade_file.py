from __future__ import annotations

import json

import pytest

from actors.grade_file import grade_rows, read_rows
from actors.graders.processes import GraderProcesses
from contracts.errors import UserError


def graded(*rows: dict) -> list[dict]:
    with GraderProcesses(workers=1, deadline=5.0) as processes:
        lines = [json.dumps(row) for row in rows]
        return list(grade_rows(read_rows(lines), processes))


def test_rows_come_back_in_order_with_their_grades():
    rows = [
        {"answer": "12", "response": r"\boxed{12}", "id": 1},
        {"answer": "yes", "response": r"\boxed{No}", "verifier": "verdict"},
        {"answer": "12", "response": "twelve", "verifier": "math"},
        {"answer": "x+1", "response": r"\boxed{1+x}"},
        {"answer": 0.5, "response": r"\boxed{1/2}"},
    ]
    out = graded(*rows)
    assert out[0] == {**rows[0], "reward": 1.0, "correct": True, "extracted": "12", "reason": "ok"}
    assert [row["correct"] for row in out] == [True, False, False, True, True]
    assert [row["reason"] for row in out] == ["ok", "ok", "no_answer", "ok", "ok"]
    assert json.loads(json.dumps(out)) == out


def test_more_rows_than_are_read_ahead_keep_their_order():
    rows = [{"answer": str(i % 7), "response": rf"\boxed{{{i % 5}}}", "i": i} for i in range(1000)]
    out = graded(*rows)
    assert [row["i"] for row in out] == list(range(1000))
    assert [row["correct"] for row in out] == [i % 7 == i % 5 for i in range(1000)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "data.jsonl:3: this line is not JSON"),
        ("[" * 100_000, "data.jsonl:3: this line is not JSON"),
        ("[1]", "data.jsonl:3: this line is no JSON object"),
        ('{"answer": "1"}', "the row has no 'response'"),
        ('{"response": "1"}', "the row has no 'answer'"),
        ('{"answer": null, "response": "1"}', "'answer' is no string: None"),
        ('{"answer": true, "response": "1"}', "'answer' is no string: True"),
        ('{"answer": "1", "response": "1", "verifier": 1}', "'verifier' is no string: 1"),
        ('{"answer": "1", "response": "1", "x": NaN}', "NaN is no number of JSON"),
        ('{"answer": ' + "9" * 5000 + ', "response": "1"}', "data.jsonl:3: this line is not JSON"),
        ('{"answer": "1", "response": "1", "verifier": "no"}', "data.jsonl:3: 'verifier'"),
        ('{"answer": "1", "response": "1", "verifier": "verdict"}', "'answer' is no verdict: '1'"),
    ],
)
def test_a_bad_line_is_named(line, message):
    lines = ['{"answer": "1", "response": "1"}', "", line]
    with pytest.raises(UserError) as caught:
        list(read_rows(lines, "data.jsonl"))
    assert message in str(caught.value)


def test_an_unknown_grader_is_a_user_error():
    with pytest.raises(UserError, match="'nope': there is no such grader"):
        graded({"answer": "1", "response": "1", "verifier": "nope"})
