"""Weights out of ZeRO-3, whole: for the broadcast, for checksums, for a Hugging Face folder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from contracts.errors import UserError
from learner.zero import gathered, shape_of

BUCKET_BYTES = 256 << 20
"""Of weights that are gathered at once."""


@dataclass(frozen=True, slots=True)
class WeightMeta:
    """A weight as it leaves the learner: Hugging Face name, type as exported, whole shape."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return self.elements * self.dtype.itemsize


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
