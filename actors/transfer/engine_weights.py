"""What an engine computes with, by Hugging Face parameter name, to be compared by checksum.

On a GPU an engine computes with its parameters, and those are hashed. On a CPU vLLM packs
the weight of a linear layer into a form of its own and drops the parameter; nothing is left
to hash. There the packed weight is read back by multiplying it with the identity matrix:
each product has one term that is not zero, so the result is the weight exactly, in float32
and in bfloat16 alike. What is hashed is therefore what the engine computes with, not what
was sent to it. The sign of a zero does not survive this, nor does it count in a checksum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

READ_ROWS = 512
"""Rows of the identity matrix multiplied at once."""


Together = Callable[[torch.Tensor], Sequence[torch.Tensor]]
"""From one worker's tensor to those of all workers of the engine, in order. Collective."""


def alone(tensor: torch.Tensor) -> Sequence[torch.Tensor]:
    """``Together`` of an engine with one worker."""
    return [tensor]


def engine_weights(
    model: torch.nn.Module, together: Together = alone
) -> Iterator[tuple[str, torch.Tensor]]:
    """What a vLLM model computes with, whole, by Hugging Face parameter name.

    Fused parameters (``qkv_proj``, ``gate_up_proj``) are cut apart along their rows. A weight
    that two layers share (tied embeddings) is read from both, for each may pack a copy of its
    own; should they differ, it is all NaN. With tensor parallelism each worker holds a part of
    most parameters: the parts are joined, on every worker alike.
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
        elif leaf == "bias":
            # The packed form keeps biases in float32; the type they were sent in is the layer's.
            tensor = tensor.to(getattr(layer, "params_dtype", tensor.dtype))
        for part, piece, replicas in _unfused(model, layer, name, tensor):
            whole = _joined(layer, leaf, piece, replicas, together)
            # Vocabularies are padded to a round number of rows.
            yield part, whole[: getattr(layer, "org_vocab_size", len(whole))]


def _joined(
    layer: torch.nn.Module, leaf: str, piece: torch.Tensor, replicas: int, together: Together
) -> torch.Tensor:
    """A parameter out of its parts on all workers.

    Args:
        layer: it belongs to; vLLM's linear layers say how they are divided.
        leaf: its name in the layer. The bias of a layer that is divided by inputs is whole.
        piece: this worker's part.
        replicas: workers in a row that have the same part.
        together: brings the parts of all workers.
    """
    if hasattr(layer, "org_vocab_size") or _is_divided(layer, "output_size"):
        parts = list(together(piece))[::replicas]
        return parts[0] if len(parts) == 1 else torch.cat(parts)
    if leaf == "weight" and _is_divided(layer, "input_size"):
        return torch.cat(list(together(piece)), dim=1)
    return piece


def _is_divided(layer: torch.nn.Module, size: str) -> bool:
    whole: Any = getattr(layer, size, None)
    return bool(getattr(layer, f"{size}_per_partition", whole) != whole)


def packed_forms(model: torch.nn.Module) -> dict[torch.nn.Module, Any]:
    """What the layers of ``model`` multiply with, where that is a packed copy of the weight."""
    found = ((layer, getattr(layer, "cpu_linear", None)) for layer in model.modules())
    return {layer: packed for layer, packed in found if packed is not None}


def share_packed_again(before: dict[torch.nn.Module, Any]) -> None:
    """Renew the packed copies of weights that layers share (tied embeddings).

    On a CPU every layer packs a copy of its weight. A reload renews the copy of the layer that
    the checkpoint names; an output layer tied to the embedding would keep the old one, and
    sample from it without a word. It takes the new one over: one copy does for both.

    Args:
        before: ``packed_forms`` of the model before it was reloaded.
    """
    sharing: dict[int, list[Any]] = {}
    for layer in before:
        # By the parameter itself: all that are packed on their own are equal, and empty.
        if (weight := layer._parameters.get("weight")) is not None:
            sharing.setdefault(id(weight), []).append(layer)
    for layers in sharing.values():
        renewed = [layer for layer in layers if layer.cpu_linear is not before[layer]]
        for layer in layers if renewed else []:
            layer.cpu_linear = renewed[0].cpu_linear


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
) -> Iterator[tuple[str, torch.Tensor, int]]:
    """This worker's part of a fused parameter as its parts, anything else as it is.

    With each goes how many workers in a row have the same: key and value heads that are fewer
    than the workers are repeated.
    """
    mapping: dict[str, list[str]] = getattr(model, "packed_modules_mapping", {})
    parts = name.split(".")
    fused = parts[-2] if len(parts) > 1 else ""
    names = mapping.get(fused, [fused])
    sizes: Any = getattr(layer, "output_partition_sizes", None)
    if len(names) == 1 or sizes is None or len(sizes) != len(names):
        yield name, tensor, 1
        return
    repeated: Any = getattr(layer, "num_kv_head_replicas", 1)
    pieces = torch.split(tensor, list(sizes))
    for index, (part, piece) in enumerate(zip(names, pieces, strict=True)):
        yield ".".join([*parts[:-2], part, parts[-1]]), piece, repeated if index else 1
