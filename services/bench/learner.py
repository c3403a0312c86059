"""``coevolve bench learner``: training throughput, side by side."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from contracts.errors import IntegrityError, UserError
from services.bench.flops import Shape, update_flops
from services.bench.models import BenchModel, bench_model
from services.bench.processes import Memory, Worker, worker
from services.bench.records import Benchmark, Case, Ratio, case, ratio
from services.bench.surroundings import machine, versions
from services.bench.workload import MIXES, Mix, Work
from services.machine import installed

TRL = "1.16.0"
CEILING = "ceiling"
ROOM = "services.bench.variants"
VARIANTS = {
    "learner": f"{ROOM}.ours:run",
    "learner_plain": f"{ROOM}.ours:run",
    "transformers": f"{ROOM}.plain:run",
    "trl": f"{ROOM}.trl_trainer:run",
    "trl_compact": f"{ROOM}.trl_trainer:run",
    "trl_autocast": f"{ROOM}.trl_trainer:run",
    CEILING: f"{ROOM}.ceiling:run",
}
DEFAULT = ("learner", "learner_plain", "transformers", "trl", "trl_compact", CEILING)
PAIRS = (
    ("learner", "learner_plain"),
    ("learner", "transformers"),
    ("learner", "trl"),
    ("learner", "trl_compact"),
    ("learner", "trl_autocast"),
    ("learner_plain", "transformers"),
    ("learner_plain", "trl"),
    ("learner_plain", "trl_compact"),
)
"""Ratios of completion tokens/s that are reported."""

GROUPS = {"tiny": 8, "smollm2": 4}
"""Groups of an update."""

SAME = {"float32": 1e-3, "bfloat16": 2.0}
"""How far gradient norms of one and the same loss may be apart, relatively, by rounding.

In bfloat16 this is wide: on random tokens, which SmolLM2 has never seen the like of, its
gradient is so sensitive that one loop has up to 1.9 times the norm of another. A loss that is
normalised in another way is off by the number of groups or of completions, and is found.
"""

PACKAGES = ("torch", "transformers", "deepspeed", "trl", "accelerate", "numpy")
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. ``groups``: of an update; None: as many as ``GROUPS`` says."""

    models: tuple[str, ...] = ("tiny", "smollm2")
    mixes: tuple[str, ...] = tuple(MIXES)
    variants: tuple[str, ...] = DEFAULT
    rounds: int = 5
    groups: int | None = None
    threads: int = 2
    seed: int = 0


@dataclass(slots=True)
class Measured:
    """What one variant showed: gradient norm at first, seconds by round, and its memory."""

    norm: float = math.nan
    seconds: list[float] = field(default_factory=list)
    memory: Memory = field(default_factory=lambda: Memory(0, 0))


Say = Callable[[str], None]


def usable(variants: Sequence[str] | None, say: Say) -> tuple[str, ...]:
    """The variants to run: those asked for, or the default without those that are missing.

    Raises:
        UserError: one is unknown, or was asked for and is not installed.
    """
    remedy = f"pip install --no-deps trl=={TRL}"
    chosen = DEFAULT if variants is None else tuple(variants)
    for name in chosen:
        if name not in VARIANTS:
            raise UserError(
                f"{name!r} is not a variant",
                where="--variants",
                remedy=f"use some of {', '.join(VARIANTS)}",
            )
    if installed("trl") is not None or not any(name.startswith("trl") for name in chosen):
        return chosen
    if variants is not None:
        raise UserError("TRL is not installed", where="--variants", remedy=remedy)
    say(f"TRL is not installed and is left out ({remedy})")
    return tuple(name for name in chosen if not name.startswith("trl"))


def bench_learner(plan: Plan, say: Say) -> Benchmark:
    """Measure all that ``plan`` names.

    Args:
        plan: its names are known ones; ``usable`` checks variants.
        say: told what is going on, a line at a time.

    Raises:
        UserError: no such model or mix.
        BenchError, DeadlineError: a variant failed.
    """
    mixes = [_mix(name) for name in plan.mixes]
    cases: list[Case] = []
    ratios: list[Ratio] = []
    with tempfile.TemporaryDirectory(prefix="coevolve-bench-") as scratch:
        for name in plan.models:
            model = bench_model(name, Path(scratch), say)
            for mix in mixes:
                works = [_work(plan, variant, model, mix) for variant in plan.variants]
                measured = measure(works, plan.rounds, Path(scratch), say)
                cases += cases_of(works, measured, Shape.of(model.config))
                ratios += ratios_of(works[0], measured)
    return Benchmark(
        benchmark="learner",
        machine=machine(),
        versions=versions(PACKAGES),
        cases=tuple(cases),
        ratios=tuple(ratios),
    )


