"""Engine settings that follow from the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray

from actors.engine import (
    LOCAL_IPC,
    engine_arguments,
    engine_environment,
    thread_environment,
    with_devices,
)
from contracts.config import GeneratorConfig, ModelConfig, RunConfig, TransferConfig


def config(**generators: object) -> RunConfig:
    return RunConfig(
        model=ModelConfig(max_context=128),
        generators=GeneratorConfig(**{"device": "cpu", **generators}),
        transfer=TransferConfig(backend="gloo"),
    )


def test_a_cpu_engine_keeps_to_its_threads_and_memory() -> None:
    run = config(threads=3, kv_cache_gib=0.5)
    environment = engine_environment(run.generators)
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    arguments = engine_arguments(run, Path("/model"))
    assert arguments["kv_cache_memory_bytes"] == 2**29
    assert arguments["max_model_len"] == 128
    assert "gpu_memory_utilization" not in arguments


def test_a_gpu_engine_is_told_nothing_about_cores() -> None:
    run = config(device="cuda", tensor_parallel=2, gpu_memory_utilization=0.5)
    environment = engine_environment(run.generators)
    assert not set(environment) & set(thread_environment(1)) - {"TOKENIZERS_PARALLELISM"}
    arguments = engine_arguments(run, Path("/model"))
    assert arguments["gpu_memory_utilization"] == 0.5
    assert arguments["tensor_parallel_size"] == 2
    assert arguments["distributed_executor_backend"] == "mp"
    assert "kv_cache_memory_bytes" not in arguments
    assert arguments["enable_sleep_mode"] is False


def test_an_engine_that_shares_its_gpu_can_sleep_and_reads_its_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"GPU": 1.0})
    shared = with_devices(RunConfig(placement="shared"))
    assert (shared.generators.device, shared.learner.device) == ("cuda", "cuda")
    assert shared.transfer.backend == "ipc"
    arguments = engine_arguments(shared, Path("/model"))
    assert arguments["enable_sleep_mode"] is True
    assert arguments["weight_transfer_config"] == {"backend": LOCAL_IPC}
    assert with_devices(RunConfig()).transfer.backend == "nccl"


def test_nothing_is_compiled_where_starting_fast_matters() -> None:
    assert engine_environment(config().generators)["TORCH_COMPILE_DISABLE"] == "1"
    patient = engine_environment(config(enforce_eager=False).generators)
    assert "TORCH_COMPILE_DISABLE" not in patient


def test_sampled_logprobs_are_those_of_the_tempered_distribution() -> None:
    assert engine_arguments(config(), Path("/model"))["logprobs_mode"] == "processed_logprobs"
