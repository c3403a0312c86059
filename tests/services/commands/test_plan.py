"""``coevolve plan`` as it is typed."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli import app
from services.plan.answer import Answer

SMALL = ("run.tasks_per_step=16", "steps=2", "search.steps=2")


def plan(*arguments: str):
    return CliRunner(env={"COLUMNS": "220"}).invoke(app, ["plan", *arguments])


def test_a_sweep_is_a_table_a_file_and_a_picture(tmp_path: Path):
    file, picture = tmp_path / "plan.json", tmp_path / "plan.png"
    done = plan("--model", "smollm2", "--gpus", "4,8", "--json", str(file), "--plot", str(picture),
                "--accelerator", "A100-80", *SMALL)  # fmt: skip
    assert done.exit_code == 0, done.output
    found = Answer.model_validate_json(file.read_text())
    assert [one.layout.gpus for one in found.chosen] == [4, 8]
    assert "datasheet of A100-80" in done.stdout
    assert "generators.count=" in done.stdout
    assert "Assumed:" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_thousands_of_gpus_are_simulated():
    done = plan("--parameters", "7e9", "--layers", "32", "--layouts", "3072:1024", "steps=2",
                "run.tasks_per_step=2048", "run.learner.gradient_checkpointing=true")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "4096" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "smollm2"], "how many GPUs?"),
        (["--gpus", "4"], "which model?"),
        (["--gpus", "many", "--model", "smollm2"], "are no numbers"),
        (["--layouts", "4", "--model", "smollm2"], "GENERATORS:RANKS"),
        (["no-such-plan", "--gpus", "4"], "no plan of that name"),
    ],
)
def test_what_is_missing_is_one_message(arguments: list[str], message: str):
    done = plan(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr


PUBLISHED = {32: 294.77, 64: 189.26, 128: 150.63}
"""Seconds of a step of verl's fully asynchronous 7B on so many H20 (docs/results/scaling.md)."""


def test_verls_published_runs_are_predicted_as_the_page_says(tmp_path: Path):
    file = tmp_path / "verl.json"
    done = plan("verl-7b", "--layouts", "4:16,8:32,16:64", "steps=8", "--json", str(file))
    assert done.exit_code == 0, done.output
    found = Answer.model_validate_json(file.read_text())
    steps = {one.layout.gpus: one.step for one in found.chosen}
    assert steps == {gpus: pytest.approx(seconds, rel=0.25) for gpus, seconds in PUBLISHED.items()}
    # Strong scaling: 78 % and 49 % were published.
    assert steps[32] / steps[64] / 2 == pytest.approx(0.78, abs=0.1)
    assert steps[32] / steps[128] / 4 == pytest.approx(0.49, abs=0.1)


def test_all_gpus_in_turns_as_the_page_says():
    done = plan("verl-7b", "--gpus", "32", "run.placement=shared", "run.max_staleness=0",
                "run.generators.tensor_parallel=1", "steps=1", "search.steps=1")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "32 GPUs, shared" in done.stdout


def test_long_completions_make_generators_the_slower_side():
    done = plan("verl-7b-long", "--layouts", "4:16", "steps=2")
    assert done.exit_code == 0, done.output
    assert "H200" in done.stdout


def test_an_unknown_model_is_refused_before_anything_starts():
    done = CliRunner().invoke(app, ["bench", "scaling", "--model", "paper"])
    assert done.exit_code == 2
    assert "--model: 'paper' is not known" in done.stderr


def test_weak_scaling_is_planned_as_the_page_says():
    done = plan("weak-7b", "--gpus", "16,32", "--weak", "run.tasks_per_step=32", "steps=2",
                "search.steps=1")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "tasks_per_step=64" in done.stdout
