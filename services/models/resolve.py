"""From a model's name to a folder that the generators and the learner can load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.config import ModelConfig
from services.models.cache import Build, cached, read_record
from services.models.folder import check_model_folder, count_parameters
from services.models.smollm2 import smollm2_build
from services.models.warm_start import warm_start_build

BUILD_DEADLINE = 1800.0
"""Seconds a model may take to be built."""


@dataclass(frozen=True)
class ModelInfo:
    """A model that is ready to be loaded.

    ``warm_start`` says in plain words what a warm start put into it; empty if there was none.
    ``parameters`` is 0 where the folder does not tell.
    """

    name: str
    folder: Path
    parameters: int
    warm_start: str


def prepare_model(
    config: ModelConfig,
    cache: Path,
    *,
    log: Path,
    questions: Sequence[str] = (),
    deadline: float = BUILD_DEADLINE,
    progress: Callable[[str], None] | None = None,
) -> ModelInfo:
    """Find or build the model that ``config`` names, and check it.

    Args:
        cache: folder for models that are built.
        log: file that the output of a build is appended to.
        questions: what the warm start of ``tiny`` may show, such as ``12+34``: questions of
            the training part only. Other models are not shown anything.
        deadline: seconds a build may take.
        progress: called with lines such as ``warm start: 120 of 970 updates``.

    Raises:
        UserError: there is no such model, it cannot be used, or ``tiny`` is to be trained on
            what it has no words for.
        BuildError: a build failed; the message names the log.
        DeadlineError: a build took too long.
    """
    build = _build(config, questions)
    if build is None:
        folder = Path(config.name).expanduser()
    else:
        folder = cached(build, cache, log=log, deadline=deadline, progress=progress)
    check_model_folder(
        folder, max_context=config.max_context, trust_remote_code=config.trust_remote_code
    )
    if build is None:
        return ModelInfo(config.name, folder, count_parameters(folder), "")
    record = read_record(folder)
    return ModelInfo(config.name, folder, int(str(record["parameters"])), str(record["warm_start"]))


def _build(config: ModelConfig, questions: Sequence[str]) -> Build | None:
    """How the model is built; None for a folder of the user's."""
    match config.name:
        case "tiny":
            return warm_start_build(config.warm_start, questions)
        case "smollm2":
            return smollm2_build()
        case _:
            return None
