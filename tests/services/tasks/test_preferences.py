"""Reward benchmarks in the form in which they are published, in files written for this test."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from contracts.errors import UserError
from recycler.recycle import pairwise_prompt, pointwise_prompt
from services.tasks.preferences import TIES, Preference, read_preferences

PNG = b"\x89PNG\r\n\x1a\n rest of an image"

BEST_OF_FOUR: dict[str, Any] = {
    "id": "12",
    "prompt": "What is 2 + 2?",
    "chosen": ["It is 4."],
    "rejected": ["It is 5.", "It is 3.", "It is 22."],
    "num_correct": 1,
    "num_incorrect": 3,
    "total_completions": 4,
    "models": ["a", "b", "c", "d"],
    "subset": "Math",
    "additional_metadata": None,
}
TIED = {**BEST_OF_FOUR, "id": "13", "subset": "Ties", "chosen": ["4", "four"], "num_correct": 2}

PAIR: dict[str, Any] = {
    "id": "p-1",
    "query": "What is in the picture?",
    "response": ["A dog.", "A cat."],
    "human_ranking": [1, 0],
    "image": "cat.png",
    "models": ["a", "b"],
    "judge": "people",
    "rationale": "",
    "query_source": "MathVerse",
    "ground_truth": None,
}


def write(path: Path, *records: dict[str, Any]) -> Path:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(records)), path)
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_best_of_four(ending: str, tmp_path: Path) -> None:
    found = read_preferences("rewardbench2", write(tmp_path / f"t.{ending}", BEST_OF_FOUR, TIED))
    assert found == [
        Preference(
            "12", "What is 2 + 2?", ("It is 4.",), ("It is 5.", "It is 3.", "It is 22."), "Math"
        ),
        Preference(
            "13", "What is 2 + 2?", ("4", "four"), ("It is 5.", "It is 3.", "It is 22."), TIES
        ),
    ]


@pytest.mark.parametrize(("ranks", "good", "bad"), [([0, 1], 0, 1), ([1, 0], 1, 0)])
def test_pairs_and_which_of_them_people_preferred(
    ranks: list[int], good: int, bad: int, tmp_path: Path
) -> None:
    (tmp_path / "cat.png").touch()
    path = write(tmp_path / "t.jsonl", {**PAIR, "human_ranking": ranks})
    (found,) = read_preferences("pairwise", path)
    assert found.good == (PAIR["response"][good],)
    assert found.bad == (PAIR["response"][bad],)
    assert found.subset == "MathVerse"
    assert found.images == (str(tmp_path / "cat.png"),)


def test_a_pair_without_an_image_or_an_id(tmp_path: Path) -> None:
    bare = {key: PAIR[key] for key in ("query", "response", "human_ranking")}
    (found,) = read_preferences("pairwise", write(tmp_path / "t.jsonl", bare))
    assert (found.id, found.images, found.subset) == ("t-1", (), "")


def test_images_inside_the_file_are_written_out_once(tmp_path: Path) -> None:
    inside = {"bytes": PNG, "path": "cat.png"}
    records = [{**PAIR, "image": inside}, {**PAIR, "id": "p-2", "image": inside}]
    path = write(tmp_path / "t.parquet", *records)
    with pytest.raises(UserError, match="row 1: field 'image' holds no path of an image"):
        read_preferences("pairwise", path)
    kept = tmp_path / "made" / "here"
    for _ in range(2):
        first, second = read_preferences("pairwise", path, keep=kept)
        assert first.images == second.images
        (image,) = kept.iterdir()
        assert first.images == (str(image),)
        assert image.suffix == ".png"
        assert image.read_bytes() == PNG


def test_images_of_a_saved_dataset(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "query": datasets.Value("string"),
            "response": datasets.Sequence(datasets.Value("string")),
            "human_ranking": datasets.Sequence(datasets.Value("int64")),
            "image": datasets.Image(decode=False),
        }
    )
    record = {key: PAIR[key] for key in features} | {"image": {"bytes": PNG, "path": None}}
    made = datasets.Dataset.from_list([record], features=features)
    made.save_to_disk(str(tmp_path / "saved"))
    (found,) = read_preferences("pairwise", tmp_path / "saved", keep=tmp_path / "kept")
    assert Path(found.images[0]).read_bytes() == PNG


def test_the_order_of_responses_tells_nothing(tmp_path: Path) -> None:
    records = [{**BEST_OF_FOUR, "id": str(n)} for n in range(400)]
    found = read_preferences("rewardbench2", write(tmp_path / "t.jsonl", *records))
    places = Counter(
        [candidate.correct for candidate in item.candidates()].index(True) for item in found
    )
    assert set(places) == {0, 1, 2, 3}
    assert max(places.values()) < 150
    assert found[0].candidates() == found[0].candidates()
    assert any(item.candidates(1) != item.candidates(2) for item in found)


def test_responses_can_be_judged_like_any_candidate(tmp_path: Path) -> None:
    (tmp_path / "cat.png").touch()
    (found,) = read_preferences("pairwise", write(tmp_path / "t.jsonl", PAIR))
    good, bad = sorted(found.candidates(), key=lambda candidate: not candidate.correct)
    prompt = pairwise_prompt(good, bad, "natural", right_first=False, reasoning=True)
    assert (prompt.label, prompt.shown) == ("B", ("A dog.", "A cat."))
    assert pointwise_prompt(bad, "natural", reasoning=True).label == "no"
    assert len({candidate.completion_id for candidate in (good, bad)}) == 2


@pytest.mark.parametrize(
    ("name", "record", "said"),
    [
        ("rewardbench2", {**BEST_OF_FOUR, "chosen": []}, "field 'chosen' must be a list of texts"),
        ("rewardbench2", {**BEST_OF_FOUR, "rejected": [1]}, "field 'rejected' must be a list"),
        ("rewardbench2", {**BEST_OF_FOUR, "chosen": [" "]}, "field 'chosen' must be a list"),
        ("rewardbench2", {**BEST_OF_FOUR, "prompt": ""}, "field 'prompt' is empty"),
        ("rewardbench2", PAIR, "there are 'id', 'query'"),
        ("pairwise", {**PAIR, "response": ["one"]}, "two in 'response'"),
        ("pairwise", {**PAIR, "human_ranking": [0, 0]}, "in 'human_ranking' are needed"),
        ("pairwise", {**PAIR, "human_ranking": None}, "in 'human_ranking' are needed"),
        ("pairwise", PAIR, "no such image"),
        ("pairwise", {**PAIR, "image": 3}, "holds no path of an image, but a int"),
    ],
)
def test_a_record_of_another_form_is_named(
    name: str, record: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        read_preferences(name, write(tmp_path / "t.jsonl", record))
    assert caught.value.where == f"{tmp_path / 't.jsonl'}, line 1"


def test_bytes_that_are_no_image(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", {**PAIR, "image": {"bytes": b"text", "path": None}})
    with pytest.raises(UserError, match="4 bytes that are no PNG"):
        read_preferences("pairwise", path, keep=tmp_path / "kept")


def test_ids_given_twice_empty_files_and_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 2: id '12' was given before, at .*line 1"):
        read_preferences("rewardbench2", write(tmp_path / "a.jsonl", BEST_OF_FOUR, BEST_OF_FOUR))
    with pytest.raises(UserError, match="no record in it"):
        read_preferences("rewardbench2", write(tmp_path / "b.jsonl"))
    with pytest.raises(UserError, match=r"no such reward benchmark\n.*rewardbench2, pairwise"):
        read_preferences("rewardbench", tmp_path / "a.jsonl")
