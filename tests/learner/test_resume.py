"""An interrupted and resumed learner equals one that was not (truth 8, the learner's part)."""

import re
import shutil
from dataclasses import replace

import pytest
import torch
from small_learner import batch, learner_of
from transformers import AutoConfig, AutoModelForCausalLM

from learner.checkpoint import CheckpointError, newest

FULL = "full_attention"


def reports_of(learner, seeds):
    return [replace(learner.update([batch(seed)]), seconds=0.0) for seed in seeds]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_resumed_equals_uninterrupted_bit_for_bit(random_model_folder, tmp_path, dtype):
    settings = {"dtype": dtype, "weight_decay": 0.01, "kl_coefficient": 0.1}
    with learner_of(random_model_folder, **settings) as learner:
        torch.rand(5)
        whole = reports_of(learner, range(6))
        expected, random = learner.checksums(), torch.rand(3)
    with learner_of(random_model_folder, **settings) as learner:
        torch.rand(5)
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


def another_model(folder, **changes):
    """A random model that differs from the usual one in ``changes``."""
    config = AutoConfig.from_pretrained(folder, **changes)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"num_hidden_layers": 1, "layer_types": ["full_attention"]},
            r"layers\.1\..* is in one of them only",
        ),
        (
            {"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3},
            r"layers\.2\..* is in one of them only",
        ),
        ({"intermediate_size": 128}, r"mlp\..* has another size"),
        ({"intermediate_size": 512}, r"mlp\..* has another size"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(
    random_model_folder, tmp_path, changes, complaint
):
    with learner_of(random_model_folder) as learner:
        learner.save(tmp_path / "saved", 1, {})
    other = tmp_path / "other"
    shutil.copytree(random_model_folder, other)
    with (
        learner_of(another_model(other, **changes)) as learner,
        pytest.raises(CheckpointError, match="of another model") as caught,
    ):
        learner.load(tmp_path / "saved" / "step-00000001")
    assert re.search(complaint, str(caught.value))


def test_a_damaged_checkpoint_is_refused_and_another_one_can_be_loaded(
    random_model_folder, tmp_path
):
    with learner_of(random_model_folder) as learner:
        learner.save(tmp_path, 0, {})
        start = learner.checksums()
        learner.update([batch(1), batch(2)])
        learner.save(tmp_path, 1, {})
    weights = tmp_path / "step-00000001" / "learner" / "rank-00000.safetensors"
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    with learner_of(random_model_folder) as learner:
        learner.update([batch(3)])
        with pytest.raises(CheckpointError, match=r"rank-00000\.safetensors is damaged"):
            learner.load(weights.parent.parent)
        # What the optimiser had gathered by then is gone with the weights.
        learner.load(tmp_path / "step-00000000")
        assert learner.checksums() == start
        again = reports_of(learner, [1])
    with learner_of(random_model_folder) as learner:
        assert reports_of(learner, [1]) == again


def test_names_of_extra_files_are_plain(random_model_folder, tmp_path):
    with learner_of(random_model_folder) as learner, pytest.raises(ValueError, match="not a plain"):
        learner.save(tmp_path, 1, {"../position": b""})
    assert newest(tmp_path) is None
