"""``coevolve eval`` and ``coevolve ask`` on a real engine: a random model, and the whole way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contracts.config import RunConfig
from contracts.loading import dump_config
from services.evaluate.records import Results

pytestmark = pytest.mark.e2e
SECONDS = 600
SETTINGS: dict[str, dict[str, object]] = {
    "model": {"max_context": 128},
    "sampling": {"max_tokens": 16},
    "recycle": {"style": "terse"},
    "tasks": {"held_out": 16},
    "evaluation": {"tasks": 16},
    "generators": {"kv_cache_gib": 0.1, "device": "cpu"},
}


@pytest.fixture
def config(tmp_path: Path, random_model_folder: Path) -> Path:
    """How a random model is asked: it answers something, now and then in a box."""
    model = {**SETTINGS["model"], "name": str(random_model_folder)}
    path = tmp_path / "small.yaml"
    path.write_text(dump_config(RunConfig.model_validate({**SETTINGS, "model": model})))
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "services.cli", *map(str, arguments)]


def test_two_models_and_every_strategy(
    config: Path, random_model_folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.symlink_to(random_model_folder)
    out = tmp_path / "out"
    done = subprocess.run(
        command(
            *("eval", random_model_folder, "--against", other, "--config", config),
            *("--data", "arithmetic", "--limit", 8, "--out", out, "--verdicts", 2),
            *("--strategy", "single,majority,best-of,weighted,judge-reflect"),
            *("--samples", "2,4", "--rounds", "3"),
        ),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = Results.model_validate_json((out / "results.json").read_text())
    assert [model.name for model in results.models] == [str(other), str(random_model_folder)]
    for model in results.models:
        (found,) = model.datasets
        assert (found.tasks, len(found.strategies)) == (8, 8)
        for strategy in found.strategies:
            assert strategy.accuracy.n == 8
            assert strategy.prompt_tokens > 0
            assert strategy.generated_tokens > 0
    # The same model under two names, asked with the same seed, answers the same.
    assert {one.difference.value for one in results.comparisons} == {0.0}
    first, second = (model.datasets[0].strategies for model in results.models)
    assert first == second
    lines = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert len(lines) == 2 * 8 * 8
    assert (out / "accuracy-arithmetic.png").is_file()
    assert "judge-reflect, 3 rounds" in done.stdout


def test_a_question_is_answered_piece_by_piece(config: Path, random_model_folder: Path) -> None:
    done = subprocess.run(
        command("ask", random_model_folder, "What is 12 + 34?", "--config", config, "--rounds", 2),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Answer"
    assert lines[-1].startswith("Answer: ")
    assert sum(line.startswith("[") for line in lines) >= 2
    assert done.stderr.strip() == ""


@pytest.mark.slow
def test_ctrl_c_ends_a_question_in_order(config: Path, random_model_folder: Path) -> None:
    process = subprocess.Popen(
        command("ask", random_model_folder, "12+34", "--config", config, "--rounds", 500),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "Answer\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 128 + signal.SIGINT
    assert errors.strip() == "stopped: ended by SIGINT"
