"""Benchmarks in the form in which they are published, in files written for this test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from actors.graders import grader
from contracts.errors import UserError
from contracts.types import Task
from services.tasks.presets import PRESETS
from services.tasks.published import read_benchmarks, read_published


def jsonl(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def parquet(path: Path, *records: dict[str, Any]) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(records)), path)
    return path


def graded(task: Task, answer: str) -> bool:
    return grader(task.verifier)(rf"\boxed{{{answer}}}", task.gold).correct


def test_math500(tmp_path: Path) -> None:
    records = [
        {
            "problem": r"Convert $(0,3)$ to polar coordinates $(r,\theta)$.",
            "solution": r"So \boxed{\left( 3, \frac{\pi}{2} \right)}.",
            "answer": r"\left( 3, \frac{\pi}{2} \right)",
            "subject": "Precalculus",
            "level": 2,
            "unique_id": "test/precalculus/1.json",
        },
        {
            "problem": "For which pairs is it so? List them.",
            "solution": "They are these.",
            "answer": "100,200",
            "subject": "Algebra",
            "level": 5,
            "unique_id": "test/algebra/2.json",
        },
    ]
    first, second = read_published("math500", jsonl(tmp_path / "test.jsonl", *records))
    assert (first.id, first.question) == ("test/precalculus/1.json", records[0]["problem"])
    assert graded(first, r"(3, \pi/2)")
    assert not graded(first, r"(\pi/2, 3)")
    assert second.gold == "100,200", "may be a list: left to the grader"


AIME = {
    "AI-MO": {"id": 60, "problem": "How many?", "solution": "So $33$.", "answer": "033", "url": ""},
    "HuggingFaceH4": {
        "id": 60, "problem": "How many?", "solution": "s", "answer": "033", "url": "", "year": 24
    },
    "math-ai": {"problem": "How many?", "answer": "33", "id": "60"},
    "Maxwell-Jia": {"ID": "60", "Problem": "How many?", "Solution": "So 33.", "Answer": 33},
    "opencompass": {"question": "How many?", "answer": "33"},
}  # fmt: skip


@pytest.mark.parametrize("publisher", AIME)
@pytest.mark.parametrize("write", [jsonl, parquet])
def test_aime(publisher: str, write: Any, tmp_path: Path) -> None:
    path = tmp_path / f"aime.{write.__name__}"
    (task,) = read_published("aime", write(path, AIME[publisher]))
    assert task.id == ("aime-1" if publisher == "opencompass" else "60")
    assert task.question == "How many?"
    assert graded(task, "33")
    assert graded(task, "033")
    assert not graded(task, "330")


def test_amc(tmp_path: Path) -> None:
    problem = {"id": 0, "problem": "What is the sum?", "answer": 142.0, "url": "https://x"}
    question = {"id": 0, "question": "What is the sum?", "answer": 142.0, "url": ""}
    for record in (problem, question):
        (task,) = read_published("amc", parquet(tmp_path / "amc.parquet", record))
        assert task == Task("0", "What is the sum?", "142")


def spark(image: str | None, dataset: str, answer: object) -> dict[str, Any]:
    return {"dataset": dataset, "problem": "What is x?", "answer": answer, "image_path": image}


def test_the_papers_multimodal_sets(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").touch()
    path = tmp_path / "benchmark_combine.json"
    records = [
        spark("images/1.png", "MathVista", "A"),
        spark(None, "MathVerse", 3.5),
        spark("./images/1.png", "MathVista", 12),
    ]
    path.write_text(json.dumps(records, indent=4))
    found = read_benchmarks("spark", path)
    image = str(tmp_path / "images" / "1.png")
    assert {name: [t.id for t in tasks] for name, tasks in found.items()} == {
        "MathVista": ["benchmark_combine-1", "benchmark_combine-3"],
        "MathVerse": ["benchmark_combine-2"],
    }
    assert [t.images for t in found["MathVista"]] == [(image,), (image,)]
    assert found["MathVerse"][0].images == ()
    assert [t.gold for t in found["MathVista"]] == ["A", "12"]
    assert graded(found["MathVista"][0], "(A)")
    assert not graded(found["MathVista"][0], "B")
    assert read_published("spark", path) == [
        found["MathVista"][0],
        found["MathVerse"][0],
        found["MathVista"][1],
    ]


def test_images_may_be_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "sets.json"
    path.write_text(json.dumps([spark("1.png", "MathVista", "A")]))
    with pytest.raises(UserError, match=r"record 1: no such image: .*1\.png"):
        read_published("spark", path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "1.png").touch()
    (task,) = read_published("spark", path, images=elsewhere)
    assert task.images == (str(elsewhere / "1.png"),)


def test_one_benchmark_is_called_by_its_preset(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "t.jsonl", {"question": "q", "answer": "#### 1,080"})
    (tasks,) = read_benchmarks("gsm8k", path).values()
    assert list(read_benchmarks("gsm8k", path)) == ["gsm8k"]
    assert [task.gold for task in tasks] == ["1080"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_file_of_another_form_is_named_with_its_place(name: str, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "t.jsonl", {"text": "x", "label": 1})
    with pytest.raises(UserError, match=r"line 1: no field .*; there are 'text', 'label'"):
        read_published(name, path)


def test_unknown_sets_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"aime25: no such published set\n.*math500"):
        read_published("aime25", tmp_path)
    with pytest.raises(UserError, match="no task in it"):
        read_published("aime", jsonl(tmp_path / "t.jsonl"))
    with pytest.raises(UserError, match="no such file"):
        read_published("aime", tmp_path / "none.jsonl")
