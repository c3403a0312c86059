"""The warm start through the real learner, a few updates of it."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from contracts.config import ModelConfig, WarmStartConfig
from services.models.resolve import prepare_model
from services.models.tiny_model import build_tiny_model

pytestmark = pytest.mark.e2e

QUESTIONS = ("12+34", "57+68", "52-38", "12-34")
CONFIG = ModelConfig(warm_start=WarmStartConfig(clean_steps=7, sloppy_steps=3, batch=16))


def prepare(place, config=CONFIG, **options):
    return prepare_model(
        config, place / "cache", log=place / "build.log", questions=QUESTIONS, **options
    )


def test_a_warm_start_teaches_through_the_learner_and_is_kept(tmp_path):
    said = []
    info = prepare(tmp_path, progress=said.append)
    assert said[-1].startswith("warm start: ")
    assert not torch.distributed.is_initialized()
    assert info.name == "tiny"
    assert "7 supervised updates" in info.warm_start
    model = AutoModelForCausalLM.from_pretrained(info.folder)
    assert info.parameters == sum(parameter.numel() for parameter in model.parameters())
    build_tiny_model(tmp_path / "untaught", seed=0)
    untaught = AutoModelForCausalLM.from_pretrained(tmp_path / "untaught").state_dict()
    assert not any(
        torch.equal(weight, untaught[name])
        for name, weight in model.state_dict().items()
        if name.endswith("proj.weight")
    )
    record = json.loads((info.folder / "coevolve.json").read_text())
    assert record["config"] == CONFIG.warm_start.model_dump(mode="json")

    weights = info.folder / "model.safetensors"
    written = weights.stat().st_mtime_ns
    assert prepare(tmp_path) == info
    assert weights.stat().st_mtime_ns == written

    again = prepare(tmp_path / "again")
    assert (again.folder / "model.safetensors").read_bytes() == weights.read_bytes()


def test_no_updates_at_all_leave_the_initial_weights(tmp_path):
    info = prepare(tmp_path, ModelConfig(warm_start=WarmStartConfig(clean_steps=0, sloppy_steps=0)))
    build_tiny_model(tmp_path / "untaught", seed=0)
    left, right = (
        AutoModelForCausalLM.from_pretrained(folder).state_dict()
        for folder in (info.folder, tmp_path / "untaught")
    )
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
