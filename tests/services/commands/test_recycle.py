"""``coevolve recycle`` as it is called: rollouts in, prompts out, a summary beside them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services.cli import app


def rollout(left: int, answer: int | None, **more: Any) -> dict[str, Any]:
    task = {"id": f"t{left}", "question": f"What is {left} + 1?", "gold": str(left + 1)}
    text = "I do not know." if answer is None else rf"So \boxed{{{answer}}}."
    return {"task": task, "response": text, **more}


ROWS = [
    rollout(1, 2),
    rollout(1, 3),
    rollout(2, 3),
    rollout(2, None),
    rollout(2, 9, finish="length"),
    rollout(3, 4),
    rollout(1, 5),
]


def run(path: Path, rows: list[dict[str, Any]], *arguments: str) -> Any:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return CliRunner().invoke(app, ["recycle", str(path), *arguments])


def prompts_of(result: Any) -> list[dict[str, Any]]:
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_rollouts_become_prompts_whose_labels_are_their_grades(tmp_path: Path) -> None:
    result = run(tmp_path / "r.jsonl", ROWS)
    prompts = prompts_of(result)
    assert {p["objective"] for p in prompts} == {"pointwise", "pairwise", "reflect"}
    for prompt in prompts:
        truth = str(int(prompt["task"][1:]) + 1)
        verdicts = [shown == truth for shown in prompt["shown"]]
        assert prompt["shown_correct"] == verdicts
        expected = {
            "pointwise": "yes" if verdicts[0] else "no",
            "pairwise": "AB"[verdicts.index(True)] if any(verdicts) else None,
            "reflect": truth,
        }
        assert prompt["label"] == expected[prompt["objective"]]
        assert all(shown in prompt["messages"][-1]["content"] for shown in prompt["shown"])
    labels = Counter(p["label"] for p in prompts if p["objective"] == "pointwise")
    assert labels["yes"] == labels["no"] == 2
    assert "9" not in {shown for p in prompts for shown in p["shown"]}, "truncated: no label"


def test_the_summary_counts_what_went_in_and_what_came_out(tmp_path: Path) -> None:
    result = run(tmp_path / "r.jsonl", ROWS)
    assert "7 rollouts of 3 tasks: 1 no_answer, 5 ok, 1 truncated.\n" in result.stderr
    assert "5 may be shown: 3 right, 2 wrong; 1 tasks have both.\n" in result.stderr
    rows = {line.split()[0]: line.split() for line in result.stderr.splitlines()[2:]}
    counts = Counter(p["objective"] for p in prompts_of(result))
    assert {name: int(rows[name][1]) for name in counts} == counts
    assert {name: int(rows[name][2]) for name in counts} == {
        "pointwise": 32,
        "pairwise": 16,
        "reflect": 8,
    }


def test_overrides_configurations_and_seeds(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    some = prompts_of(run(path, ROWS, "recycle.pairwise=0", "recycle.reflect=0"))
    assert {p["objective"] for p in some} == {"pointwise"}
    terse = prompts_of(run(path, ROWS, "--config", "demo"))
    assert {p["template"].rpartition("-")[0] for p in terse} == {
        "terse-point",
        "terse-pair",
        "terse-reflect",
    }
    assert prompts_of(run(path, ROWS, "seed=1")) == prompts_of(run(path, ROWS, "seed=1"))
    assert prompts_of(run(path, ROWS, "seed=1")) != prompts_of(run(path, ROWS, "seed=2"))
    assert prompts_of(run(path, ROWS, "recycle.enabled=false")) == []


def test_a_grade_that_is_given_stands(tmp_path: Path) -> None:
    grade = {"reward": 1.0, "correct": True, "extracted": "3", "reason": "ok"}
    rows = [rollout(1, 3, grade=grade), rollout(1, 5)]
    prompts = prompts_of(run(tmp_path / "r.jsonl", rows, "recycle.reflect=0"))
    assert {tuple(p["shown"]): p["label"] for p in prompts if len(p["shown"]) == 1} == {
        ("3",): "yes",
        ("5",): "no",
    }


def test_a_task_may_bring_its_verifier_and_images(tmp_path: Path) -> None:
    rows = [rollout(1, 2), rollout(1, 3)]
    for row, letter in zip(rows, "AB", strict=True):
        row["task"] |= {"gold": "A", "verifier": "choice", "images": ["cat.png"]}
        row["response"] = rf"\boxed{{({letter})}}"
    prompts = prompts_of(run(tmp_path / "r.jsonl", rows))
    assert {p["label"] for p in prompts if p["objective"] == "pointwise"} == {"yes", "no"}
    for prompt in prompts:
        first, second = prompt["messages"][0]["content"]
        assert first == {"type": "image", "image": "cat.png"}
        assert second["type"] == "text"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([], "this line is no JSON object"),
        ({"response": "x"}, "'task': Field required"),
        ({"task": {"id": "a"}, "response": "x"}, "'task.question': Field required"),
        (rollout(4, 5, finish="end"), "'finish': Input should be 'stop', 'length' or 'abort'"),
        (rollout(4, 5, grade={"reward": 1}), "'grade.correct': Field required"),
        (rollout(4, 5, id=""), "'id': String should have at least 1 character"),
        (rollout(4, 5, id="t1/solve#0"), "id 't1/solve#0' was given before, at"),
        (
            {"task": {"id": "t1", "question": "?", "gold": "1"}, "response": "x"},
            "task 't1' is another one at",
        ),
        (
            {"task": {"id": "a", "question": "?", "gold": "1", "verifier": "no"}, "response": ""},
            "'verifier': verifier 'no'",
        ),
        (
            {"step": 1, "objective": "solve", "prompt": "?", "completion": "x", "label": "1"},
            "this is a record of a run",
        ),
    ],
)
def test_a_line_that_is_no_rollout_is_named(tmp_path: Path, row: Any, said: str) -> None:
    result = run(tmp_path / "r.jsonl", [*ROWS, row])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"r.jsonl:8: {said}" in result.stderr


def test_nothing_in_gives_nothing_out(tmp_path: Path) -> None:
    result = run(tmp_path / "r.jsonl", [])
    assert prompts_of(result) == []
    assert "0 rollouts of 0 tasks" in result.stderr


def test_the_example_of_the_page_is_read(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "recycling.md"
    example = page.read_text().split("```json\n")[1].split("```")[0]
    path = tmp_path / "r.jsonl"
    path.write_text(example)
    result = CliRunner().invoke(app, ["recycle", str(path)])
    assert "4 rollouts of 2 tasks: 3 ok, 1 truncated." in result.stderr
    assert "3 may be shown: 2 right, 1 wrong; 1 tasks have both." in result.stderr
    assert {p["objective"] for p in prompts_of(result)} == {"pointwise", "pairwise", "reflect"}
