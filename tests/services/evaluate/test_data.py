"""``--data``: every published form is known by its records, and every mistake is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.config import RunConfig
from contracts.errors import UserError
from services.evaluate.data import Dataset, Questions, load_data

CONFIG = RunConfig.model_validate({"tasks": {"held_out": 600}})
PAPERS = {"dataset": "MathVista", "problem": "x?", "answer": "A", "image_path": None}
BEST_OF_FOUR = {"id": "1", "prompt": "q", "chosen": ["a"], "rejected": ["b", "c", "d"]}
PAIR = {"query": "q", "response": ["a", "b"], "human_ranking": [1, 0]}

FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "gsm8k": ({"question": "How many?", "answer": "2 + 2 = 4\n#### 1,004"}, "1004"),
    "svamp": ({"Body": "Two.", "Question": "How many?", "Answer": 2.0}, "2"),
    "math500": ({"problem": "x?", "answer": r"\frac{1}{2}", "unique_id": "t/1"}, r"\frac{1}{2}"),
    "aime": ({"ID": "2024-I-1", "Problem": "x?", "Answer": 204}, "204"),
    "amc": ({"id": 3, "problem": "x?", "answer": 27.0, "url": ""}, "27"),
    "plain": ({"question": "x?", "answer": "blue"}, "blue"),
}


def write(path: Path, *records: dict[str, Any]) -> str:
    text = "".join(json.dumps(record) + "\n" for record in records)
    path.write_text(text if path.suffix == ".jsonl" else json.dumps(list(records)))
    return str(path)


def only(given: str, **options: Any) -> Dataset:
    (found,) = load_data(given, CONFIG, **options)
    return found


@pytest.mark.parametrize("ending", ["jsonl", "json"])
@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_known_by_its_records(form: str, ending: str, tmp_path: Path) -> None:
    record, gold = FORMS[form]
    found = only(write(tmp_path / f"test.{ending}", record))
    assert [task.gold for task in found.tasks] == [gold]
    assert found.preferences == ()


@pytest.mark.parametrize("form", [form for form in FORMS if form != "plain"])
def test_a_form_may_be_named(form: str, tmp_path: Path) -> None:
    record, gold = FORMS[form]
    found = only(f"{form}={write(tmp_path / 'test.jsonl', record)}")
    assert (found.name, [task.gold for task in found.tasks]) == (form, [gold])


def test_a_file_of_several_benchmarks_is_several_data_sets(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").touch()
    seen = {**PAPERS, "dataset": "MathVerse", "image_path": "images/1.png"}
    found = load_data(write(tmp_path / "benchmark_combine.json", PAPERS, seen), CONFIG)
    assert [(one.name, one.images) for one in found] == [("MathVista", False), ("MathVerse", True)]


def test_images_may_be_in_another_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1.png").touch()
    data = write(tmp_path / "b.json", {**PAPERS, "image_path": "1.png"})
    with pytest.raises(UserError, match="no such image"):
        load_data(data, CONFIG)
    found = only(data, images=tmp_path / "elsewhere")
    assert found.tasks[0].images == (str(tmp_path / "elsewhere" / "1.png"),)


@pytest.mark.parametrize("record", [BEST_OF_FOUR, PAIR])
def test_reward_benchmarks_are_preferences(record: dict[str, Any], tmp_path: Path) -> None:
    found = only(write(tmp_path / "bench.jsonl", record))
    assert found.tasks == ()
    assert len(found.preferences) == 1


def test_held_out_tasks_are_those_of_the_run() -> None:
    held_out, sums = only("held-out"), only("arithmetic")
    assert held_out == sums
    assert len(held_out.tasks) == 600
    assert "What" not in held_out.tasks[0].question
    natural = RunConfig.model_validate({"model": {"name": "x"}, "recycle": {"style": "natural"}})
    (worded,) = load_data("arithmetic", natural)
    assert worded.tasks[0].question.startswith("What is ")


def test_a_limit_takes_the_same_tasks_whatever_their_order(tmp_path: Path) -> None:
    records = [{"id": n, "problem": f"{n}?", "answer": n, "url": ""} for n in range(40)]
    few = only(write(tmp_path / "a.jsonl", *records), limit=7)
    turned = only(write(tmp_path / "b.jsonl", *records[::-1]), limit=7)
    assert [task.id for task in few.tasks] == [task.id for task in turned.tasks][::-1]
    assert len(few.tasks) == 7
    assert few.tasks != only(str(tmp_path / "a.jsonl")).tasks[:7]


def test_a_grader_may_be_named(tmp_path: Path) -> None:
    data = write(tmp_path / "a.jsonl", {"question": "x?", "answer": "B"})
    questions = Questions((data,), verifier="choice")
    assert [task.verifier for task in questions.of(CONFIG)[0].tasks] == ["choice"]


def test_what_is_not_there_is_said_with_what_there_is() -> None:
    with pytest.raises(UserError, match=r"--data gsm8k: .*\n.*NAME=FILE.*rewardbench2"):
        load_data("gsm8k", CONFIG)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(UserError, match="no task in it"):
        load_data(str(tmp_path / "a.jsonl"), CONFIG)


SHARED = Path("../shared/data")


@pytest.mark.parametrize(
    ("file", "name", "count"),
    [("gsm8k/train.jsonl", "gsm8k", 7473), ("svamp/SVAMP.json", "svamp", 1000)],
)
def test_the_real_files_where_they_are(file: str, name: str, count: int) -> None:
    path = SHARED / file
    if not path.is_file():
        pytest.skip("the published file is not on this machine")
    found = only(str(path))
    assert (found.name, len(found.tasks)) == (name, count)
