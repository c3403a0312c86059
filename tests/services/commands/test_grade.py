"""``coevolve grade`` as it is called: a file or standard input in, JSON Lines out."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services.cli import app

ROWS = [
    {"answer": "12", "response": r"so \boxed{12}", "id": 7},
    {"answer": "12", "response": r"so \boxed{13}"},
    {"answer": "12", "response": "twelve"},
    {"answer": "yes", "response": r"\boxed{No}", "verifier": "verdict"},
    {"answer": "x+1", "response": r"\boxed{1+x}"},
    {"answer": "é", "response": "\\boxed{é} \ud800", "verifier": "exact"},
]


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(lines(ROWS))
    return path


def check(output: str) -> None:
    rows = [json.loads(line) for line in output.splitlines()]
    assert [{k: row[k] for k in given} for row, given in zip(rows, ROWS, strict=True)] == ROWS
    assert [row["reward"] for row in rows] == [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    assert [row["correct"] for row in rows] == [True, False, False, False, True, True]
    assert [row["extracted"] for row in rows] == ["12", "13", None, "No", "1+x", "é"]
    assert [row["reason"] for row in rows] == ["ok", "ok", "no_answer", "ok", "ok", "ok"]


def test_a_file_comes_back_graded_in_order(file: Path) -> None:
    result = CliRunner().invoke(app, ["grade", str(file)])
    assert result.exit_code == 0
    check(result.stdout)
    assert result.stderr == ""


def test_the_installed_command_reads_standard_input_and_prints_nothing_else(file: Path) -> None:
    command = Path(sys.executable).with_name("coevolve")
    rows = [*ROWS, {"answer": "x", "response": r"\boxed{9^{9^{9^{9}}}}"}]
    done = subprocess.run(
        [command, "grade", "-", "--workers", "1", "--deadline", "0.5"],
        input=lines(rows),
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0
    *well, last = done.stdout.splitlines()
    check("\n".join(well))
    assert json.loads(last)["reason"] == "timeout"


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text(lines(ROWS[:3]) * 20_000)
    command = Path(sys.executable).with_name("coevolve")
    shell = f"'{command}' grade '{path}' | head -n 1"
    done = subprocess.run(
        ["bash", "-c", shell], check=False, capture_output=True, text=True, timeout=300
    )
    assert json.loads(done.stdout)["id"] == 7
    assert done.stderr == ""


def all_of(terminal: int) -> str:
    """What is written to a terminal until its other end is closed."""
    shown = b""
    with suppress(OSError):
        while piece := os.read(terminal, 10_000):
            shown += piece
    return shown.decode()


def test_progress_goes_to_a_terminal_on_standard_error_only(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text(lines(ROWS[:3]) * 5_000)
    command = Path(sys.executable).with_name("coevolve")
    mine, theirs = pty.openpty()
    with (
        ThreadPoolExecutor(1) as thread,
        (tmp_path / "out").open("w") as output,
        subprocess.Popen([command, "grade", str(path)], stdout=output, stderr=theirs) as process,
    ):
        shown = thread.submit(all_of, mine)
        assert process.wait(timeout=300) == 0
        os.close(theirs)
        assert "Grading" in shown.result(timeout=60)
    os.close(mine)
    rows = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert len(rows) == 15_000


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "rows.jsonl:8: this line is not JSON"),
        ('{"answer": "1"}', "rows.jsonl:8: the row has no 'response'"),
        ('{"answer": "1", "response": 1}', "rows.jsonl:8: 'response' is no string"),
        ('{"answer": "1", "response": "", "verifier": "sum"}', "rows.jsonl:8: 'verifier'"),
    ],
)
def test_a_malformed_line_stops_before_anything_is_graded(file: Path, line: str, said: str) -> None:
    file.write_text(lines(ROWS) + "\n" + line)
    result = CliRunner().invoke(app, ["grade", str(file)])
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_what_cannot_be_read(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["grade", str(tmp_path / "none.jsonl")])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "none.jsonl: No such file or directory" in result.stderr
    path = tmp_path / "latin.jsonl"
    path.write_bytes(b'{"answer": "1", "response": "1"}\n{"answer": "caf\xe9"}\n')
    result = CliRunner().invoke(app, ["grade", str(path)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "latin.jsonl:2: not UTF-8" in result.stderr
