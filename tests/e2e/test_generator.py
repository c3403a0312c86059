"""One real engine behind the generator pool: what comes out, and that it comes out again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
from small_runs import prompt, small_config

from actors.generator import Sampling
from actors.generator_pool import GeneratorPool
from actors.streaming import stream
from contracts.errors import UserError
from contracts.types import Generation, ImagePart, Message, Prompt

pytestmark = pytest.mark.e2e
PROMPTS = [prompt(f"{i} + {i + 3}", i) for i in range(6)]


@pytest.fixture(scope="module")
def pool(session: Path, random_model_folder: Path) -> Iterator[GeneratorPool]:
    pool = GeneratorPool.start(small_config(), random_model_folder, session)
    yield pool
    pool.stop()


def sample(
    pool: GeneratorPool, prompts: list[Prompt], seed: int, temperature: float = 1.0, n: int = 4
) -> list[Generation]:
    references = pool.generate(
        prompts, completions=n, max_tokens=12, temperature=temperature, seed=seed
    )
    got = [ray.get(reference) for reference in references]
    return sorted(got, key=lambda generation: generation.prompt.id)


def same(left: list[Generation], right: list[Generation]) -> bool:
    """Whether two batches agree in every token and every bit of every log-probability."""
    pairs = [
        (a, b)
        for one, other in zip(left, right, strict=True)
        for a, b in zip(one.completions, other.completions, strict=True)
    ]
    return all(
        np.array_equal(a.tokens, b.tokens) and a.logprobs.tobytes() == b.logprobs.tobytes()
        for a, b in pairs
    )


def test_completions_are_whole(pool: GeneratorPool) -> None:
    batch = sample(pool, PROMPTS, seed=1)
    assert [generation.prompt for generation in batch] == PROMPTS
    ids = [c.id for generation in batch for c in generation.completions]
    assert len(set(ids)) == len(PROMPTS) * 4
    for generation in batch:
        for completion in generation.completions:
            length = len(completion.tokens)
            assert 1 <= length <= 12
            assert completion.logprobs.shape == (length,)
            assert (completion.logprobs < 0).all()
            assert [(s.start, s.stop, s.version) for s in completion.spans] == [(0, length, 0)]
            ended = completion.tokens[-1] == 1
            assert completion.finish == ("stop" if ended else "length")
            assert "<eos>" not in completion.text
            assert len(completion.text.split()) <= length


def test_logprobs_are_those_of_the_model(pool: GeneratorPool, random_model_folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(random_model_folder, dtype=torch.float32)
    (generation,) = sample(pool, PROMPTS[:1], seed=3)
    start = len(generation.prompt_tokens)
    for completion in generation.completions:
        row = np.concatenate([generation.prompt_tokens, completion.tokens])
        with torch.no_grad():
            logits = model(torch.tensor(row).long()[None]).logits[0]
        expected = logits.log_softmax(-1)[start - 1 : -1]
        expected = expected[torch.arange(len(completion.tokens)), completion.tokens]
        np.testing.assert_allclose(completion.logprobs, expected.numpy(), atol=2e-5)


def test_same_seed_same_tokens_whatever_came_between(pool: GeneratorPool) -> None:
    first = sample(pool, PROMPTS, seed=7)
    sample(pool, [prompt("90 - 1", 99), *PROMPTS[:2]], seed=123, n=3)
    again = sample(pool, PROMPTS, seed=7)
    other = sample(pool, PROMPTS, seed=8)
    assert same(first, again)
    assert not same(first, other)


def test_greedy_needs_no_seed(pool: GeneratorPool) -> None:
    first = sample(pool, PROMPTS, seed=1, temperature=0.0, n=1)
    second = sample(pool, PROMPTS, seed=2, temperature=0.0, n=1)
    assert same(first, second)


def test_an_image_is_refused_by_a_text_model(pool: GeneratorPool) -> None:
    shown = replace(PROMPTS[0], messages=(Message("user", (ImagePart("a.png"),)),))
    with pytest.raises(UserError, match="reads text only"):
        sample(pool, [shown], seed=1)


def test_a_prompt_without_room_is_refused(pool: GeneratorPool) -> None:
    long = prompt(" + ".join(["1"] * 200), 0)
    with pytest.raises(UserError, match=r"prompt-0: a prompt of .* tokens leaves no room"):
        sample(pool, [long], seed=1)
    assert len(sample(pool, PROMPTS[:1], seed=1)) == 1


def test_output_goes_to_the_log(pool: GeneratorPool, capfd: pytest.CaptureFixture[str]) -> None:
    sample(pool, PROMPTS, seed=5)
    assert "vllm" not in capfd.readouterr().err.lower()
    assert (
        "vLLM" in pool.actors[0].log.read_text() or "LLM engine" in pool.actors[0].log.read_text()
    )


def test_a_watched_completion_is_the_one_that_would_have_come(pool: GeneratorPool) -> None:
    sampling = Sampling(1, 12, 1.0, 5)
    (actor,) = pool.serving
    pieces = list(stream(actor, PROMPTS[0], sampling, seconds=60))
    ((_, reference),) = pool.sample_each(PROMPTS[:1], sampling)
    (expected,) = ray.get(reference)
    last = pieces[-1].generation
    assert last is not None
    assert [piece.generation for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert same([last], [expected])
    assert "".join(piece.text for piece in pieces) == expected.completions[0].text
    assert len(pieces) > 1


def test_what_cannot_be_watched_is_refused(pool: GeneratorPool) -> None:
    (actor,) = pool.serving
    long = prompt(" + ".join(["1"] * 200), 0)
    with pytest.raises(UserError, match="leaves no room"):
        list(stream(actor, long, Sampling(1, 12, 1.0, 5), seconds=60))
