"""Studies with run folders that look like real ones, for tests of what is made of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from synthetic_run import evaluation, metrics, timing

from contracts.loading import dump_config
from services.records import ModelSummary, StepTiming, Summary
from services.run_folder import RunFolder
from services.study.expand import configure, expand
from services.study.place import Place
from services.study.session import Session
from services.study.spec import Study

STEPS = 10


MEASURE = ("solving", "judging", "mending", "steps", "sampled_tokens", "tokens_per_second",
           "step_seconds", "seconds_generate", "seconds_update")  # fmt: skip


def study(**changes: object) -> Study:
    values = {
        "name": "made",
        "base": "demo",
        "set": {"steps": STEPS},
        "seeds": 2,
        "measure": MEASURE,
        **changes,
    }
    return Study.model_validate_json(json.dumps(values), strict=True)


def session(made: Study, folder: Path) -> Session:
    place = Place(folder / made.name)
    planned = expand(made, place)
    return Session(made, place, planned, {run.name: configure(run, place) for run in planned})


def make_runs(
    made: Session, *, status: str = "finished", only: str = "", speed: float = 1.0
) -> None:
    """Write the run folders of the study, or of the runs whose names begin with ``only``."""
    for place, run in enumerate(made.planned):
        if run.name.startswith(only):
            make(made.configs[run.name].folder, dump_config(made.configs[run.name]),
                 seed=place, status=status, speed=speed)  # fmt: skip


def make(path: Path, text: str, *, seed: int, status: str = "finished", speed: float = 1.0) -> None:
    draw = np.random.default_rng(seed)
    folder = RunFolder.create(path, text)
    folder.append_evaluation(evaluation(draw, 0, 0.0, "sampled", 64))
    folder.append_evaluation(evaluation(draw, 0, 0.0, "greedy", 64))
    for step in range(1, STEPS + 1):
        folder.append_metrics(metrics(draw, step, STEPS))
        folder.append_timing(faster(timing(draw, step), speed))
        if step == STEPS // 2:
            folder.append_evaluation(evaluation(draw, step, 0.5, "sampled", 32))
    if status == "finished":
        folder.append_evaluation(evaluation(draw, STEPS, 1.0, "sampled", 64))
        folder.append_evaluation(evaluation(draw, STEPS, 1.0, "greedy", 64))
    folder.write_summary(
        Summary(
            status=status,
            steps=STEPS,
            seconds=60.0,
            seed=seed,
            model=ModelSummary(name="tiny", parameters=300_160),
            versions={"torch": "2.13.0", "ray": "2.60.0"},
        )
    )


def faster(timing: StepTiming, speed: float) -> StepTiming:
    return timing.model_copy(
        update={
            "seconds": timing.seconds / speed,
            "phases": {name: seconds / speed for name, seconds in timing.phases.items()},
            "tokens_per_second": timing.tokens_per_second * speed,
        }
    )
