from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from contracts.config import FieldMapping, TaskConfig
from contracts.errors import UserError
from contracts.types import Task
from services.tasks import load_tasks
from services.tasks.split import TaskSplit

RECORDS = [{"question": f"What is {n} + 1?", "answer": n + 1} for n in range(6)]
DATA = Path("../shared/data")


def write_jsonl(path: Path, records: list[Any]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def write_json(path: Path, records: list[Any]) -> None:
    path.write_text(json.dumps(records))


def write_wrapped(path: Path, records: list[Any]) -> None:
    path.write_text(json.dumps({"version": 1, "data": records}, indent=1))


def write_parquet(path: Path, records: list[Any]) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)


def write_dataset(path: Path, records: list[Any]) -> None:
    datasets.Dataset.from_list(records).save_to_disk(str(path))


def write_parts(path: Path, records: list[Any]) -> None:
    parts = {"test": records[:1], "train": records}
    made = {name: datasets.Dataset.from_list(part) for name, part in parts.items()}
    datasets.DatasetDict(made).save_to_disk(str(path))


WRITERS = [
    ("jsonl", write_jsonl),
    ("json", write_json),
    ("json", write_wrapped),
    ("parquet", write_parquet),
    ("hf", write_dataset),
    ("hf", write_parts),
]


def load(source: str, path: Path, held_out: int = 1, **fields: Any) -> TaskSplit:
    config = TaskConfig.model_validate(
        {"source": source, "path": path, "held_out": held_out, "fields": fields}
    )
    return load_tasks(config, "natural")


def by_id(split: TaskSplit) -> dict[str, Task]:
    return {task.id: task for task in (*split.train, *split.held_out)}


def only(tmp_path: Path, record: dict[str, Any], **fields: Any) -> Task:
    """The task made of ``record``, read beside another one."""
    other = {name: "something else \\boxed{1} #### \\boxed{1}" for name in record}
    write_jsonl(tmp_path / "d.jsonl", [record, other])
    return by_id(load("jsonl", tmp_path / "d.jsonl", **fields))["d-1"]


@pytest.mark.parametrize(("source", "write"), WRITERS)
def test_every_format_gives_the_same_tasks(
    source: str, write: Callable[[Path, list[Any]], None], tmp_path: Path
) -> None:
    path = tmp_path / "data"
    write(path, RECORDS)
    tasks = by_id(load(source, path, held_out=2))
    assert tasks == {
        f"data-{n + 1}": Task(f"data-{n + 1}", f"What is {n} + 1?", str(n + 1)) for n in range(6)
    }


@pytest.mark.parametrize(("source", "write"), WRITERS)
def test_a_missing_field_is_named_with_its_place(
    source: str, write: Callable[[Path, list[Any]], None], tmp_path: Path
) -> None:
    path = tmp_path / "data"
    write(path, RECORDS)
    with pytest.raises(UserError) as caught:
        load(source, path, question="problem")
    assert "no field 'problem'; there are 'question', 'answer'" in caught.value.what
    assert caught.value.where.startswith(str(path))
    assert caught.value.where.endswith(" 1")
    assert "tasks.fields" in caught.value.remedy


@pytest.mark.parametrize("source", ["jsonl", "json", "parquet", "hf", "gsm8k", "svamp"])
def test_a_missing_file_is_named(source: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file") as caught:
        load(source, tmp_path / "none.jsonl")
    assert caught.value.where == str(tmp_path / "none.jsonl")
    assert "tasks.path" in caught.value.remedy


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"question": "a", "answer"', "malformed JSON at column"),
        ("[1, 2]", "must be a JSON object, this is a list"),
        ('{"question": "a", "answer": %s}' % ("9" * 5000), "malformed JSON"),
        ("[" * 100_000, "malformed JSON"),
        ('{"question": "a", "answer": ""}', "no gold answer"),
        ('{"question": "a", "answer": null}', "no gold answer"),
        ('{"question": "a", "answer": NaN}', "no gold answer"),
        ('{"question": "a", "answer": true}', "no gold answer"),
        ('{"question": "a"}', "no field 'answer'"),
        ('{"question": " ", "answer": 1}', "field 'question' is empty"),
        ('{"question": ["a"], "answer": 1}', "field 'question' is empty, or neither text"),
    ],
)
def test_a_bad_line_is_named(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(f"{json.dumps(RECORDS[0])}\n\n{line}\n{json.dumps(RECORDS[1])}\n")
    with pytest.raises(UserError, match=said) as caught:
        load("jsonl", path)
    assert caught.value.where == f"{path}, line 3"
    assert caught.value.remedy


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b'{"question": "caf\xe9", "answer": 1}\n')
    with pytest.raises(UserError, match="line 1: not UTF-8"):
        load("jsonl", path)


