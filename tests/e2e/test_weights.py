"""Two engines and two learner ranks: weights travel, and what arrives is what was sent."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import ray
from safetensors.numpy import load_file
from small_runs import prompt, small_config

from actors.generator_pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.refs import GroupRef
from contracts.types import Generation, Grade, Group, GroupSummary, Reason

pytestmark = pytest.mark.e2e
PROMPTS = [prompt(f"{i} + {i + 3}", i) for i in range(6)]


@dataclass
class Parts:
    generators: GeneratorPool
    learner: LearnerGroup

    def sample(self, seed: int) -> list[Generation]:
        references = self.generators.generate(
            PROMPTS, completions=4, max_tokens=12, temperature=1.0, seed=seed
        )
        return sorted((ray.get(r) for r in references), key=lambda g: g.prompt.id)


@pytest.fixture(scope="module")
def parts(session: Path, random_model_folder: Path) -> Iterator[Parts]:
    config = small_config(generators=2, ranks=2)
    generators = GeneratorPool.launch(
        config, random_model_folder, session, worker_extension="corruption.CorruptibleWorker"
    )
    learner = LearnerGroup.start(config, random_model_folder, session)
    generators.wait_until_started()
    learner.connect(generators)
    yield Parts(generators, learner)
    learner.stop()
    generators.stop()


def graded(generations: Sequence[Generation]) -> list[GroupRef]:
    """Groups in which the shorter half of the completions is right."""
    refs = []
    for generation in generations:
        half = np.median([len(c.tokens) for c in generation.completions])
        grades = tuple(
            Grade(float(good), good, None, Reason.OK)
            for good in (
                i % 2 == 0 or len(c.tokens) < half for i, c in enumerate(generation.completions)
            )
        )
        group = Group(generation.prompt, generation.prompt_tokens, generation.completions, grades)
        refs.append(GroupRef(ray.put(group), GroupSummary.of(group)))
    return refs


def test_engines_equal_the_learner_at_every_version(
    parts: Parts, random_model_folder: Path
) -> None:
    saved = load_file(random_model_folder / "model.safetensors")
    weight_bytes = sum(tensor.nbytes for tensor in saved.values())
    seen: list[dict[str, str]] = []
    for version in range(3):
        report = parts.learner.broadcast(version)
        assert report.version == version
        assert report.bytes == weight_bytes
        assert {"start", "transfer", "finish"} <= set(report.seconds)
        expected = parts.learner.checksums()
        assert expected not in seen
        seen.append(expected)
        for found in parts.generators.checksums():
            assert found == expected
        generations = parts.sample(seed=version)
        for generation in generations:
            for completion in generation.completions:
                spans = [(s.start, s.stop, s.version) for s in completion.spans]
                assert spans == [(0, len(completion.tokens), version)]
        groups = graded(generations)
        updated = parts.learner.update([groups[:3], groups[3:]])
        assert updated.updates == 2


def test_the_driver_does_without_vllm(parts: Parts) -> None:
    assert parts.learner.actors
    assert "vllm" not in sys.modules


@pytest.mark.parametrize("layer", ["model.layers.1.self_attn.qkv_proj", "model.embed_tokens"])
def test_a_damaged_weight_is_seen(parts: Parts, layer: str) -> None:
    parts.learner.broadcast(3)
    assert parts.generators.checksums() == [parts.learner.checksums()] * 2
    ray.get(parts.generators.actors[1].handle.call_worker.remote("corrupt", layer))
    sound, damaged = parts.generators.checksums()
    assert sound == parts.learner.checksums()
    wrong = {name for name in sound if damaged[name] != sound[name]}
    prefix = layer.removesuffix("qkv_proj")
    assert wrong
    assert all(name.startswith(prefix) for name in wrong)
    parts.learner.broadcast(4)
    assert parts.generators.checksums() == [parts.learner.checksums()] * 2
