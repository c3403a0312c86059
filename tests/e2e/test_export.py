"""The exported model in transformers and in a real vLLM engine: all three continue alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from actors.engine import engine_environment
from contracts.config import Dtype, GeneratorConfig, LearnerConfig
from contracts.types import Objective
from learner.engine import Learner
from learner.samples import supervised_sample

pytestmark = pytest.mark.e2e
QUESTIONS = ("Solve 1 + 2", "Solve 30 - 7", "Which answer is correct? A: 5 B: 6", "Check 9 = 9")
NEW_TOKENS = 12
VOCABULARY = 126

ENGINE = """
import json, sys
from vllm import LLM, SamplingParams
folder, dtype, questions, tokens = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
engine = LLM(folder, dtype=dtype, enforce_eager=True, max_model_len=64)
sampling = SamplingParams(temperature=0, max_tokens=int(tokens), ignore_eos=True)
chats = [[{"role": "user", "content": question}] for question in questions]
results = engine.chat(chats, sampling, use_tqdm=False)
found = [(list(r.prompt_token_ids), list(r.outputs[0].token_ids)) for r in results]
print(json.dumps(found))
"""


def prompts_of(folder: Path) -> list[list[int]]:
    """The questions as the folder's own tokenizer and chat template put them."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_dict=False
        )
        for question in QUESTIONS
    ]


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def trained(
    request: pytest.FixtureRequest,
    random_model_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Learner, Path, Dtype]]:
    """A learner that was taught a continuation of every question, its export and its type."""
    dtype: Dtype = request.param
    config = LearnerConfig(
        device="cpu", threads=1, learning_rate=3e-3, warmup_updates=2, schedule="constant"
    )
    learner = Learner(random_model_folder, config, dtype=dtype, total_updates=40, seed=0)
    draw = np.random.default_rng(0)
    lessons = [
        supervised_sample(f"q{k}", Objective.SOLVE, tokens, draw.integers(5, VOCABULARY, 8))
        for k, tokens in enumerate(prompts_of(random_model_folder))
    ]
    for _ in range(40):
        learner.update([lessons])
    folder = tmp_path_factory.mktemp(f"export-{dtype}")
    learner.export(folder, "# How it was made")
    yield learner, folder, dtype
    learner.close()


def greedy(learner: Learner, prompts: list[list[int]]) -> tuple[list[list[int]], float]:
    """The learner's likeliest tokens, one by one, and how clearly the least clear one won."""
    written: list[list[int]] = [[] for _ in prompts]
    margin = float("inf")
    for _ in range(NEW_TOKENS):
        candidates = [
            supervised_sample(f"{k}", Objective.SOLVE, [*prompt, *done], [token])
            for k, (prompt, done) in enumerate(zip(prompts, written, strict=True))
            for token in range(VOCABULARY)
        ]
        table = np.concatenate(learner.logprobs(candidates)).reshape(len(prompts), VOCABULARY)
        assert np.exp(table).sum(axis=1) == pytest.approx(1, abs=1e-2)
        best = np.sort(table, axis=1)
        margin = min(margin, float((best[:, -1] - best[:, -2]).min()))
        for done, row in zip(written, table, strict=True):
            done.append(int(row.argmax()))
    return written, margin


def test_transformers_and_vllm_continue_as_the_learner_does(
    trained: tuple[Learner, Path, Dtype], random_model_folder: Path
) -> None:
    learner, folder, dtype = trained
    prompts = prompts_of(folder)
    assert prompts == prompts_of(random_model_folder)
    expected, margin = greedy(learner, prompts)
    # Else equal outputs would say little: rounding could turn any of these tokens over.
    assert margin > (0.1 if dtype == "bfloat16" else 1e-3)
    assert len({tuple(tokens) for tokens in expected}) == len(QUESTIONS)
    assert in_transformers(folder, prompts, dtype) == expected
    for prompt, continuation, (seen, found) in zip(
        prompts, expected, in_vllm(folder, dtype), strict=True
    ):
        assert seen == prompt
        assert found == continuation


def in_transformers(folder: Path, prompts: list[list[int]], dtype: Dtype) -> list[list[int]]:
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == getattr(torch, dtype)
    model.generation_config.eos_token_id = None
    found = []
    for prompt in prompts:
        whole = model.generate(
            torch.tensor([prompt]), do_sample=False, max_new_tokens=NEW_TOKENS, pad_token_id=0
        )
        found.append(whole[0, len(prompt) :].tolist())
    return found


def in_vllm(folder: Path, dtype: Dtype) -> list[tuple[list[int], list[int]]]:
    """Prompt and continuation of every question, by an engine in a process of its own."""
    environment = engine_environment(GeneratorConfig(device="cpu"))
    done = subprocess.run(
        [sys.executable, "-c", ENGINE, folder, dtype, json.dumps(QUESTIONS), str(NEW_TOKENS)],
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment, "VLLM_CPU_KVCACHE_SPACE": "1"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [(prompt, found) for prompt, found in json.loads(done.stdout.splitlines()[-1])]
