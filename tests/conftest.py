"""Fixtures that several rooms share: a Ray session, a random tiny model with its tokenizer.

With ``COEVOLVE_TESTS_UNTIL`` (seconds of the epoch) no test begins whose time limit ends later; it
is skipped and says so. Where all may only take so long, a slow machine does fewer of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A slow machine proves nothing wrong.
settings.register_profile("no time limit", deadline=None)
settings.load_profile("no time limit")

WORDS = ("<pad>", "<eos>", "<user>", "<assistant>", "<unk>")
NUMBERS = tuple(str(number) for number in range(100))
SIGNS = ("+", "-", "=", "?", "yes", "no", "A", "B", "A:", "B:", r"\boxed{", "}")
SAYINGS = ("Solve", "Proposed", "Correct?", "Which", "is", "correct?", "Check", "and", "answer")
TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}> {{ message.content }}"
    "{% if message.role == 'assistant' %} <eos>{% endif %} {% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin nothing that might not end in the time that was given."""
    until = os.environ.get("COEVOLVE_TESTS_UNTIL")
    marker = item.get_closest_marker("timeout")
    longest = float(marker.args[0] if marker else item.config.getini("timeout"))
    if until is not None and time.time() + longest > float(until):
        pytest.skip(f"no time is left for it: it may take {longest:.0f} s")


@pytest.fixture(scope="module")
def session(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A Ray session whose actors can import the test's folder; yields its folder of logs."""
    from actors.runtime import ray_session

    logs = tmp_path_factory.mktemp("logs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(request.path.parent))
        with ray_session(logs):
            yield logs


@pytest.fixture(scope="session")
def random_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2 of 0.4M random parameters (float32, tied embeddings) with a word tokenizer."""
    folder = tmp_path_factory.mktemp("random-model")
    build_random_model(folder)
    return folder


def build_random_model(folder: Path, seed: int = 0) -> None:
    """Write a random tiny model and its tokenizer to ``folder``."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    words = (*WORDS, *NUMBERS, *SIGNS, *SAYINGS)
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        additional_special_tokens=["<user>", "<assistant>"],
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    config = Qwen2Config(
        vocab_size=len(words),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=256,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=vocabulary["<eos>"],
        pad_token_id=vocabulary["<pad>"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config).to(torch.float32)
        for name, parameter in model.named_parameters():
            # Biases are born as zeros, which would hide errors in moving them.
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.02)
    model.save_pretrained(folder)
