"""The count of operations against one by hand, and against torch's own counter."""

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2Config, Qwen2ForCausalLM

from services.bench.flops import Shape, update_flops
from services.bench.workload import Mix, Work

SHAPE = Shape(layers=2, hidden=4, intermediate=6, heads=2, kv_heads=1, head_dim=2, vocabulary=10)


def work(prompt: int, completion: int, groups: int = 1, size: int = 3) -> Work:
    return Work(
        variant="learner",
        model="tiny",
        folder=Path(),
        dtype="float32",
        mix=Mix("short", prompt, completion),
        groups=groups,
        threads=1,
        vocabulary=10,
        seed=0,
        size=size,
    )


def test_weights_by_hand():
    # Per layer: q 4x4, k 4x2, v 4x2, o 4x4, and three of 4x6.
    assert SHAPE.weights == 2 * (16 + 8 + 8 + 16 + 3 * 24)


def test_plain_rows_by_hand():
    # 3 rows of 5 + 3 - 1 = 7 tokens; 7 * 8 / 2 pairs each; 3 * 3 rows of logits.
    body = 2 * 240 * 3 * 7
    attention = 2 * 2 * 2 * (2 * 2) * (3 * 28)
    head = 2 * 4 * 10 * 9
    assert update_flops(SHAPE, work(5, 3), shared=False) == 3 * (body + attention + head)


def test_shared_rows_by_hand():
    # 5 + 3 * 2 = 11 tokens; the prompt's 15 pairs once; 2 tokens see 6 and 7 of their own row.
    body = 2 * 240 * 11
    attention = 2 * 2 * 2 * (2 * 2) * (15 + 3 * 13)
    head = 2 * 4 * 10 * 9
    assert update_flops(SHAPE, work(5, 3), shared=True) == 3 * (body + attention + head)
    twice = update_flops(SHAPE, work(5, 3, groups=2), shared=True)
    assert twice == 2 * update_flops(SHAPE, work(5, 3), shared=True)


def test_torchs_counter_agrees_but_for_attention_that_is_masked():
    config = Qwen2Config(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = Qwen2ForCausalLM(config)
    model.set_attn_implementation("eager")
    shape = Shape.of(config.to_dict())
    assert (shape.layers, shape.heads, shape.kv_heads, shape.head_dim) == (2, 4, 2, 8)
    ids = torch.arange(12).view(2, 6)
    counter = FlopCounterMode(display=False)
    with counter:
        model(ids, logits_to_keep=3).logits.sum().backward()
    # Torch counts all pairs of a row of 6, this formula the 21 that are seen.
    unseen = 3 * 4 * 2 * 4 * 8 * 2 * (36 - 21)
    ours = update_flops(shape, work(4, 3, size=2), shared=False)
    assert counter.get_total_flops() == pytest.approx(ours + unseen, rel=0.01)
