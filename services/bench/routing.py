"""``coevolve bench routing``: completions a second through the loop, where no model takes time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from actors.recycler_actor import Recycler
from actors.runtime import ray_session
from actors.verifier_pool import VerifierPool
from contracts.config import RunConfig
from contracts.types import Task
from services.batches import BatchMaker
from services.bench.records import Benchmark, Case, case
from services.bench.simulated import simulated_pool
from services.bench.surroundings import machine, versions
from services.gate import Gate
from services.rollouts import Rollouts
from services.tasks.stream import TaskStream

TASKS = 256
"""Solved per step; with the judge prompts made of them, a batch of several hundred groups."""
MIB = 1024**2
DRIVER = "driver"
TITLES = {DRIVER: "", "verifiers": "ray::Verifier", "recycler": "ray::Recycler"}
"""What could grow, and how the title of its processes begins."""


def bench_routing(say: Callable[[str], None], *, completions: int, generators: int) -> Benchmark:
    """Make batches until ``completions`` completions have come through.

    Generators are simulated; verifiers, recycler, object store and the controller's part of the
    loop are those of a run. Measured step by step: completions a second, and the memory of the
    driver, of the verifiers and of the recycler.
    """
    config = _config(generators)
    rates: list[float] = []
    memory: dict[str, list[float]] = {name: [] for name in TITLES}
    with _maker(config) as maker:
        maker.make(1)
        done, number, family = 0, 1, _family()
        while done < completions:
            number += 1
            started = time.perf_counter()
            batch = maker.make(number)
            count = sum(len(group.summary.rewards) for group in batch.groups)
            rates.append(count / (time.perf_counter() - started))
            for name, processes in family.items():
                memory[name].append(sum(p.memory_info().rss for p in processes) / MIB)
            done += count
            say(f"{done} of {completions} completions, {rates[-1]:,.0f} a second")
    return Benchmark(
        benchmark="routing",
        machine=machine(),
        versions=versions(("ray", "numpy")),
        cases=(
            case("none", "integers", "loop", "completions/s", rates),
            *(c for name, values in memory.items() for c in _memory_cases(name, values)),
        ),
        ratios=(),
    )


def _family() -> dict[str, list[psutil.Process]]:
    """The processes of this run whose memory could grow, by what they are."""
    driver = psutil.Process()
    children = [
        (process, " ".join(process.cmdline())) for process in driver.children(recursive=True)
    ]
    named = {
        name: [process for process, command in children if title and command.startswith(title)]
        for name, title in TITLES.items()
    }
    return named | {DRIVER: [driver]}


def _memory_cases(name: str, values: Sequence[float]) -> Iterator[Case]:
    """Resident memory at the beginning, in the middle and at the end: a tenth of the time each."""
    tenth = max(1, len(values) // 10)
    middle = (len(values) - tenth) // 2
    for when, start in (("first", 0), ("middle", middle), ("last", len(values) - tenth)):
        part = values[start : start + tenth]
        yield case("none", "integers", f"{name}, {when} tenth", "MiB", part)


def _config(generators: int) -> RunConfig:
    return RunConfig.model_validate(
        {
            "tasks_per_step": TASKS,
            "recycle": {"pointwise": TASKS // 2, "pairwise": TASKS // 4, "reflect": TASKS // 8},
            "generators": {"count": generators, "device": "cpu"},
        }
    )


@contextmanager
def _maker(config: RunConfig) -> Iterator[BatchMaker]:
    """A batch maker on running actors."""
    tasks = [Task(str(i), f"{i}+{i}", str(2 * i)) for i in range(10_000)]
    with ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(ray_session(logs))
        generators = simulated_pool(config, logs)
        stack.callback(generators.stop)
        verifiers = VerifierPool.start(config, logs)
        stack.callback(verifiers.stop)
        recycler = Recycler.start(config, logs)
        stack.callback(recycler.stop)
        yield BatchMaker(
            config,
            tasks=TaskStream(tasks, 0),
            rollouts=Rollouts(generators, verifiers, config),
            recycler=recycler,
            gate=Gate(closed=False),
        )
