"""Two engines and two learner ranks: weights travel, and what arrives is what was sent."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray
import torch
from safetensors.numpy import load_file
from small_runs import prompt, small_config
from transformers import AutoModelForCausalLM

from actors.broadcaster import Broadcaster
from actors.generator_pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.refs import GroupRef
from contracts.config import RunConfig, TransferConfig
from contracts.errors import IntegrityError
from contracts.types import (
    Completion,
    FloatArray,
    Generation,
    Grade,
    Group,
    GroupSummary,
    IntArray,
    Reason,
)
from services.weight_checks import WeightChecks

pytestmark = pytest.mark.e2e
NAMES = ("generator 0", "generator 1")
PROMPTS = [prompt(f"{i} + {i + 3}", i) for i in range(6)]


@dataclass
class Parts:
    generators: GeneratorPool
    learner: LearnerGroup
    broadcaster: Broadcaster

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
    yield Parts(generators, learner, Broadcaster(config, learner, generators, print))
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
        report = parts.broadcaster.send(version)
        assert report.version == version
        assert report.bytes == weight_bytes
        assert {"start", "transfer", "finish"} <= set(report.seconds)
        expected = parts.learner.checksums()
        assert expected not in seen
        seen.append(expected)
        assert parts.generators.checksums() == dict.fromkeys(NAMES, expected)
        generations = parts.sample(seed=version)
        for generation in generations:
            for completion in generation.completions:
                spans = [(s.start, s.stop, s.version) for s in completion.spans]
                assert spans == [(0, len(completion.tokens), version)]
        groups = graded(generations)
        updated = parts.learner.update([groups[:3], groups[3:]])
        assert updated.updates == 2


def test_nothing_listens_beyond_loopback(parts: Parts) -> None:
    """Neither Ray's processes nor the meeting places of learner ranks and weight transfer."""
    driver = psutil.Process()
    found = [
        (process.name(), connection.laddr.ip)
        for process in (driver, *driver.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(found) > 10
    token = Path.home() / ".ray" / "auth_token"
    assert token.stat().st_mode & 0o077 == 0
    assert {ip for _, ip in found} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, found


def test_new_weights_in_mid_generation(parts: Parts, tmp_path: Path) -> None:
    """Tokens before the update are of the old weights, those after it of the new, no cache kept."""
    parts.broadcaster.send(10)
    parts.learner.export(tmp_path / "10")
    parts.learner.update([graded(parts.sample(seed=5))])
    parts.learner.export(tmp_path / "11")
    stream = parts.generators.generate(
        PROMPTS, completions=8, max_tokens=240, temperature=1.0, seed=6
    )
    actors = parts.generators.actors
    while not all(ray.get([actor.handle.unfinished.remote() for actor in actors])):
        time.sleep(0.01)
    parts.broadcaster.send(11)
    generations = [ray.get(reference) for reference in stream]
    completions = [(g.prompt_tokens, c) for g in generations for c in g.completions]
    assert any([span.version for span in c.spans] == [10, 11] for _, c in completions)
    models = {version: load(tmp_path / str(version)) for version in (10, 11)}
    told_apart = 0
    for prompt_tokens, completion in completions:
        assert [s.start for s in completion.spans] == [0, *(s.stop for s in completion.spans[:-1])]
        assert completion.spans[-1].stop == len(completion.tokens)
        expected = {v: logprobs(m, prompt_tokens, completion) for v, m in models.items()}
        for span in completion.spans:
            part = slice(span.start, span.stop)
            found = completion.logprobs[part]
            np.testing.assert_allclose(found, expected[span.version][part], atol=1e-4)
            told_apart += np.abs(found - expected[21 - span.version][part]).max() > 1e-3
    assert told_apart > len(completions) / 2


def load(folder: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def logprobs(model: torch.nn.Module, prompt_tokens: IntArray, completion: Completion) -> FloatArray:
    """The model's log-probabilities of a completion's tokens."""
    row = torch.tensor(np.concatenate([prompt_tokens, completion.tokens])).long()
    with torch.no_grad():
        scores = model(row[None]).logits[0, len(prompt_tokens) - 1 : -1].log_softmax(-1)
    return scores.gather(1, row[len(prompt_tokens) :, None])[:, 0].numpy()


@pytest.mark.parametrize("layer", ["model.layers.1.self_attn.qkv_proj", "model.embed_tokens"])
def test_a_damaged_weight_is_seen(parts: Parts, layer: str) -> None:
    parts.broadcaster.send(12)
    assert parts.generators.checksums() == dict.fromkeys(NAMES, parts.learner.checksums())
    ray.get(parts.generators.actors[1].handle.call_worker.remote("corrupt", layer))
    sound, damaged = parts.generators.checksums().values()
    assert sound == parts.learner.checksums()
    wrong = {name for name in sound if damaged[name] != sound[name]}
    prefix = layer.removesuffix("qkv_proj")
    assert wrong
    assert all(name.startswith(prefix) for name in wrong)
    parts.broadcaster.send(13)
    assert parts.generators.checksums() == dict.fromkeys(NAMES, parts.learner.checksums())


def checks(parts: Parts) -> WeightChecks:
    """With prompts long enough to fill a block of the prefix cache."""
    words = " ".join(str(number % 100) for number in range(100))
    config = RunConfig(transfer=TransferConfig(probe_tolerance=1e-5))
    return WeightChecks(config, parts.generators, parts.learner, [prompt(words)])


def test_a_damaged_weight_is_heard_by_the_probe(parts: Parts) -> None:
    parts.broadcaster.send(20)
    checks(parts).probe(20)
    layer = "model.layers.0.self_attn.qkv_proj"
    ray.get(parts.generators.actors[0].handle.call_worker.remote("corrupt", layer, 1.0))
    with pytest.raises(IntegrityError, match="generator 0 at version 20: its log-probabilities"):
        checks(parts).probe(20)
    parts.broadcaster.send(21)
    checks(parts).probe(21)


def test_a_cache_of_older_weights_is_heard_by_the_probe(parts: Parts) -> None:
    parts.broadcaster.send(30)
    groups = graded(parts.sample(seed=7))
    checks(parts).probe(30)
    # What the probe left in the cache is kept while the weights change.
    actor = parts.generators.actors[1]
    ray.get(actor.handle.__ray_call__.remote(keep_caches))
    parts.learner.update([groups])
    parts.broadcaster.send(31)
    with pytest.raises(IntegrityError, match=r"generator 1 at version 31: .* a stale cache"):
        checks(parts).probe(31)
    ray.get(actor.handle.__ray_call__.remote(clear_caches))
    parts.broadcaster.send(32)
    checks(parts).probe(32)


def keep_caches(generator: Any) -> None:
    """Make a generator forget to clear its caches."""
    core = generator._engine.engine_core
    generator.pause = pause = core.pause_scheduler_async

    async def kept(*, mode: str, clear_cache: bool) -> None:
        await pause(mode=mode, clear_cache=False)

    core.pause_scheduler_async = kept


def clear_caches(generator: Any) -> None:
    """Undo it."""
    generator._engine.engine_core.pause_scheduler_async = generator.pause


def test_an_update_that_another_engine_broke_off_is_begun_anew(parts: Parts) -> None:
    """One of two engines fails before the transfer: the other is left in mid-update."""
    parts.broadcaster.send(33)
    first, second = parts.generators.actors
    ray.get(second.handle.__ray_call__.remote(fail_once))
    parts.broadcaster.send(34)
    assert parts.generators.actors == (first, second)
    checks(parts).probe(34)
    checks(parts).checksums(34)


def fail_once(generator: Any) -> None:
    """Make an engine refuse the next update, before it begins."""
    engine = generator._engine
    start = engine.start_weight_update

    async def failing() -> None:
        engine.start_weight_update = start
        raise ValueError("not now")

    engine.start_weight_update = failing


def test_a_version_that_was_skipped_is_noticed(parts: Parts) -> None:
    parts.broadcaster.send(40)
    actor = parts.generators.actors[0]
    ray.get(actor.handle.__ray_call__.remote(skip_version))
    with pytest.raises(IntegrityError, match=r"version 41 the generators have versions \[40, 41\]"):
        parts.broadcaster.send(41)


def skip_version(generator: Any) -> None:
    """Make an engine take the next weights for those it has."""
    engine = generator._engine
    finish = engine.finish_weight_update

    async def skipped(weight_version: str) -> None:
        await finish(str(int(weight_version) - 1))

    engine.finish_weight_update = skipped
