"""The results of a study: one JSON a configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from services.run_folder import write_atomically
from services.statistics import mean_over_runs
from services.study.comparing import within_unit
from services.study.expand import Planned, run_name
from services.study.measures import MEASURES, When
from services.study.place import Place
from services.study.table import Collected

WHENS: tuple[When, ...] = ("start", "end", "run")


class Spread(BaseModel):
    """A measure over the seeds. ``sd``: of the sample; ``low`` to ``high``: 95 % interval of the
    mean by Student's t. None where one run alone cannot say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    sd: float | None
    min: float
    max: float
    n: int
    low: float | None
    high: float | None


class Result(BaseModel):
    """What came of a configuration. ``measures``: by name, then by when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    configuration: str
    arm: str
    about: str
    point: dict[str, Any]
    base: str
    changes: dict[str, Any]
    """What it sets, but for the seed."""
    seeds: tuple[int, ...]
    """Seeds whose runs are finished."""
    missing: tuple[int, ...]
    """Seeds whose runs are not."""
    measures: dict[str, dict[str, Spread]]
    taken: dict[str, str] = {}
    """Measures that are another arm's."""
    versions: dict[str, str]
    machines: tuple[str, ...]


def spread(values: Sequence[float], unit: str = "") -> Spread:
    """Mean, standard deviation, extremes and interval of at least one value."""
    score = within_unit(mean_over_runs(values), unit)
    assert score.value is not None
    return Spread(
        mean=score.value,
        sd=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        min=min(values),
        max=max(values),
        n=len(values),
        low=score.low,
        high=score.high,
    )


def results_of(found: Collected, machines: Sequence[str]) -> list[Result]:
    """The results of all configurations, in the order of the study."""
    return [_result(found, run, machines) for run in found.configurations]


def write_results(results: Sequence[Result], place: Place) -> None:
    """Write ``results/CONFIGURATION.json``, and remove those of configurations that are gone."""
    place.results.mkdir(parents=True, exist_ok=True)
    for result in results:
        text = result.model_dump_json(indent=1) + "\n"
        write_atomically(place.results / f"{result.configuration}.json", text)
    for file in place.results.glob("*.json"):
        if file.stem not in {result.configuration for result in results}:
            file.unlink()


def read_machines(place: Place) -> list[str]:
    """Where the study ran; empty if that was not written down."""
    try:
        return [str(line) for line in json.loads(place.machines.read_text())]
    except (OSError, ValueError):
        return []


def note_machine(place: Place, machine: str) -> None:
    """Write down that the study runs on ``machine``."""
    known = read_machines(place)
    if machine not in known:
        place.root.mkdir(parents=True, exist_ok=True)
        write_atomically(place.machines, json.dumps([*known, machine], indent=1) + "\n")


def _result(found: Collected, run: Planned, machines: Sequence[str]) -> Result:
    study, name = found.study, run.configuration
    done = [seed for seed in study.seed_list if found.is_done(run_name(name, seed))]
    measures: dict[str, dict[str, Spread]] = {}
    for measure in study.measure:
        for when in WHENS:
            if values := list(found.by_seed(name, measure, when).values()):
                measures.setdefault(measure, {})[when] = spread(values, MEASURES[measure].unit)
    arm = study.arms.get(run.arm)
    return Result(
        study=study.name,
        configuration=name,
        arm=run.arm,
        about=arm.about if arm else "",
        point=dict(run.point),
        base=run.base,
        changes={c.field: c.value for c in run.changes if c.field not in study.seed_fields},
        seeds=tuple(done),
        missing=tuple(seed for seed in study.seed_list if seed not in done),
        measures=measures,
        taken=arm.take if arm else {},
        versions=_versions(found, name),
        machines=tuple(machines),
    )


def _versions(found: Collected, configuration: str) -> dict[str, str]:
    """Versions of the packages that its runs ran with; several of one are all named."""
    seen: dict[str, list[str]] = {}
    for run in found.planned:
        there: Mapping[str, str] = {}
        if run.configuration == configuration and (r := found.runs.get(run.name)) and r.summary:
            there = r.summary.versions
        for package, version in there.items():
            if version not in seen.setdefault(package, []):
                seen[package].append(version)
    return {package: ", ".join(versions) for package, versions in seen.items()}
