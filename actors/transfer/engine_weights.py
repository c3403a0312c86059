"""What an engine computes with, by Hugging Face parameter name, to be compared by checksum.

On a GPU an engine computes with its parameters, and those are hashed. On a CPU vLLM packs
the weight of a linear layer into a form of its own and drops the parameter; nothing is left
to hash. There the packed weight is read back by multiplying it with the identity matrix:
each product has one term that is not zero, so the result is the weight exactly, in float32
and in bfloat16 alike. What is hashed is therefore what the engine computes with, not what
was sent to it. The sign of a zero does not survive this, nor does it count in a checksum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

READ_ROWS = 512
"""Rows of the identity matrix multiplied at once."""


def engine_weights(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """What a vLLM model computes with, by Hugging Face parameter name.

    Fused parameters (``qkv_proj``, ``gate_up_proj``) are cut apart along their rows. A weight
    that two layers share (tied embeddings) is read from both, for each packs a copy of its
    own; should they differ, it is all NaN. For one worker only: with tensor parallelism each
    worker holds a part of each parameter.
    """
    modules = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        prefix, _, leaf = name.rpartition(".")
        layer = modules[prefix]
        tensor = parameter.detach()
        if leaf == "weight":
            tensor = _effective_weight(layer, tensor)
            others = [m for m in layers_with(model, parameter) if m is not layer]
            if any(not torch.equal(_effective_weight(m, parameter), tensor) for m in others):
                tensor = torch.full_like(tensor, float("nan"))
            # Vocabularies are padded to a round number of rows.
            tensor = tensor[: getattr(layer, "org_vocab_size", len(tensor))]
        elif leaf == "bias":
            # The packed form keeps biases in float32; the type they were sent in is the layer's.
            tensor = tensor.to(getattr(layer, "params_dtype", tensor.dtype))
        yield from _unfused(model, layer, name, tensor)


def layers_with(model: torch.nn.Module, weight: torch.nn.Parameter) -> list[torch.nn.Module]:
    """All layers of ``model`` whose weight is this very parameter."""
    return [module for module in model.modules() if module._parameters.get("weight") is weight]


def _effective_weight(layer: torch.nn.Module, parameter: torch.Tensor) -> torch.Tensor:
    """The weight [rows, columns] that ``layer`` multiplies with."""
    packed = getattr(layer, "cpu_linear", None)
    if packed is None:
        return parameter
    inputs: Any = getattr(layer, "input_size_per_partition", None)
    columns: int = parameter.shape[1] if parameter.ndim == 2 else inputs
    dtype = parameter.dtype
    parts = []
    for start in range(0, columns, READ_ROWS):
        stop = min(start + READ_ROWS, columns)
        rows = torch.zeros(stop - start, columns, dtype=dtype)
        rows[:, start:stop].fill_diagonal_(1.0)
        parts.append(packed(rows, parameter, None))
    read = torch.cat(parts).t()
    if parameter.ndim == 2 and parameter.numel() and not torch.equal(read, parameter):
        # An embedding whose packed twin, the output layer, differs: neither can be trusted.
        return torch.full_like(parameter, float("nan"))
    return read


def _unfused(
    model: torch.nn.Module, layer: torch.nn.Module, name: str, tensor: torch.Tensor
) -> Iterator[tuple[str, torch.Tensor]]:
    """A fused parameter as its parts, anything else as it is."""
    mapping: dict[str, list[str]] = getattr(model, "packed_modules_mapping", {})
    parts = name.split(".")
    fused = parts[-2] if len(parts) > 1 else ""
    names = mapping.get(fused, [fused])
    sizes: Any = getattr(layer, "output_sizes", None)
    if len(names) == 1 or sizes is None or len(sizes) != len(names):
        yield name, tensor
        return
    for part, piece in zip(names, torch.split(tensor, list(sizes)), strict=True):
        yield ".".join([*parts[:-2], part, parts[-1]]), piece
