"""DeepSpeed ZeRO-3: its configuration, its start and its end. Nobody else talks to DeepSpeed.

On a CPU it runs for real, over gloo; on CUDA over NCCL; with one rank as with many.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import HashStore  # type: ignore[attr-defined]

from contracts.config import Dtype, LearnerConfig
from contracts.errors import DeadlineError, UserError
from learner.meeting import interface_towards, reach_store, serve_store

TORCH_DTYPE: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}

PERSISTENT_BYTES = 1 << 30
"""A model up to this size stays gathered between uses: gathering it anew would cost more."""

SMALL = 100_000
"""Of a larger model, parameters up to this many elements stay gathered all the same."""

MEETING_SECONDS = 300.0
"""How long the first of the learner ranks waits for the others to start."""

BUCKET = 50_000_000
"""Elements of a gradient bucket; smaller models get a bucket of their own size."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where this rank is: its number, how many there are, its device, where rank 0 listens."""

    rank: int
    world_size: int
    device: torch.device
    master: str
    port: int
    timeout: float

    @classmethod
    def of(cls, config: LearnerConfig, rank: int, world_size: int, master: str, port: int) -> Place:
        """The place of ``rank``; CUDA ranks take the device LOCAL_RANK names, or their turn.

        Raises:
            UserError: CUDA was asked for and there is none.
        """
        kind = config.device
        if kind == "auto":
            kind = "cuda" if torch.cuda.is_available() else "cpu"
        if kind == "cuda" and not torch.cuda.is_available():
            raise UserError(
                "there is no CUDA device", where="learner.device", remedy="use cpu or auto"
            )
        device = torch.device("cpu")
        if kind == "cuda":
            local = int(os.environ.get("LOCAL_RANK", rank % torch.cuda.device_count()))
            device = torch.device("cuda", local)
        return cls(rank, world_size, device, master, port, timeout=1800.0)


def zero_config(
    config: LearnerConfig, dtype: Dtype, elements: int, device: torch.device
) -> dict[str, Any]:
    """DeepSpeed's configuration for a model of ``elements`` parameters.

    Gradients are reduced and accumulated in float32 whatever the model's type. Micro-batches
    are counted by us, so DeepSpeed's own batch sizes are all 1. On a CPU gradients are
    all-reduced: its reduce-scatter starts a process per call to count NUMA nodes.
    """
    persistent = elements * TORCH_DTYPE[dtype].itemsize <= PERSISTENT_BYTES
    zero: dict[str, Any] = {
        "stage": 3,
        "overlap_comm": False,
        "contiguous_gradients": True,
        "reduce_scatter": device.type != "cpu",
        "reduce_bucket_size": max(1, min(elements, BUCKET)),
        "stage3_prefetch_bucket_size": 0 if persistent else BUCKET,
        "stage3_param_persistence_threshold": max(1, elements) if persistent else SMALL,
        "memory_efficient_linear": not persistent,
    }
    if config.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if config.offload_parameters:
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "steps_per_print": None,
        "gradient_clipping": config.gradient_clip,
        "bf16": {"enabled": dtype == "bfloat16"},
        "communication_data_type": "fp32",
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": zero,
    }


def optimizer_config(config: LearnerConfig) -> dict[str, Any]:
    """AdamW (Loshchilov and Hutter 2019), torch's own except where its state is offloaded."""
    params: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": list(config.betas),
        "eps": 1e-8,
        "weight_decay": config.weight_decay,
    }
    if not config.offload_optimizer:
        params |= {"torch_adam": True, "fused": True}
    return {"type": "AdamW", "params": params}


