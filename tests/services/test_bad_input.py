"""Bad data and bad models, through the real command: one message, code 2, nothing started."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest
import ray
from typer.testing import CliRunner

from services.cli import app

ROWS = [{"question": f"What is {i} + 1?", "answer": f"#### {i + 1}"} for i in range(12)]


def lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def train(tmp_path: Path, random_model_folder: Path):
    """Run ``coevolve train`` on a data file; returns exit code and what was said on stderr."""

    def _train(data: str | None, *overrides: str, model: Path = random_model_folder):
        path = tmp_path / "data.jsonl"
        if data is not None:
            path.write_text(data)
        config = {
            "name": "bad",
            "runs_dir": str(tmp_path / "runs"),
            "cache_dir": str(tmp_path / "cache"),
            "model": {"name": str(model)},
            "tasks": {
                "source": "jsonl",
                "path": str(path),
                "fields": {"answer_after": "####"},
                "held_out": 4,
            },
            "recycle": {"style": "natural"},
            "evaluation": {"tasks": 4, "tasks_between": 4},
        }
        file = tmp_path / "conf.yaml"
        file.write_text(json.dumps(config))
        result = CliRunner().invoke(app, ["train", str(file), *overrides])
        assert not ray.is_initialized()
        assert not (tmp_path / "runs" / "bad").exists()
        return result.exit_code, " ".join(result.stderr.split())

    return _train


@pytest.mark.parametrize(
    ("data", "place", "what"),
    [
        (None, "data.jsonl", "no such file"),
        ("", "data.jsonl", "no task in it"),
        (lines(ROWS[:3]) + "{not json\n", "data.jsonl, line 4", "JSON"),
        (lines([*ROWS[:2], {"question": "?"}]), "data.jsonl, line 3", "answer"),
        (lines([*ROWS[:2], {"question": "?", "answer": "none"}]), "data.jsonl, line 3", "####"),
        (lines(ROWS[:3]), "data.jsonl", "too few for 4 held out"),
    ],
)
def test_bad_data(train, data: str | None, place: str, what: str) -> None:
    code, said = train(data)
    assert code == 2, said
    assert place in said
    assert what in said


@pytest.mark.parametrize(
    ("missing", "what"),
    [
        ("tokenizer.json", "tokenizer"),
        ("chat_template.jinja", "chat template"),
        ("config.json", "config.json"),
    ],
)
def test_a_model_folder_that_lacks_something(
    train, tmp_path: Path, random_model_folder: Path, missing: str, what: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(random_model_folder, folder)
    (folder / missing).unlink()
    code, said = train(lines(ROWS), model=folder)
    assert code == 2, said
    assert what in said
    assert str(folder) in said


def test_no_model_folder_at_all(train, tmp_path: Path) -> None:
    code, said = train(lines(ROWS), model=tmp_path / "nowhere")
    assert code == 2
    assert "there is no model folder" in said


def test_a_prompt_longer_than_the_context(train) -> None:
    long = {"question": "1 " * 400, "answer": "#### 400"}
    code, said = train(lines([*ROWS, long]))
    assert code == 2, said
    assert "its solve prompt takes up to" in said
    assert "Raise model.max_context" in said


def test_a_port_in_use(train) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, said = train(lines(ROWS), f"metrics.port={port}")
    assert code == 2
    assert f"{port}" in said
    assert "in use" in said


def test_too_little_memory(train) -> None:
    code, said = train(lines(ROWS), "generators.count=9000")
    assert code == 2
    assert "memory" in said
