"""Packed weights are read back exactly, and a copy that differs is seen."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import nn

from actors.transfer.engine_weights import engine_weights
from learner.digests import digest, digests_of


class Packed(nn.Module):
    """A linear layer as vLLM's CPU backend leaves it: the parameter is gone."""

    def __init__(self, weight: torch.Tensor, sizes: list[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(0, dtype=weight.dtype), requires_grad=False)
        self.bias = nn.Parameter(torch.arange(len(weight)).float(), requires_grad=False)
        self.params_dtype = weight.dtype
        self.input_size_per_partition = weight.shape[1]
        self.output_sizes = sizes
        self.cpu_linear = lambda x, _weight, bias: nn.functional.linear(x, weight, bias)


class Model(nn.Module):
    packed_modules_mapping: ClassVar = {"qkv_proj": ["q_proj", "k_proj", "v_proj"]}

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.qkv_proj = Packed(weight, [4, 2, 2])
        self.norm = nn.LayerNorm(3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_weights_are_read_back_bit_for_bit(dtype: torch.dtype) -> None:
    weight = torch.randn(8, 700).to(dtype)
    read = dict(engine_weights(Model(weight)))
    parts = torch.cat([read[f"{part}_proj.weight"] for part in "qkv"])
    assert parts.dtype == dtype
    assert torch.equal(parts, weight)
    assert read["k_proj.bias"].tolist() == [4.0, 5.0]
    assert read["k_proj.bias"].dtype == dtype
    assert torch.equal(read["norm.weight"], torch.ones(3))


def test_an_embedding_and_its_packed_twin_must_agree() -> None:
    table = nn.Embedding(6, 4)
    weight = table.weight.detach()
    table.cpu_linear = lambda x, _weight, bias: nn.functional.linear(x, weight, bias)
    model = nn.ModuleDict({"embed_tokens": table})
    sound = digests_of(engine_weights(model))
    assert sound == {"embed_tokens.weight": digest(weight)}
    other = weight.clone()
    other[0, 0] += 1e-6
    table.cpu_linear = lambda x, _weight, bias: nn.functional.linear(x, other, bias)
    assert digests_of(engine_weights(model)) != sound


def test_a_tied_output_layer_with_an_old_copy_is_seen() -> None:
    table, head = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
    head.weight = table.weight
    old = table.weight.detach().clone()
    head.cpu_linear = lambda x, _weight, bias: nn.functional.linear(x, old, bias)
    model = nn.ModuleDict({"embed_tokens": table, "lm_head": head})
    assert digests_of(engine_weights(model)) == {"embed_tokens.weight": digest(old)}
    with torch.no_grad():
        table.weight[2, 3] += 1
    expected = digest(table.weight)
    assert digests_of(engine_weights(model))["embed_tokens.weight"] != expected
    head.cpu_linear = nn.functional.linear
    assert digests_of(engine_weights(model)) == {"embed_tokens.weight": expected}