def decay_groups(module: nn.Module, weight_decay: float) -> list[Any]:
    """Trainable parameters; with weight decay, norms and biases in a group without it."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    if weight_decay == 0:
        return trainable
    matrices = [p for p in trainable if len(shape_of(p)) > 1]
    vectors = [p for p in trainable if len(shape_of(p)) <= 1]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


def shape_of(parameter: nn.Parameter) -> tuple[int, ...]:
    """The whole shape of a parameter, partitioned (when its own shape reads (0,)) or not."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Send what DeepSpeed prints to stderr, and its log below WARNING nowhere."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def quieten_loggers() -> None:
    """Hold DeepSpeed's loggers at WARNING, on stderr."""
    for name in ("DeepSpeed", "deepspeed"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.setStream(sys.stderr)


def import_deepspeed(device: torch.device) -> Any:
    """DeepSpeed, told which accelerator it is on before it looks for itself."""
    os.environ["DS_ACCELERATOR"] = device.type
    with quiet():
        import deepspeed
        import deepspeed.ops
    quieten_loggers()
    if device.type == "cpu":
        # Else DeepSpeed tries the compiler on every operator it has, and builds one for an
        # inference all-reduce that training never calls: a minute on a fresh machine.
        deepspeed.ops.__compatible_ops__ = {}
    return deepspeed


def join(place: Place) -> Any:
    """Enter the process group of the learner ranks, and return DeepSpeed.

    Raises:
        RuntimeError: this process is in a process group already.
        DeadlineError: the other ranks did not come.
    """
    if dist.is_initialized():
        raise RuntimeError("this process already belongs to a process group: close that learner")
    if place.world_size > 1 and not place.port:
        raise ValueError("several learner ranks need a port of rank 0 to meet at")
    deepspeed = import_deepspeed(place.device)
    if place.device.type == "cuda":
        torch.cuda.set_device(place.device)
    os.environ["LOCAL_RANK"] = str(place.device.index or 0)
    if place.world_size > 1 and (interface := interface_towards(place.master)):
        # Else gloo listens on whatever the machine's name stands for.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    dist.init_process_group(
        "nccl" if place.device.type == "cuda" else "gloo",
        store=_meeting(place),
        rank=place.rank,
        world_size=place.world_size,
        timeout=timedelta(seconds=place.timeout),
    )
    with quiet():
        deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)
    return deepspeed


def _meeting(place: Place) -> Any:
    """The store through which the ranks find each other."""
    if place.world_size == 1:
        return HashStore()
    try:
        meet = serve_store if place.rank == 0 else reach_store
        return meet(place.master, place.port, place.world_size, MEETING_SECONDS, wait=True)
    except dist.DistError as error:
        awaited = f"learner rank 0 at {place.master}:{place.port}"
        if place.rank == 0:
            awaited = f"{place.world_size - 1} more learner ranks at port {place.port}"
        raise DeadlineError(awaited, MEETING_SECONDS) from error


def leave() -> None:
    """Leave the process group, so that another learner can start in this process."""
    import deepspeed.comm.comm as ds_comm

    if ds_comm.cdb is not None and dist.is_initialized():
        # DeepSpeed keeps groups of its own, which a second learner must not find.
        ds_comm.destroy_process_group()
    elif dist.is_initialized():
        dist.destroy_process_group()
    ds_comm.cdb = None


@contextlib.contextmanager
def partitioned_loading(settings: dict[str, Any]) -> Iterator[None]:
    """Within it transformers builds and loads models partitioned over the ranks from the start."""
    from transformers.integrations import HfDeepSpeedConfig
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    held = HfDeepSpeedConfig(settings)
    try:
        with quiet():
            yield
    finally:
        unset_hf_deepspeed_config()
        del held


def sum_over_ranks(values: Tensor) -> Tensor:
    """``values`` (float64) summed over the ranks, in place."""
    if dist.get_world_size() > 1:
        dist.all_reduce(values)
    return values


def max_over_ranks(values: Sequence[int], device: torch.device) -> list[int]:
    """The largest of each value over the ranks."""
    if dist.get_world_size() == 1:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.int64, device=device)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    result: list[int] = tensor.tolist()
    return result


def gradient_norm(parameters: Sequence[nn.Parameter], device: torch.device) -> float:
    """Euclidean norm of the gradient that the last backward left, before clipping. Collective."""
    from deepspeed.utils import safe_get_local_grad

    square = torch.zeros((), dtype=torch.float64, device=device)
    for parameter in parameters:
        part = safe_get_local_grad(parameter)  # of this rank's partition; None where frozen
        if part is not None:
            square += part.double().square().sum()
    return float(sum_over_ranks(square).sqrt())


def gathered(deepspeed: Any, parameters: Sequence[nn.Parameter]) -> Any:
    """Context in which ``parameters`` are whole on every rank. Collective."""
    return deepspeed.zero.GatheredParameters(list(parameters), modifier_rank=None)
