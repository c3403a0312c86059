"""Engines of two tensor-parallel workers each: ranks, weights, and checksums of the whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray
import torch
from small_runs import prompt, small_config

from actors.broadcaster import Broadcaster
from actors.generator_pool import GeneratorPool
from actors.learner_group import LearnerGroup
from contracts.config import Device, RunConfig

pytestmark = pytest.mark.e2e


def divided(engines: int, device: Device) -> RunConfig:
    """``engines`` engines of two workers each."""
    config = small_config(generators=engines)
    generators = config.generators.model_copy(update={"tensor_parallel": 2, "device": device})
    if device == "cpu":
        return config.model_copy(update={"generators": generators})
    learner = config.learner.model_copy(update={"device": device})
    transfer = config.transfer.model_copy(update={"backend": "auto"})
    changes = {"generators": generators, "learner": learner, "transfer": transfer}
    return config.model_copy(update=changes)


@pytest.mark.parametrize(
    ("engines", "device", "share_memory"),
    [
        pytest.param(1, "cpu", True, marks=pytest.mark.slow),
        pytest.param(2, "cpu", False, marks=pytest.mark.slow),
        pytest.param(
            2,
            "cuda",
            False,
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(torch.cuda.device_count() < 5, reason="needs 5 CUDA devices"),
            ],
        ),
    ],
)
def test_divided_engines_get_the_whole_weights(
    session: Path, random_model_folder: Path, engines: int, device: Device, share_memory: bool
) -> None:
    config = divided(engines, device)
    transfer = config.transfer.model_copy(update={"share_memory": share_memory})
    config = config.model_copy(update={"transfer": transfer})
    generators = GeneratorPool.launch(config, random_model_folder, session)
    learner = LearnerGroup.start(config, random_model_folder, session)
    try:
        generators.wait_until_started()
        broadcaster = Broadcaster(config, learner, generators, print)
        for version in (0, 1):
            broadcaster.send(version)
            expected = learner.checksums()
            names = [f"generator {index}" for index in range(engines)]
            assert generators.checksums() == dict.fromkeys(names, expected)
            change(learner)
        references = list(
            generators.generate(
                [prompt("1 + 1")], completions=2, max_tokens=4, temperature=1, seed=0
            )
        )
        (generation,) = (ray.get(reference) for reference in references)
        assert all(len(completion.tokens) > 0 for completion in generation.completions)
    finally:
        learner.stop()
        generators.stop()


def change(learner: LearnerGroup) -> None:
    """Make other weights of the same shapes."""
    (rank,) = learner.actors
    ray.get(rank.handle.__ray_call__.remote(_double))


def _double(rank: object) -> None:
    weights = rank._learner.weights()  # type: ignore[attr-defined]
    parameters = [parameter for _, parameter in weights.named]
    with weights._deepspeed.zero.GatheredParameters(parameters, modifier_rank=0), torch.no_grad():
        for parameter in parameters:
            parameter.mul_(2)