def _mix(name: str) -> Mix:
    if name not in MIXES:
        raise UserError(f"{name!r} is not a mix", where="--mixes", remedy="use solve or judge")
    return MIXES[name]


def _work(plan: Plan, variant: str, model: BenchModel, mix: Mix) -> Work:
    return Work(
        variant=variant,
        model=model.name,
        folder=model.folder,
        dtype=model.dtype,
        mix=mix,
        groups=plan.groups or GROUPS[model.name],
        threads=plan.threads,
        vocabulary=int(model.config["vocab_size"]),
        seed=plan.seed,
    )


def measure(works: Sequence[Work], rounds: int, logs: Path, say: Say) -> dict[str, Measured]:
    """Run the variants of one model and mix, all alive, one at a time, in rotation.

    The first update of each is a warm-up and is not counted. Each round starts with another
    variant, so that none always follows the same one.
    """
    measured = {work.variant: Measured() for work in works}
    with ExitStack() as stack:
        workers: list[tuple[Work, Worker]] = []
        for work in works:
            say(f"{work}: loading")
            log = logs / f"{work.variant}-{work.model}-{work.mix.name}.log"
            target = VARIANTS[work.variant]
            one = stack.enter_context(
                worker(str(work), target, work, threads=work.threads, log=log)
            )
            one.wait_ready()
            workers.append((work, one))
        for work, one in workers:
            say(f"{work}: warm-up")
            measured[work.variant].norm = one.turn().value
        check_same_work(works, measured)
        for number in range(rounds):
            first = number % len(workers)
            for work, one in workers[first:] + workers[:first]:
                say(f"{work}: round {number + 1} of {rounds}")
                measured[work.variant].seconds.append(one.turn().seconds)
        for work, one in workers:
            measured[work.variant].memory = one.end()
    return measured


def check_same_work(works: Sequence[Work], measured: dict[str, Measured]) -> None:
    """Hold the variants to one gradient: from the same weights its norm must be the same.

    Raises:
        IntegrityError: they do not train the same thing.
    """
    norms = {w.variant: measured[w.variant].norm for w in works if w.variant != CEILING}
    if not norms:
        return
    low, high = min(norms.values()), max(norms.values())
    if all(map(math.isfinite, norms.values())) and high <= low * (1 + SAME[works[0].dtype]):
        return
    found = ", ".join(f"{variant} {norm:.4g}" for variant, norm in norms.items())
    raise IntegrityError(f"the variants of a benchmark differ in their gradient norm: {found}")


def cases_of(works: Sequence[Work], measured: dict[str, Measured], shape: Shape) -> list[Case]:
    """Speed, share of the ceiling and memory of each variant."""
    result: list[Case] = []
    ceiling: list[float] = []
    for work in works:
        if work.variant == CEILING:
            from services.bench.variants.ceiling import turn_flops

            ceiling = [turn_flops(work) / s for s in measured[CEILING].seconds]
            name = (work.model, work.mix.name, CEILING)
            result.append(case(*name, "GFLOP/s", [rate / 1e9 for rate in ceiling]))
    for work in works:
        if work.variant != CEILING:
            result += _cases(work, measured[work.variant], shape, ceiling)
    return result


def _cases(work: Work, measured: Measured, shape: Shape, ceiling: Sequence[float]) -> list[Case]:
    name = (work.model, work.mix.name, work.variant)
    seconds = measured.seconds
    tokens = [work.completion_tokens / s for s in seconds]
    result = [case(*name, "completion tokens/s", tokens)]
    if ceiling:
        flops = update_flops(shape, work, shared=work.variant == "learner")
        shares = [flops / s / c for s, c in zip(seconds, ceiling, strict=True)]
        result.append(case(*name, "share of ceiling", shares))
    if measured.memory.peak:
        result.append(case(*name, "MiB peak", [measured.memory.peak / MIB]))
        grown = measured.memory.peak - measured.memory.ready
        result.append(case(*name, "MiB peak above loaded", [grown / MIB]))
    return result


def ratios_of(work: Work, measured: dict[str, Measured]) -> list[Ratio]:
    """Ratios of speed for all of ``PAIRS`` that were measured."""

    def speed(variant: str) -> tuple[str, list[float]]:
        return variant, [1 / seconds for seconds in measured[variant].seconds]

    return [
        ratio(work.model, work.mix.name, speed(of), speed(to))
        for of, to in PAIRS
        if of in measured and to in measured
    ]
