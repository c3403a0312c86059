"""Packed weights are read back exactly, and a copy that differs is seen."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import nn

from actors.transfer.engine_weights import engine_weights, packed_forms, share_packed_again
from learner.digests import digest, digests_of


class Packed(nn.Module):
    """A linear layer as vLLM's CPU backend leaves it: the parameter is gone."""

    def __init__(self, weight: torch.Tensor, sizes: list[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(0, dtype=weight.dtype), requires_grad=False)
        self.bias = nn.Parameter(torch.arange(len(weight)).float(), requires_grad=False)
        self.params_dtype = weight.dtype
        self.input_size_per_partition = weight.shape[1]
        self.output_partition_sizes = sizes
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


class Divided(nn.Module):
    """What one of two workers holds of a layer that vLLM divides by outputs or by inputs."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, **sizes: object) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        for name, size in sizes.items():
            setattr(self, name, size)


WORKERS = 4
HEADS, HEAD = 8, 2
"""Of queries; there are two of keys and values, so that two workers in a row have the same."""


def whole_weights() -> dict[str, torch.Tensor]:
    rows = {"q_proj": HEADS * HEAD, "k_proj": 2 * HEAD, "v_proj": 2 * HEAD}
    weights = {f"{name}.weight": torch.randn(count, 6) for name, count in rows.items()}
    weights |= {f"{name}.bias": torch.randn(count) for name, count in rows.items()}
    weights["o_proj.weight"], weights["o_proj.bias"] = torch.randn(6, 16), torch.randn(6)
    weights["embed_tokens.weight"] = torch.randn(10, 6)
    weights["norm.weight"], weights["norm.bias"] = torch.ones(6), torch.zeros(6)
    return weights


def part_of_worker(weights: dict[str, torch.Tensor], worker: int) -> nn.Module:
    """The model as vLLM divides it among ``WORKERS``."""

    def qkv(leaf: str) -> torch.Tensor:
        q = weights[f"q_proj.{leaf}"].chunk(WORKERS)[worker]
        k, v = (weights[f"{n}_proj.{leaf}"].chunk(2)[worker // 2] for n in "kv")
        return torch.cat([q, k, v])

    fused = Divided(qkv("weight"), qkv("bias"))
    fused.output_partition_sizes = [HEADS * HEAD // WORKERS, HEAD, HEAD]
    fused.output_size, fused.output_size_per_partition = 32, 8
    fused.num_kv_head_replicas = 2
    columns = weights["o_proj.weight"].chunk(WORKERS, dim=1)[worker]
    out = Divided(columns, weights["o_proj.bias"], input_size=16, input_size_per_partition=4)
    padded = torch.cat([weights["embed_tokens.weight"], torch.zeros(2, 6)])
    embedding = nn.Embedding.from_pretrained(padded.chunk(WORKERS)[worker])
    embedding.org_vocab_size = 10
    model = nn.ModuleDict(
        {"qkv_proj": fused, "o_proj": out, "embed_tokens": embedding, "norm": nn.LayerNorm(6)}
    )
    model.packed_modules_mapping = Model.packed_modules_mapping
    return model


def test_parts_of_tensor_parallel_workers_are_put_together() -> None:
    weights = whole_weights()
    parts: list[list[torch.Tensor]] = [[] for _ in range(WORKERS)]

    def note(worker: int) -> None:
        def together(tensor: torch.Tensor) -> list[torch.Tensor]:
            parts[worker].append(tensor)
            return [tensor] * WORKERS

        list(engine_weights(part_of_worker(weights, worker), together))

    for worker in range(WORKERS):
        note(worker)
    asked = iter(range(len(parts[0])))

    def together(_tensor: torch.Tensor) -> list[torch.Tensor]:
        index = next(asked)
        return [of_worker[index] for of_worker in parts]

    found = dict(engine_weights(part_of_worker(weights, 2), together))
    assert digests_of(found.items()) == digests_of(weights.items())


class Tied(nn.Module):
    """An output layer tied to the embedding, each with a packed copy of the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens, self.lm_head = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
        self.other = nn.Linear(4, 4)
        self.lm_head.weight = self.embed_tokens.weight
        for layer in (self.embed_tokens, self.lm_head, self.other):
            pack(layer)


def pack(layer: nn.Module) -> None:
    packed = layer.weight.detach().clone()
    layer.cpu_linear = lambda x, _weight, bias: nn.functional.linear(x, packed, bias)


@pytest.mark.parametrize("loaded", ["embed_tokens", "lm_head"])
def test_a_tied_layer_takes_over_the_new_packed_copy(loaded: str) -> None:
    model = Tied()
    before = packed_forms(model)
    untouched = model.other.cpu_linear
    with torch.no_grad():
        model.embed_tokens.weight += 1
    pack(model.get_submodule(loaded))
    assert digests_of(engine_weights(model))["embed_tokens.weight"] != digest(
        model.embed_tokens.weight
    )
    share_packed_again(before)
    found = digests_of(engine_weights(model))
    assert found["embed_tokens.weight"] == digest(model.embed_tokens.weight)
    assert model.other.cpu_linear is untouched
