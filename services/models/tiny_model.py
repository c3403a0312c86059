"""The tiny model: a Qwen2-architecture causal language model of 0.4 million parameters."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

from services.models.tiny_language import build_tokenizer

CONTEXT = 512
"""Longest sequence of the tiny model, in tokens."""

ROPE_BASE = 100.0
"""Base of the rotary position embedding: small, because sequences are a few dozen tokens."""


def build_tiny_model(folder: Path, seed: int) -> int:
    """Write a tiny model with random weights and its tokenizer as a Hugging Face folder.

    The head size is 32 because vLLM's attention on CPUs takes no smaller one.

    Args:
        folder: written to; made if missing.
        seed: of the initial weights.

    Returns:
        The number of parameters.
    """
    tokenizer = build_tokenizer(CONTEXT)
    config = Qwen2Config(
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_BASE},
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())
