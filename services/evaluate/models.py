"""Which model is meant: a built-in one, a run, a checkpoint of a run, or a model folder.

======================  ============================================================
``tiny``, ``smollm2``   the built-in models, as the presets demo and smollm2 start from
``RUN``                 a run folder, or a name in ``runs/``: its trained model, or that of its
                        newest checkpoint
``RUN@initial``         the model that the run started from
``RUN@50``              the checkpoint after step 50
``FOLDER``              a Hugging Face model folder
======================  ============================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.loading import find_config, load_config
from learner.checkpoint import CheckpointError, newest, verified
from services.models.folder import check_model_folder
from services.models.resolve import prepare_model
from services.run_folder import CONFIG

PRESET_OF = {"tiny": "demo", "smollm2": "smollm2"}
"""The preset that a built-in model is asked in the manner of."""

INITIAL = "initial"

FOR_FOLDERS: dict[str, Any] = {
    "model": {"dtype": "bfloat16", "max_context": 4096},
    "sampling": {"max_tokens": 1024},
    "recycle": {"style": "natural", "reasoning_share": 1.0},
    "generators": {"kv_cache_gib": 4.0, "max_sequences": 64},
}
"""Below everything else where a model comes with no configuration of its own."""

LONG = 3600.0
"""Seconds for a batch, at least: those of an evaluation are larger than a step's."""


@dataclass(frozen=True)
class Model:
    """A model to be evaluated, its folder, and how it is used to being asked."""

    name: str
    folder: Path
    config: RunConfig


def resolve(
    name: str,
    overrides: Sequence[str] = (),
    *,
    config: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Model:
    """Find or build the model that ``name`` means.

    Args:
        name: see above.
        overrides: ``dotted.key=value`` each, above the model's own configuration.
        config: a YAML file or a preset, in place of the model's own configuration.
        progress: called with lines such as ``warm start: 120 of 970 updates``.

    Raises:
        UserError: nothing is meant by it, or the model cannot be used.
    """
    run, _, which = name.partition("@")
    folder = _run_folder(run)
    if folder is not None and (which or name not in PRESET_OF):
        return _of_run(name, folder, which, _config(config, folder / CONFIG, overrides), progress)
    if name in PRESET_OF:
        settings = _config(config, find_config(PRESET_OF[name]), [*overrides, f"model.name={name}"])
        return _prepared(name, settings, progress)
    return _of_folder(name, Path(name).expanduser(), overrides, config, progress)


def _run_folder(name: str) -> Path | None:
    for path in (Path(name), RunConfig().runs_dir / name):
        if (path / CONFIG).is_file():
            return path
    return None


def _config(given: str | None, own: Path | None, overrides: Sequence[str]) -> RunConfig:
    path = find_config(given) if given is not None else own
    base = FOR_FOLDERS if path is None else None
    config = load_config(path, overrides, base=base)
    deadlines = config.deadlines
    longer = {"generate": max(LONG, deadlines.generate), "grade": max(LONG, deadlines.grade)}
    return config.model_copy(update={"deadlines": deadlines.model_copy(update=longer)})


def _of_run(
    name: str, run: Path, which: str, config: RunConfig, progress: Callable[[str], None]
) -> Model:
    if which == INITIAL:
        return _prepared(name, config, progress)
    folder = _trained(run) if not which else _of_step(run, which)
    check_model_folder(
        folder,
        max_context=config.model.max_context,
        trust_remote_code=config.model.trust_remote_code,
    )
    return Model(name, folder, config)


def _trained(run: Path) -> Path:
    """The model at the end of a run; where it did not get there, that of its last checkpoint."""
    if (run / "model" / "config.json").is_file():
        return run / "model"
    checkpoint = newest(run / "checkpoints")
    if checkpoint is None:
        raise UserError(
            "the run has neither a trained model nor a checkpoint",
            where=str(run),
            remedy=f"name what it started from: {run}@{INITIAL}",
        )
    return checkpoint.model


def _of_step(run: Path, step: str) -> Path:
    kept = sorted((run / "checkpoints").glob("step-*"))
    steps = [int(path.name.removeprefix("step-")) for path in kept]
    if not step.isdigit() or int(step) not in steps:
        there = ", ".join(map(str, steps)) or "none"
        raise UserError(
            f"no checkpoint {step!r}; there are {there}",
            where=str(run),
            remedy=f"give {run}@STEP, {run}@{INITIAL}, or {run} for its trained model",
        )
    try:
        return verified(kept[steps.index(int(step))]).model
    except CheckpointError as error:
        raise UserError(str(error), remedy="take another checkpoint of the run") from error


def _of_folder(
    name: str,
    folder: Path,
    overrides: Sequence[str],
    config: str | None,
    progress: Callable[[str], None],
) -> Model:
    """A model folder. One that a run wrote is asked in the manner of that run."""
    if not folder.is_dir():
        runs = sorted(path.parent.name for path in RunConfig().runs_dir.glob(f"*/{CONFIG}"))
        raise UserError(
            "there is no such run and no such model folder",
            where=name,
            remedy=f"give {', '.join(PRESET_OF)}, a Hugging Face model folder, or a run"
            + (f": {', '.join(runs)}" if runs else ""),
        )
    near = (folder.parent, folder.parent.parent.parent)
    own = next((path / CONFIG for path in near if (path / CONFIG).is_file()), None)
    settings = _config(config, own, [*overrides, f"model.name={name}"])
    return _prepared(name, settings, progress)


def _prepared(name: str, config: RunConfig, progress: Callable[[str], None]) -> Model:
    questions: list[str] = []
    if config.model.name == "tiny":
        from services.tasks import load_tasks

        tasks = load_tasks(config.tasks, config.recycle.style)
        questions = [task.question for task in tasks.train]
    log = config.cache_dir / "build.log"
    model = prepare_model(
        config.model, config.cache_dir, log=log, questions=questions, progress=progress
    )
    return Model(name, model.folder, config)
