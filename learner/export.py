"""Weights out of ZeRO-3: for the broadcast, for checksums, for a Hugging Face folder.

Every function that yields or hashes weights is collective: all ranks run it, in the same
order, or they wait for each other for ever.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from contracts.errors import UserError
from learner.zero import gathered, shape_of

BUCKET_BYTES = 256 << 20
SHARD_BYTES = 4 << 30
TOKENIZER_FILES = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt",
    "chat_template*", "*.model", "generation_config.json", "preprocessor_config.json",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class WeightMeta:
    """Name in the Hugging Face checkpoint, type as exported, whole shape."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


class LearnerWeights:
    """The weights of the model under their Hugging Face names, tied ones once.

    Iterating gathers bucket by bucket and is collective; a tensor is whole on every rank and
    valid until the next update of the learner.
    """

    def __init__(self, deepspeed: Any, model: nn.Module, dtype: torch.dtype) -> None:
        self._deepspeed = deepspeed
        self._dtype = dtype
        self._named = _named_weights(model)

    def metadata(self) -> list[WeightMeta]:
        """Name, type and shape of each weight, in the order of iteration. Not collective."""
        return [WeightMeta(name, self._type(p), shape_of(p)) for name, p in self._named]

    @property
    def named(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters, perhaps partitioned, by name."""
        return self._named

    def __len__(self) -> int:
        return len(self._named)

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for bucket in self._buckets():
            with gathered(self._deepspeed, [parameter for _, parameter in bucket]):
                for name, parameter in bucket:
                    yield name, parameter.data.to(self._type(parameter))

    def _type(self, parameter: nn.Parameter) -> torch.dtype:
        return self._dtype if parameter.is_floating_point() else parameter.dtype

    def _buckets(self) -> Iterator[list[tuple[str, nn.Parameter]]]:
        bucket: list[tuple[str, nn.Parameter]] = []
        size = 0
        for name, parameter in self._named:
            extra = getattr(parameter, "ds_numel", parameter.numel()) * parameter.element_size()
            if bucket and size + extra > BUCKET_BYTES:
                yield bucket
                bucket, size = [], 0
            bucket.append((name, parameter))
            size += extra
        if bucket:
            yield bucket


def _named_weights(model: Any) -> list[tuple[str, nn.Parameter]]:
    """Parameters under the names they have in a checkpoint of this architecture, each once.

    Raises:
        UserError: the checkpoint merges or splits parameters, which is not supported.
    """
    named = [(_checkpoint_name(model, name, p), p) for name, p in model.named_parameters()]
    if len({name for name, _ in named}) != len(named):
        raise _other_layout(model)
    return named


def _checkpoint_name(model: Any, name: str, parameter: nn.Parameter) -> str:
    from transformers.core_model_loading import revert_weight_conversion

    shape = shape_of(parameter)
    stored = revert_weight_conversion(model, {name: torch.empty(shape, device="meta")})
    if [tuple(tensor.shape) for tensor in stored.values()] != [shape]:
        raise _other_layout(model)
    return str(next(iter(stored)))


def _other_layout(model: Any) -> UserError:
    return UserError(
        f"{type(model).__name__} is stored in another layout than it is trained in",
        where="model.name",
        remedy="use an architecture whose checkpoint holds each parameter as it is",
    )


def checksums(weights: LearnerWeights) -> dict[str, str]:
    """SHA-256 of the bytes of each weight as exported, by name. Collective."""
    return {name: digest(tensor) for name, tensor in weights}


def digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's bytes, row-major, little-endian."""
    flat = tensor.detach().contiguous().cpu().view(-1).view(torch.uint8)
    return hashlib.sha256(flat.numpy().tobytes()).hexdigest()


def export_folder(
    weights: LearnerWeights,
    model: Any,
    source: Path,
    folder: Path,
    *,
    writer: bool,
    card: str = "",
) -> None:
    """Write a folder that transformers and vLLM load. Collective; one rank writes.

    Args:
        weights: iterated on every rank.
        model: its configuration is written with the exported type.
        source: folder the tokenizer's files are copied from.
        folder: made if missing; weight files in it are overwritten.
        writer: whether this rank writes.
        card: text of README.md, how the model was made; empty: none.
    """
    shards = _Shards(folder)
    failure: OSError | SafetensorError | None = None
    for name, tensor in weights:
        # After a failure the loop goes on: the other ranks wait for this one to gather.
        if writer and failure is None:
            try:
                shards.add(name, tensor.detach().contiguous().cpu())
            except (OSError, SafetensorError) as error:
                failure = error
    if failure is not None:
        raise failure
    if writer:
        shards.finish()
        _write_config(model, weights, source, folder)
        if card:
            (folder / "README.md").write_text(card)


class _Shards:
    """Weight files of a Hugging Face folder, none much beyond ``SHARD_BYTES``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index: dict[str, str] = {}
        self._shard: dict[str, Tensor] = {}
        self._size = self._total = self._number = 0

    def add(self, name: str, tensor: Tensor) -> None:
        """Take a weight; write a shard when it is full."""
        extra = tensor.numel() * tensor.element_size()
        if self._shard and self._size + extra > SHARD_BYTES:
            self._write(f"model-{self._number + 1:05d}.safetensors")
        self._shard[name] = tensor
        self._size, self._total = self._size + extra, self._total + extra

    def finish(self) -> None:
        """Write what is left, and the index where there are several files."""
        if self._number == 0:
            self._write("model.safetensors")
            return
        self._write(f"model-{self._number + 1:05d}.safetensors")
        body = {"metadata": {"total_size": self._total}, "weight_map": self._index}
        (self._folder / "model.safetensors.index.json").write_text(json.dumps(body, indent=1))

    def _write(self, name: str) -> None:
        from safetensors.torch import save_file

        self._folder.mkdir(parents=True, exist_ok=True)
        save_file(self._shard, self._folder / name, metadata={"format": "pt"})
        self._index.update(dict.fromkeys(self._shard, name))
        self._shard, self._size, self._number = {}, 0, self._number + 1


def _write_config(model: Any, weights: LearnerWeights, source: Path, folder: Path) -> None:
    config = model.config.__class__.from_dict(model.config.to_dict())
    config.dtype = weights.metadata()[0].dtype
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    if source.resolve() == folder.resolve():
        return
    for pattern in TOKENIZER_FILES:
        for file in sorted(source.glob(pattern)):
            if file.is_file():
                shutil.copyfile(file, folder / file.name)
