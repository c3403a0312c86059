"""An interrupted and resumed learner equals one that was not (truth 8, the learner's part)."""

import shutil
from dataclasses import replace

import pytest
import torch
from small_learner import batch, learner_of
from transformers import AutoModelForCausalLM

from learner.checkpoint import CheckpointError, newest


def reports_of(learner, seeds):
    return [replace(learner.update([batch(seed)]), seconds=0.0) for seed in seeds]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_resumed_equals_uninterrupted_bit_for_bit(random_model_folder, tmp_path, dtype):
    settings = {"dtype": dtype, "weight_decay": 0.01, "kl_coefficient": 0.1}
    with learner_of(random_model_folder, **settings) as learner:
        whole = reports_of(learner, range(6))
        expected, random = learner.checksums(), torch.rand(3)
    with learner_of(random_model_folder, **settings) as learner:
        first = reports_of(learner, range(3))
        saved_at = learner.checksums()
        learner.save(tmp_path, 3, {"position": b"3"}, card="# How it was made")
        # Saving changes nothing for the one that saves.
        assert reports_of(learner, range(3, 6)) == whole[3:]
    checkpoint = newest(tmp_path)
    assert checkpoint.extra("position") == b"3"
    with learner_of(random_model_folder, **settings) as learner:
        learner.load(checkpoint.folder)
        assert learner.checksums() == saved_at
        assert learner.updates_done == 3
        assert first + reports_of(learner, range(3, 6)) == whole
        assert learner.checksums() == expected
        assert torch.equal(torch.rand(3), random)
    assert (checkpoint.model / "README.md").read_text() == "# How it was made"
    assert AutoModelForCausalLM.from_pretrained(checkpoint.model).dtype == getattr(torch, dtype)


def test_a_checkpoint_from_before_the_first_update_is_no_special_case(
    random_model_folder, tmp_path
):
    with learner_of(random_model_folder) as learner:
        learner.save(tmp_path, 0, {})
        whole = reports_of(learner, range(2))
    with learner_of(random_model_folder) as learner:
        learner.load(newest(tmp_path).folder)
        assert reports_of(learner, range(2)) == whole


def test_a_failed_save_is_an_error_and_leaves_the_last_good_one(random_model_folder, tmp_path):
    with learner_of(random_model_folder) as learner:
        learner.save(tmp_path, 1, {})
        for stage, folder in (("begun", "learner"), ("learner written", ".")):

            def spoil(reached, stage=stage, folder=folder):
                if reached == stage:
                    shutil.rmtree(tmp_path / ".step-00000002.writing" / folder)
                    (tmp_path / ".step-00000002.writing").mkdir(exist_ok=True)
                    (tmp_path / ".step-00000002.writing" / "model").write_text("in the way")

            with pytest.raises(CheckpointError, match="could not be written"):
                learner.save(tmp_path, 2, {}, at=spoil)
            assert newest(tmp_path).step == 1
        learner.save(tmp_path, 2, {})
        assert newest(tmp_path).step == 2
        assert not list(tmp_path.glob(".step*"))
