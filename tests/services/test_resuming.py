"""Whether and from where a run may go on."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_steps import prompt

from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.loading import dump_config, load_config
from contracts.types import Objective
from learner.checkpoint import Writer
from services.model_card import model_card
from services.records import RecycledRecord
from services.recycled import recycled_by
from services.resuming import MAY_CHANGE, is_finished, resumable
from services.run_folder import RunFolder, read_recycled


def config(runs: Path, *overrides: str) -> RunConfig:
    return load_config(None, [f"runs_dir={runs}", *overrides])


def started(runs: Path, *overrides: str) -> RunConfig:
    made = config(runs, *overrides)
    RunFolder.create(made.folder, dump_config(made))
    return made


def save(config: RunConfig, step: int) -> Path:
    writer = Writer(config.checkpoints_folder, step)
    writer.begin()
    writer.write_extras({"run.json": b"{}"})
    return writer.publish({}).folder


def test_a_run_that_is_not_there_or_has_no_checkpoint_starts_from_the_beginning(
    tmp_path: Path,
) -> None:
    notes: list[str] = []
    assert resumable(config(tmp_path), notes.append) is None
    assert resumable(started(tmp_path), notes.append) is None
    assert notes == []


def test_the_newest_whole_checkpoint_is_taken_and_a_damaged_one_named(tmp_path: Path) -> None:
    run = started(tmp_path)
    save(run, 2)
    (save(run, 4) / "extra" / "run.json").write_bytes(b"[]")
    notes: list[str] = []
    found = resumable(run, notes.append)
    assert found is not None
    assert found.step == 2
    assert len(notes) == 1
    assert "step-00000004" in notes[0]
    assert "damaged" in notes[0]


def test_where_and_how_it_runs_may_change(tmp_path: Path) -> None:
    save(started(tmp_path), 2)
    other = ["steps=500", "learner.ranks=2", "generators.count=3", "evaluation.every=5"]
    assert resumable(config(tmp_path, *other), print) is not None


def test_what_it_learns_may_not_change_and_every_difference_is_named(tmp_path: Path) -> None:
    save(started(tmp_path), 2)
    with pytest.raises(UserError) as caught:
        resumable(config(tmp_path, "seed=1", "learner.weights.solve=0.5"), print)
    text = str(caught.value)
    assert "learner.weights.solve: the run was started with 1.0, now it is 0.5" in text
    assert "seed: the run was started with 0, now it is 1" in text


@pytest.mark.parametrize("name", MAY_CHANGE)
def test_every_name_of_the_list_is_a_field(name: str) -> None:
    section = RunConfig
    for part in name.split("."):
        field = section.model_fields[part]
        section = field.annotation  # type: ignore[assignment]


def test_a_run_without_a_summary_is_not_finished(tmp_path: Path) -> None:
    assert not is_finished(config(tmp_path))
    assert not is_finished(started(tmp_path))


def test_recycled_prompts_of_another_run_must_be_there_and_reach_the_last_step(
    tmp_path: Path,
) -> None:
    policy = started(tmp_path, "name=policy", "recycle.answered=false")
    judge = config(tmp_path, "steps=3", f"recycle.prompts_of={policy.folder}")
    assert recycled_by(policy) is None
    with pytest.raises(UserError, match="kept no recycled prompts"):
        recycled_by(judge)
    folder = RunFolder(policy.folder)
    asked = [prompt(f"judge/{step}", Objective.POINTWISE) for step in (1, 2, 3)]
    folder.append_recycled(RecycledRecord(step=i, prompt=p) for i, p in enumerate(asked[:2], 1))
    with pytest.raises(UserError, match="up to step 2, and 3 steps"):
        recycled_by(judge)
    ends = config(tmp_path, f"recycle.prompts_of={policy.folder}", "budget.sampled_tokens=9")
    assert recycled_by(ends) is not None
    folder.append_recycled([RecycledRecord(step=3, prompt=asked[2])])
    assert recycled_by(judge) == {step: [p] for step, p in enumerate(asked, 1)}
    # What was made after the checkpoint that a run goes on from is made again.
    RunFolder.resume(policy.folder, dump_config(policy), step=2, evaluations=0)
    assert [line.step for line in read_recycled(policy.folder)] == [1, 2]


def test_the_model_card_says_how_it_was_made() -> None:
    card = model_card(RunConfig(name="mine", steps=9), 4, [])
    assert "# mine" in card
    assert "after 4 of 9 steps" in card
    assert "None yet." in card
    assert "learning_rate: 0.0003" in card
