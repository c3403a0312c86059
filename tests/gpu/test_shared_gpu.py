"""Generator and learner on one GPU: they take turns, and weights cross by CUDA IPC.

Each in a process of its own, as Ray's actors; this one leaves the GPU alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from small_runs import prompt
from transformers import AutoConfig, AutoModelForCausalLM

from actors.broadcaster import Broadcaster
from actors.engine import with_devices
from actors.generator_pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.placement import Placement
from actors.refs import GroupRef
from contracts.config import RunConfig
from contracts.types import Generation, Grade, Group, GroupSummary, Reason
from services.weight_checks import WeightChecks

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
PROMPTS = [prompt(f"{i} + {i + 3}", i) for i in range(6)]
SHARE = 0.3
"""Of the GPU's memory, for the engine."""


@dataclass
class Parts:
    config: RunConfig
    generators: GeneratorPool
    learner: LearnerGroup
    broadcaster: Broadcaster

    def sample(self, seed: int) -> list[Generation]:
        references = self.generators.generate(
            PROMPTS, completions=4, max_tokens=12, temperature=1.0, seed=seed
        )
        return sorted((ray.get(r) for r in references), key=lambda g: g.prompt.id)


def config() -> RunConfig:
    return RunConfig.model_validate(
        {
            "placement": "shared",
            "model": {"dtype": "bfloat16"},
            "generators": {"device": "cuda", "gpu_memory_utilization": SHARE},
            "learner": {"device": "cuda", "learning_rate": 5e-3, "warmup_updates": 0},
            # Less than the weights: there are several buckets.
            "transfer": {"bucket_mib": 1, "deadline": 120},
            "deadlines": {"start": 400},
        }
    )


@pytest.fixture(scope="module")
def model_folder(random_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random model with layers enough for several buckets."""
    folder = tmp_path_factory.mktemp("model")
    shutil.copytree(random_model_folder, folder, dirs_exist_ok=True)
    deeper = AutoConfig.from_pretrained(
        folder, num_hidden_layers=12, layer_types=["full_attention"] * 12
    )
    AutoModelForCausalLM.from_config(deeper).save_pretrained(folder)
    assert (folder / "model.safetensors").stat().st_size > 4 << 20
    return folder


@pytest.fixture(scope="module")
def parts(session: Path, model_folder: Path) -> Iterator[Parts]:
    """As ``services.training`` starts them: the engine first, asleep while the learner starts."""
    run = with_devices(config())
    with ExitStack() as stack:
        placement = Placement.reserve(run)
        stack.callback(placement.release)
        generators = GeneratorPool.launch(run, model_folder, session, placement=placement)
        stack.callback(generators.stop)
        generators.wait_until_started()
        awake = free_memory()
        generators.sleep()
        # Weights and cache are most of what the engine had.
        assert free_memory() - awake > SHARE * total_memory() / 2
        learner = LearnerGroup.start(run, model_folder, session, placement)
        stack.callback(learner.stop)
        yield Parts(run, generators, learner, Broadcaster(run, learner, generators, print))


def free_memory() -> int:
    return torch.cuda.mem_get_info()[0]


def total_memory() -> int:
    return torch.cuda.mem_get_info()[1]


def graded(generations: list[Generation]) -> list[GroupRef]:
    """Groups in which every other completion is right."""
    refs = []
    for generation in generations:
        grades = tuple(
            Grade(float(i % 2 == 0), i % 2 == 0, None, Reason.OK)
            for i, _ in enumerate(generation.completions)
        )
        group = Group(generation.prompt, generation.prompt_tokens, generation.completions, grades)
        refs.append(GroupRef(ray.put(group), GroupSummary.of(group)))
    return refs


def test_turns_of_a_run(parts: Parts) -> None:
    seen: list[dict[str, str]] = []
    for version in range(4):
        report = parts.broadcaster.send(version)
        assert report.version == version
        assert {"start", "transfer", "finish"} <= set(report.seconds)
        expected = parts.learner.checksums()
        assert expected not in seen
        seen.append(expected)
        assert parts.generators.checksums() == {"generator 0": expected}
        generations = parts.sample(seed=version)
        for generation in generations:
            for completion in generation.completions:
                assert {span.version for span in completion.spans} == {version}
                assert np.isfinite(completion.logprobs).all()
        WeightChecks(parts.config, parts.generators, parts.learner, PROMPTS).probe(version)
        awake = free_memory()
        parts.generators.sleep()
        assert free_memory() - awake > SHARE * total_memory() / 2
        assert parts.learner.update([graded(generations)]).updates == 1


def test_one_that_is_started_anew_takes_its_turn(parts: Parts) -> None:
    """It comes up beside the learner, sleeps with the others, and is sent the weights."""
    (former,) = parts.generators.actors
    ray.kill(former.handle)
    parts.generators.check(30)
    parts.generators.sleep()
    (now,) = parts.generators.actors
    assert now.id != former.id
    parts.broadcaster.send(7)
    assert parts.generators.checksums() == {"generator 0": parts.learner.checksums()}
    assert parts.sample(seed=7)
