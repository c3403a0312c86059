"""How a vLLM engine is set up: environment of its process and engine arguments.

Nothing here imports vLLM: the driver reads the environment before an engine is started.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray

from contracts.config import CPU_BLOCK, GeneratorConfig, RunConfig

GIB = 1024**3
ACTOR_PID = "COEVOLVE_ACTOR_PID"
"""Environment variable that tells an engine's processes whose they are."""
WORKER_EXTENSION = "actors.transfer.worker.WorkerExtension"
LOCAL_IPC = "local_ipc"
"""vLLM's name for our backend ``ipc``; its own has that name already."""


def with_devices(config: RunConfig) -> RunConfig:
    """``config`` with every ``auto`` replaced by what the Ray session has."""
    found = "cuda" if ray.cluster_resources().get("GPU", 0) > 0 else "cpu"

    def settled(device: str) -> str:
        return found if device == "auto" else device

    generators = settled(config.generators.device)
    learner = settled(config.learner.device)
    both_on_gpu = generators == learner == "cuda"
    backend = config.transfer.backend
    if backend == "auto" and config.placement == "shared":
        backend = "ipc"
    elif backend == "auto":
        backend = "nccl" if both_on_gpu else "gloo"
    return config.model_copy(
        update={
            "generators": config.generators.model_copy(update={"device": generators}),
            "learner": config.learner.model_copy(update={"device": learner}),
            "transfer": config.transfer.model_copy(update={"backend": backend}),
        }
    )


def thread_environment(threads: int) -> dict[str, str]:
    """Environment that holds a process to ``threads`` CPU threads, asleep when idle.

    Idle OpenMP threads spin by default, and take the core of another actor while they do.
    """
    return {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
        "TOKENIZERS_PARALLELISM": "false",
    }


def engine_environment(config: GeneratorConfig) -> dict[str, str]:
    """Environment of a generator's processes, to be set before vLLM is imported.

    ``config`` has its device settled (``with_devices``).
    """
    environment = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_COLOR": "0",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if config.enforce_eager:
        # Without it small helpers are compiled all the same: 10 s at the first token.
        environment["TORCH_COMPILE_DISABLE"] = "1"
    if config.device != "cuda":
        environment |= thread_environment(config.threads)
        environment["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        # Loading weights touches much new memory; in pages of 2 MiB that costs a third less.
        environment["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
        if config.tensor_parallel == 1:
            # The model runs in the engine's process instead of one more: half the start-up.
            environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    return environment


def engine_arguments(
    config: RunConfig, model_folder: Path, worker_extension: str = WORKER_EXTENSION
) -> dict[str, Any]:
    """Arguments of vLLM's ``AsyncEngineArgs`` for one generator."""
    generators = config.generators
    arguments: dict[str, Any] = {
        "model": str(model_folder),
        "dtype": config.model.dtype,
        "max_model_len": config.model.max_context,
        "max_num_seqs": generators.max_sequences,
        "tensor_parallel_size": generators.tensor_parallel,
        "trust_remote_code": config.model.trust_remote_code,
        "enforce_eager": generators.enforce_eager,
        "enable_prefix_caching": True,
        # Log-probabilities of what was sampled from: after the temperature.
        "logprobs_mode": "processed_logprobs",
        "max_logprobs": 1,
        "seed": config.seed,
        "disable_log_stats": True,
        "worker_extension_cls": worker_extension,
        # Said outright: in a placement group vLLM would look for its workers among Ray's actors.
        "distributed_executor_backend": "uni" if generators.tensor_parallel == 1 else "mp",
        "weight_transfer_config": {
            "backend": LOCAL_IPC if config.transfer.backend == "ipc" else config.transfer.backend
        },
    }
    if generators.device == "cuda":
        arguments["gpu_memory_utilization"] = generators.gpu_memory_utilization
        # Its memory is lent to the learner in turns.
        arguments["enable_sleep_mode"] = config.placement == "shared"
    else:
        arguments["kv_cache_memory_bytes"] = int(generators.kv_cache_gib * GIB)
        arguments["block_size"] = CPU_BLOCK
    return arguments
