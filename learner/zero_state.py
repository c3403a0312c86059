"""Weights and optimiser state of a ZeRO-3 rank, to a file and back, for any number of ranks.

ZeRO-3 cuts every parameter, flat, into as many equal parts as there are ranks, and rank r
holds float32 master weights and Adam's two moments of part r. Each rank writes its own parts;
whoever loads takes the stretch it needs from whichever files hold it. So a checkpoint of n
ranks loads on m, bit for bit, without a conversion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from learner.checkpoint import CheckpointError
from learner.zero import Place, shape_of

MOMENTS = ("exp_avg", "exp_avg_sq")
RANDOM = "random_state"
DEVICE_RANDOM = "random_state_of_device"


@dataclass(frozen=True, slots=True)
class Part:
    """This rank's part of one parameter: ``count`` elements at ``offset`` of flat ``group``.

    ``start`` is where they lie in the whole flat parameter.
    """

    name: str
    group: int
    offset: int
    start: int
    count: int


class ZeroState:
    """Access to what a ZeRO-3 optimiser of DeepSpeed holds on this rank.

    Args:
        optimizer: DeepSpeed's stage 3 optimiser.
        named: parameters by the name they are stored under; the same on every rank.
        place: this rank's.
    """

    def __init__(
        self, optimizer: Any, named: Sequence[tuple[str, nn.Parameter]], place: Place
    ) -> None:
        self._optimizer = optimizer
        self._named = named
        self._sizes = {name: math.prod(shape_of(parameter)) for name, parameter in named}
        self._place = place

    def save(self, folder: Path) -> dict[str, Any]:
        """Write this rank's file.

        Returns:
            What ``read`` needs to know beside the files.
        """
        from safetensors.torch import save_file

        steps = [self._adam(group).get("step") for group in range(len(self._flat()))]
        tensors = {RANDOM: torch.random.get_rng_state()}
        if self._place.device.type == "cuda":
            tensors[DEVICE_RANDOM] = torch.cuda.get_rng_state(self._place.device)
        for part in self._parts():
            for key, flat in self._held(part.group):
                piece = flat.narrow(0, part.offset, part.count)
                tensors[f"{part.name}|{key}"] = piece.detach().cpu().clone()
        save_file(tensors, folder / file_name(self._place.rank))
        step = next((float(s) for s in steps if s is not None), 0.0)
        return {"adam_step": step, "ranks": self._place.world_size}

    def read(self, folder: Path, facts: dict[str, Any]) -> None:
        """Take this rank's parts out of the files of ``facts['ranks']`` ranks.

        The random state too, where there are as many ranks as there were. Not collective;
        ``spread`` comes after it, on every rank.

        Raises:
            CheckpointError: it is of another model.
            OSError, SafetensorError: a file cannot be read.
        """
        files = _Files(folder, int(facts["ranks"]))
        parts = list(self._parts())
        files.check({part.name for part in parts})
        optimizer = self._optimizer
        optimizer._partition_all_parameters()
        for group, flat in enumerate(self._flat()):
            # Moments of updates before the load do not belong to what is loaded.
            self._adam(group).clear()
            if facts["adam_step"] > 0:
                self._adam(group).update(
                    step=torch.tensor(facts["adam_step"], dtype=torch.float32, device=flat.device),
                    exp_avg=torch.zeros_like(flat),
                    exp_avg_sq=torch.zeros_like(flat),
                )
        for part in parts:
            for key, flat in self._held(part.group):
                piece = files.stretch(f"{part.name}|{key}", self._sizes[part.name], part)
                flat.data.narrow(0, part.offset, part.count).copy_(piece)
        if facts["ranks"] == self._place.world_size:
            _take_up_random_state(files.of(self._place.rank), self._place.device)

    def spread(self) -> None:
        """Let the weights that are computed with follow the master weights. Collective."""
        optimizer = self._optimizer
        for group in range(len(self._flat())):
            optimizer._reassign_or_swap_out_partitioned_parameters(group)
        persistent = optimizer.persistent_parameters
        if persistent:
            persistent[0].all_gather(persistent)

    def _flat(self) -> list[Tensor]:
        flat: list[Tensor] = self._optimizer.fp32_partitioned_groups_flat
        return flat

    def _adam(self, group: int) -> dict[str, Any]:
        state: dict[str, Any] = self._optimizer.optimizer.state[self._flat()[group]]
        return state

    def _held(self, group: int) -> Iterator[tuple[str, Tensor]]:
        yield "fp32", self._flat()[group]
        for key in MOMENTS:
            if key in self._adam(group):
                yield key, self._adam(group)[key]

    def _parts(self) -> Iterator[Part]:
        for name, parameter in self._named:
            if not parameter.requires_grad:
                continue
            key = self._optimizer.get_param_id(parameter)
            group, offset, size = self._optimizer.grad_position[key]
            start = size * self._place.rank
            count = max(0, min(size, self._sizes[name] - start))
            yield Part(name, group, offset, start, count)


def _take_up_random_state(file: Any, device: torch.device) -> None:
    torch.random.set_rng_state(file.get_tensor(RANDOM))
    if device.type == "cuda" and DEVICE_RANDOM in file.keys():  # noqa: SIM118 (it is no mapping)
        torch.cuda.set_rng_state(file.get_tensor(DEVICE_RANDOM), device)


def file_name(rank: int) -> str:
    """The file of one rank."""
    return f"rank-{rank:05d}.safetensors"


class _Files:
    """The files of all ranks of a checkpoint, opened when first needed."""

    def __init__(self, folder: Path, ranks: int) -> None:
        self._folder, self._ranks = folder, ranks
        self._open: dict[int, Any] = {}

    def of(self, rank: int) -> Any:
        from safetensors import safe_open

        if rank not in self._open:
            self._open[rank] = safe_open(self._folder / file_name(rank), framework="pt")
        return self._open[rank]

    def check(self, names: set[str]) -> None:
        """Refuse files of a model with other parameters than ``names``.

        Raises:
            CheckpointError: with the first that one of the two does not have.
        """
        keys: list[str] = self.of(0).keys()
        stored = {key.partition("|")[0] for key in keys if "|" in key}
        if other := sorted(stored ^ names):
            raise CheckpointError(f"it is of another model: {other[0]} is in one of them only")

    def stretch(self, key: str, whole: int, part: Part) -> Tensor:
        """``part.count`` elements from ``part.start`` of a flat parameter of ``whole`` elements.

        Raises:
            CheckpointError: the parameter has another number of elements.
        """
        size = math.ceil(whole / self._ranks)
        stop = part.start + part.count
        pieces = [torch.empty(0)]
        for rank in range(part.start // size, math.ceil(stop / size)):
            stored = self.of(rank).get_slice(key)
            if stored.get_shape() != [max(0, min(size, whole - rank * size))]:
                raise CheckpointError(f"it is of another model: {part.name} has another size")
            low, high = max(part.start, rank * size), min(stop, (rank + 1) * size)
            if low < high:
                pieces.append(stored[low - rank * size : high - rank * size])
        return torch.cat(pieces)
