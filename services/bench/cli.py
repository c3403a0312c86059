"""The commands ``coevolve bench``. Heavy libraries are imported by the command that needs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from contracts.errors import UserError

if TYPE_CHECKING:
    from services.bench.records import Benchmark
    from services.plan.scaling import ScalingPlan

Result = TypeVar("Result", bound="Benchmark")
Found = TypeVar("Found")
app = typer.Typer(no_args_is_help=True, help="Measure parts of the system on this machine.")

JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the result there as JSON.")
]
ThreadsOption = Annotated[int, typer.Option(min=1, help="CPU threads of each process.")]
ShortOption = Annotated[bool, typer.Option("--short", help="A quick try, not a measurement.")]


@app.command()
def learner(  # noqa: PLR0917 (an option each)
    json: JsonOption = None,
    models: Annotated[str, typer.Option(help="tiny, smollm2")] = "tiny,smollm2",
    mixes: Annotated[str, typer.Option(help="solve, judge")] = "solve,judge",
    variants: Annotated[
        str | None, typer.Option(help="What to compare; by default all that is installed.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Counted updates of each variant.")] = 5,
    groups: Annotated[
        int | None, typer.Option(min=1, help="Groups of 8 an update; by default 8, SmolLM2 4.")
    ] = None,
    threads: ThreadsOption = 2,
    short: ShortOption = False,
) -> None:
    """Training speed of the learner, of a plain transformers loop and of TRL."""
    from services.bench.learner import Plan, bench_learner, usable

    plan = Plan(
        models=("tiny",) if short else _names(models),
        mixes=_names(mixes),
        variants=usable(None if variants is None else _names(variants), _note),
        rounds=1 if short else rounds,
        groups=groups or (2 if short else None),
        threads=threads,
    )
    _report(lambda say: bench_learner(plan, say), json)


@app.command()
def memory(
    json: JsonOption = None,
    tokens: Annotated[str, typer.Option(help="Numbers of tokens.")] = "256,512,1024,2048,4096,8192",
    threads: ThreadsOption = 2,
    short: ShortOption = False,
) -> None:
    """Peak memory of log-probabilities, ours and by a tokens x vocabulary matrix."""
    from services.bench.memory import bench_memory

    counts = _counts(tokens)[: 2 if short else None]
    _report(lambda say: bench_memory(say, tokens=counts, threads=threads), json)


@app.command()
def generate(
    json: JsonOption = None,
    models: Annotated[str, typer.Option(help="tiny, smollm2")] = "tiny,smollm2",
    rounds: Annotated[int, typer.Option(min=1, help="Counted batches of each.")] = 5,
    threads: ThreadsOption = 2,
    short: ShortOption = False,
) -> None:
    """Sampling speed of a generator, and of vLLM alone."""
    from services.bench.generate import bench_generate

    names, counted = (("tiny",), 1) if short else (_names(models), rounds)
    _report(lambda say: bench_generate(say, models=names, rounds=counted, threads=threads), json)


@app.command()
def broadcast(  # noqa: PLR0917 (an option each)
    json: JsonOption = None,
    models: Annotated[str, typer.Option(help="tiny, smollm2")] = "tiny,smollm2",
    dtypes: Annotated[str, typer.Option(help="bfloat16, float32")] = "bfloat16,float32",
    receivers: Annotated[str, typer.Option(help="Numbers of engines.")] = "1,2,4",
    rounds: Annotated[int, typer.Option(min=1, help="Counted broadcasts of each.")] = 10,
    threads: ThreadsOption = 2,
    short: ShortOption = False,
) -> None:
    """Weights from the learner to engines, and a bare gloo broadcast of as many bytes."""
    from rich.console import Console

    from services.bench.broadcast import bench_broadcast, types_of
    from services.bench.broadcast_records import show_more
    from services.bench.broadcast_session import Plan

    plan = Plan(
        models=("tiny",) if short else _names(models),
        dtypes=types_of(_names(dtypes)[: 1 if short else None]),
        receivers=(1, 2) if short else _counts(receivers, "--receivers", "engines", "1,2,4"),
        rounds=2 if short else rounds,
        threads=threads,
    )
    result = _report(lambda say: bench_broadcast(plan, say), json)
    show_more(result, Console())


@app.command()
def loop(  # noqa: PLR0917 (an option each)
    json: JsonOption = None,
    models: Annotated[str, typer.Option(help="tiny, smollm2")] = "tiny,smollm2",
    mixes: Annotated[str, typer.Option(help="spark, solve")] = "spark,solve",
    rounds: Annotated[int, typer.Option(min=1, help="Counted turns of each variant.")] = 3,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of a turn; by default 6, SmolLM2 2.")
    ] = None,
    threads: ThreadsOption = 2,
    short: ShortOption = False,
) -> None:
    """Whole steps: where their time goes, synchronous and overlapped, and beside TRL."""
    from services.bench.loop import LoopPlan, bench_loop

    plan = LoopPlan(
        models=("tiny",) if short else _names(models),
        mixes=_names(mixes),
        rounds=1 if short else rounds,
        steps=2 if short else steps,
        threads=threads,
    )
    _report(lambda say: bench_loop(plan, say), json)


@app.command()
def routing(
    json: JsonOption = None,
    completions: Annotated[int, typer.Option(min=1, help="How many in all.")] = 100_000,
    generators: Annotated[int, typer.Option(min=1, help="Simulated generators.")] = 2,
    short: ShortOption = False,
) -> None:
    """Completions a second through verifiers, recycler and loop, where no model takes time."""
    from services.bench.routing import bench_routing

    count = 4_000 if short else completions
    _report(lambda say: bench_routing(say, completions=count, generators=generators), json)


@app.command()
def plan(  # noqa: PLR0917 (an option each)
    json: JsonOption = None,
    model: Annotated[str, typer.Option(help="tiny, smollm2")] = "tiny",
    ranks: Annotated[str, typer.Option(help="Numbers of learner ranks.")] = "1,2,4",
    generators: Annotated[str, typer.Option(help="Numbers of generators.")] = "1,2,4",
    rounds: Annotated[int, typer.Option(min=1, help="Counted rounds.")] = 3,
    short: ShortOption = False,
) -> None:
    """What the planner has to know of this machine: coevolve plan --calibrate FILE."""
    from rich.console import Console

    from services.plan.scaling import bench_plan
    from services.plan.show import show_calibration

    wanted = _scaling(model, ranks, generators, rounds, short)
    found = _live(lambda say: bench_plan(wanted, say))
    if json is not None:
        found.write(json)
    show_calibration(found, Console())


@app.command()
def scaling(  # noqa: PLR0917 (an option each)
    json: JsonOption = None,
    model: Annotated[str, typer.Option(help="tiny, smollm2")] = "tiny",
    ranks: Annotated[str, typer.Option(help="Numbers of learner ranks.")] = "1,2,4",
    generators: Annotated[str, typer.Option(help="Numbers of generators.")] = "1,2,4",
    rounds: Annotated[int, typer.Option(min=1, help="Counted rounds.")] = 3,
    steps: Annotated[int, typer.Option(min=3, help="Steps of each run in a round.")] = 6,
    tasks: Annotated[int, typer.Option(min=4, help="Tasks solved a step.")] = 16,
    lines: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep every measurement there.")
    ] = None,
    again: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Measure nothing: compare what --lines has kept."),
    ] = None,
    short: ShortOption = False,
) -> None:
    """Whole steps on several generators and ranks, a thread each, beside what is predicted."""
    from rich.console import Console

    from services.plan.scaling import bench_scaling, compare_again
    from services.plan.show import show_comparison

    wanted = replace(_scaling(model, ranks, generators, rounds, short), lines=lines)
    if not short:
        wanted = replace(wanted, steps=steps, tasks=tasks)
    if again is None:
        found = _live(lambda say: bench_scaling(wanted, say))
    else:
        found = compare_again(wanted, again)
    if json is not None:
        found.write(json)
    show_comparison(found, Console())


def _scaling(model: str, ranks: str, generators: str, rounds: int, short: bool) -> ScalingPlan:
    from services.plan.scaling import ScalingPlan

    if short:
        return ScalingPlan(model, (1, 2), (1,), rounds=1, steps=3, tasks=8)
    counts = _counts(generators, "--generators", "generators", "1,2,4")
    return ScalingPlan(model, counts, _counts(ranks, "--ranks", "ranks", "1,2,4"), rounds=rounds)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _counts(
    text: str, where: str = "--tokens", of: str = "tokens", example: str = "256,1024"
) -> tuple[int, ...]:
    counts = tuple(int(name) if name.isdigit() else 0 for name in _names(text))
    if not counts or not all(counts):
        raise UserError(
            f"{text!r} are not numbers of {of}", where=where, remedy=f"for example {example}"
        )
    return counts


def _note(line: str) -> None:
    typer.echo(line, err=True)


def _report(run: Callable[[Callable[[str], None]], Result], json: Path | None) -> Result:
    """Run a benchmark under a live line; write, show and return what it came to."""
    from rich.console import Console

    from services.bench.display import show

    result = _live(run)
    if json is not None:
        result.write(json)
    show(result, Console())
    return result


def _live(run: Callable[[Callable[[str], None]], Found]) -> Found:
    """Run a benchmark under a live line."""
    from rich.console import Console

    from services.bench.display import live_line
    from services.signals import stop_on_signals

    with stop_on_signals(), live_line(Console(stderr=True)) as say:
        return run(say)