def test_malformed_json_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text('[\n{"question": "a", "answer": 1},\n{"question": "b" 2}\n]')
    with pytest.raises(UserError, match="malformed JSON at line 3, column"):
        load("json", path)


@pytest.mark.parametrize("content", ['{"rows": []}', "3", '{"data": {}}'])
def test_json_of_another_shape(content: str, tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text(content)
    with pytest.raises(UserError, match="neither a list of records nor"):
        load("json", path)


@pytest.mark.parametrize(
    ("source", "content", "said"),
    [
        ("jsonl", "\n\n", "no task in it"),
        ("json", "[]", "no task in it"),
        ("parquet", "not parquet at all", "cannot be read as Parquet"),
        ("hf", "a file", "not a saved Hugging Face dataset"),
        ("gsm8k", "", "no task in it"),
    ],
)
def test_empty_and_foreign_files(source: str, content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=said) as caught:
        load(source, path)
    assert caught.value.where == str(path)


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a saved Hugging Face dataset"):
        load("hf", tmp_path)
    with pytest.raises(UserError, match="a folder, but source 'jsonl' reads one file"):
        load("jsonl", tmp_path)


def test_a_dataset_of_parts_without_train(tmp_path: Path) -> None:
    part = datasets.Dataset.from_list(RECORDS)
    datasets.DatasetDict({"a": part, "b": part}).save_to_disk(str(tmp_path / "two"))
    with pytest.raises(UserError, match=r"several parts \(a, b\)"):
        load("hf", tmp_path / "two")
    datasets.DatasetDict({"test": part}).save_to_disk(str(tmp_path / "one"))
    assert len(by_id(load("hf", tmp_path / "one"))) == 6


def test_too_few_records(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    write_jsonl(path, RECORDS)
    with pytest.raises(UserError, match="6 distinct questions are too few for 6 held out"):
        load("jsonl", path, held_out=6)


@pytest.mark.parametrize(
    ("value", "gold"),
    [(8.0, "8"), (-3.0, "-3"), (0.5, "0.5"), (7, "7"), (" x^2 ", "x^2"), ("1,080", "1,080")],
)
def test_answers_become_text(value: object, gold: str, tmp_path: Path) -> None:
    assert only(tmp_path, {"question": "q", "answer": value}).gold == gold


@pytest.mark.parametrize(
    ("answer", "fields", "gold"),
    [
        ("48/2 = 24\n#### 72", {"answer_after": "####"}, "72"),
        ("#### 1\n#### 2 ", {"answer_after": "####"}, "2"),
        (r"so \boxed{1} or \boxed{\frac{1}{2}}.", {"answer_boxed": True}, r"\frac{1}{2}"),
        (r"\boxed{1} #### \boxed{2}", {"answer_after": "####", "answer_boxed": True}, "2"),
    ],
)
def test_the_gold_answer_is_taken_out_of_its_field(
    answer: str, fields: dict[str, Any], gold: str, tmp_path: Path
) -> None:
    assert only(tmp_path, {"question": "q", "answer": answer}, **fields).gold == gold


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"answer_after": "####"}, "nothing behind '####' in field 'answer'"),
        ({"answer_boxed": True}, r"no \\boxed\{\} in field 'answer'"),
    ],
)
def test_no_gold_answer_in_the_field(fields: dict[str, Any], said: str, tmp_path: Path) -> None:
    for answer in ("72", "72 ####", r"\boxed{"):
        with pytest.raises(UserError, match=f"no gold answer: {said}"):
            only(tmp_path, {"question": "q", "answer": answer}, **fields)


def test_a_question_can_be_joined_and_fields_renamed(tmp_path: Path) -> None:
    record = {"ctx": "Ann has 3. ", "ask": "How many?", "gold": "3", "key": 17}
    path = tmp_path / "d.jsonl"
    write_jsonl(path, [record, {**record, "ask": "Why?", "key": 18}])
    tasks = by_id(load("jsonl", path, question="ctx + ask", answer="gold", id="key"))
    assert tasks["17"] == Task("17", "Ann has 3. How many?", "3")


