"""MODEL on the command line: which folder is meant, and how the model is used to being asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.loading import dump_config
from learner.checkpoint import Writer
from services.evaluate.models import LONG, resolve


@pytest.fixture
def run(tmp_path: Path, random_model_folder: Path) -> Path:
    """A run on a random model with a trained model and two checkpoints."""
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    config = RunConfig.model_validate(
        {
            "name": "mine",
            "model": {"name": str(random_model_folder)},
            "sampling": {"max_tokens": 17},
        }
    )
    (folder / "config.yaml").write_text(dump_config(config))
    for step in (25, 50):
        checkpoint(folder / "checkpoints", step, random_model_folder)
    copy(random_model_folder, folder / "model")
    return folder


def copy(model: Path, to: Path) -> None:
    to.mkdir(parents=True)
    for file in model.iterdir():
        (to / file.name).write_bytes(file.read_bytes())


def checkpoint(root: Path, step: int, model: Path) -> None:
    writer = Writer(root, step)
    writer.begin()
    copy(model, writer.folder / "model")
    writer.publish({})


def test_a_run_is_its_trained_model_asked_as_in_the_run(run: Path) -> None:
    found = resolve(str(run))
    assert (found.name, found.folder) == (str(run), run / "model")
    assert found.config.sampling.max_tokens == 17
    assert found.config.deadlines.generate >= LONG


def test_a_run_without_a_model_is_its_newest_checkpoint(run: Path) -> None:
    (run / "model" / "config.json").unlink()
    assert resolve(str(run)).folder == run / "checkpoints" / "step-00000050" / "model"


def test_a_step_may_be_named(run: Path) -> None:
    assert resolve(f"{run}@25").folder == run / "checkpoints" / "step-00000025" / "model"
    with pytest.raises(UserError, match="no checkpoint '30'; there are 25, 50"):
        resolve(f"{run}@30")


def test_a_damaged_checkpoint_is_refused(run: Path) -> None:
    (run / "checkpoints" / "step-00000025" / "model" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="damaged"):
        resolve(f"{run}@25")


def test_what_a_run_started_from(run: Path, random_model_folder: Path) -> None:
    found = resolve(f"{run}@initial")
    assert found.folder == random_model_folder
    assert found.config.sampling.max_tokens == 17


def test_a_folder_that_a_run_wrote_is_asked_as_in_that_run(run: Path) -> None:
    for folder in (run / "model", run / "checkpoints" / "step-00000025" / "model"):
        assert resolve(str(folder)).config.sampling.max_tokens == 17


def test_another_folder_is_asked_in_plain_language(random_model_folder: Path) -> None:
    found = resolve(str(random_model_folder), ["model.max_context=256", "sampling.max_tokens=64"])
    assert found.config.recycle.style == "natural"
    assert found.config.sampling.max_tokens == 64


def test_values_and_a_configuration_may_be_given(run: Path, tmp_path: Path) -> None:
    assert resolve(str(run), ["sampling.max_tokens=9"]).config.sampling.max_tokens == 9
    other = tmp_path / "other.yaml"
    other.write_text(json.dumps({"sampling": {"max_tokens": 11}}))
    assert resolve(str(run), config=str(other)).config.sampling.max_tokens == 11


def test_a_run_that_never_saved_says_what_to_name(run: Path) -> None:
    import shutil

    shutil.rmtree(run / "model")
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UserError, match="@initial"):
        resolve(str(run))


def test_nothing_of_that_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such run and no such model folder\n.*tiny, smollm2"):
        resolve(str(tmp_path / "nothing"))