def test_an_id_given_twice(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    write_jsonl(path, [{**record, "id": "a"} for record in RECORDS])
    with pytest.raises(UserError, match=r"line 2: id 'a' was given before, at .*, line 1"):
        load("jsonl", path, id="id")


def test_images_are_found_beside_the_file(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    records = [
        {"question": "one", "answer": 1, "image": "a.png"},
        {"question": "two", "answer": 2, "image": ["a.png", str(tmp_path / "b.png")]},
        {"question": "none", "answer": 0, "image": None},
    ]
    path = tmp_path / "d.jsonl"
    write_jsonl(path, records)
    tasks = by_id(load("jsonl", path, image="image"))
    first, second = str(tmp_path / "a.png"), str(tmp_path / "b.png")
    assert [tasks[f"d-{n}"].images for n in (1, 2, 3)] == [(first,), (first, second), ()]


@pytest.mark.parametrize(
    ("image", "said"), [("c.png", "no such image: .*c.png"), (3, "holds no path of an image")]
)
def test_an_image_that_is_not_there(image: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said) as caught:
        only(tmp_path, {"question": "q", "answer": 1, "image": image}, image="image")
    assert caught.value.where.endswith("line 1")


def test_images_of_a_saved_dataset(tmp_path: Path) -> None:
    png = tmp_path / "a.png"
    png.touch()
    rows = [{**record, "image": str(png)} for record in RECORDS]
    paths = datasets.Dataset.from_list(rows)
    paths.save_to_disk(str(tmp_path / "paths"))
    tasks = by_id(load("hf", tmp_path / "paths", image="image"))
    assert {task.images for task in tasks.values()} == {(str(png),)}
    embedded = paths.cast_column("image", datasets.Image(decode=False))
    embedded.save_to_disk(str(tmp_path / "embedded"))
    with pytest.raises(UserError, match="row 1: field 'image' holds no path of an image"):
        load("hf", tmp_path / "embedded", image="image")


def test_gsm8k_as_published(tmp_path: Path) -> None:
    answers = ["They sold 5 <<2+3=5>>5 apples.\n#### 5", "In all $1,080.\n#### 1,080"]
    path = tmp_path / "train.jsonl"
    write_jsonl(path, [{"question": f"q{i}", "answer": a} for i, a in enumerate(answers)])
    tasks = by_id(load("gsm8k", path))
    assert [tasks[f"train-{n}"].gold for n in (1, 2)] == ["5", "1080"]


def test_svamp_as_published(tmp_path: Path) -> None:
    record = {
        "ID": "chal-1",
        "Body": "A bag holds 12 nuts. Ben ate 4 of them",
        "Question": "How many nuts are left?",
        "Equation": "( 12.0 - 4.0 )",
        "Answer": 8.0,
        "Type": "Subtraction",
    }
    path = tmp_path / "SVAMP.json"
    write_json(path, [record, {**record, "Question": "Why?"}])
    task = by_id(load("svamp", path))["SVAMP-1"]
    assert task.question == "A bag holds 12 nuts. Ben ate 4 of them How many nuts are left?"
    assert task.gold == "8"


def test_a_preset_needs_a_published_file(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.touch()
    with pytest.raises(UserError, match=r"ending '\.csv' is none of"):
        load("gsm8k", path)


@pytest.mark.parametrize(
    ("source", "path", "size", "first"),
    [
        ("gsm8k", DATA / "gsm8k" / "train.jsonl", 7473, "72"),
        ("svamp", DATA / "svamp" / "SVAMP.json", 1000, "51"),
    ],
)
def test_the_real_files(source: str, path: Path, size: int, first: str) -> None:
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    split = load(source, path, held_out=200)
    tasks = by_id(split)
    assert len(split.held_out) == 200
    assert size - 20 <= len(tasks) <= size
    assert tasks[f"{path.stem}-1"].gold == first
    # Every gold answer of these sets is a plain number.
    assert all(float(task.gold) is not None for task in tasks.values())


def test_default_fields_are_question_and_answer() -> None:
    assert (FieldMapping().question, FieldMapping().answer) == ("question", "answer")
