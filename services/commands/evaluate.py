"""``coevolve eval``: how well a model solves and judges, and what more tokens buy."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from contracts.errors import UserError

if TYPE_CHECKING:
    from services.evaluate.data import Questions
    from services.evaluate.models import Model
    from services.evaluate.plan import Plan
    from services.evaluate.records import Results

Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL... [KEY=VALUE...]",
        help="tiny, smollm2, a run (its trained model), RUN@initial, RUN@STEP, or a model folder; "
        "and values that replace those of its configuration.",
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="NAME_OR_FILE",
        show_default="held-out",
        help="held-out (of the model's run), arithmetic, a file, or NAME=FILE: gsm8k, svamp, "
        "math500, aime, amc, spark, rewardbench2, pairwise. May be given several times.",
    ),
]
Strategies = Annotated[
    str, typer.Option(help="single, majority, best-of, weighted, judge-reflect; several by commas.")
]
Samples = Annotated[str, typer.Option(help="Answers to choose from; several by commas: 4,16.")]
Rounds = Annotated[str, typer.Option(help="Most answers of judge-reflect; several by commas.")]
VerdictsOption = Annotated[
    int, typer.Option(min=1, help="Verdicts on each answer of best-of, and for calibration.")
]
LoopVerdicts = Annotated[int, typer.Option(min=1, help="Verdicts on each answer of judge-reflect.")]
Repeats = Annotated[
    int, typer.Option(min=1, help="Runs of every strategy, from fresh draws: narrower intervals.")
]
Against = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Compare with this model, task by task.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many questions of each.")]
Out = Annotated[
    Path, typer.Option(metavar="FOLDER", help="Where results.json, answers and plots go.")
]
Temperature = Annotated[
    float | None,
    typer.Option(min=0.0, show_default="the run's", help="0 is greedy."),
]
ShowOption = Annotated[
    Literal["answer", "reasoning"] | None,
    typer.Option(
        show_default="as the run's judge prompts",
        help="What the judge is shown of a reply.",
    ),
]
JudgeFlag = Annotated[bool, typer.Option("--judge/--no-judge", help="Measure judging as well.")]
JudgeSet = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Fixed answers to be judged, as candidates.jsonl of another evaluation has them.",
    ),
]
Verifier = Annotated[str, typer.Option(help="Grader of a file's answers.")]
Images = Annotated[
    Path | None,
    typer.Option(show_default="the file's folder", help="What image paths are relative to."),
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config", metavar="CONFIG", help="A YAML file or a preset, in place of the model's own."
    ),
]
Seed = Annotated[int, typer.Option(help="Of all that is drawn.")]

WIDTH = 140
"""Letters of a line where output goes to a file."""

DEFAULT_OUT = Path("runs") / "evaluation"


def evaluate(  # noqa: PLR0917 (an option each)
    models: Models,
    data: Data = None,
    strategy: Strategies = "single,majority,best-of,judge-reflect",
    samples: Samples = "8",
    rounds: Rounds = "4",
    verdicts: VerdictsOption = 4,
    loop_verdicts: LoopVerdicts = 1,
    repeats: Repeats = 1,
    against: Against = None,
    limit: Limit = None,
    out: Out = DEFAULT_OUT,
    temperature: Temperature = None,
    show: ShowOption = None,
    judge: JudgeFlag = True,
    judge_set: JudgeSet = None,
    verifier: Verifier = "math",
    images: Images = None,
    config: ConfigOption = None,
    seed: Seed = 0,
) -> None:
    """Evaluate models on benchmarks: single pass and test-time scaling, each with its tokens."""
    from services.evaluate.data import HELD_OUT, Questions
    from services.evaluate.models import resolve
    from services.evaluate.plan import Plan, strategies_of

    names, overrides = models_and_values(models)
    strategies = strategies_of(
        words(strategy),
        numbers("--samples", samples),
        rounds=numbers("--rounds", rounds),
        verdicts=verdicts,
        loop_verdicts=loop_verdicts,
        temperature=temperature,
    )
    planned = partial(
        Plan,
        strategies=strategies,
        out=out,
        verdicts=verdicts,
        repeats=repeats,
        temperature=temperature,
        show=show,
        judge=judge,
        judge_set=judge_set,
        seed=seed,
    )
    questions = Questions(tuple(data or [HELD_OUT]), limit, verifier, images, out / "images")
    find = partial(resolve, overrides=overrides, config=config)
    tell(carry_out(planned, names, against, questions, find), out)


def carry_out(
    planned: Callable[..., Plan],
    names: Sequence[str],
    against: str | None,
    questions: Questions,
    find: Callable[..., Model],
) -> Results:
    """Find the models, complete the plan with them and what they are asked, and run it.

    Args:
        planned: makes the plan of models, their questions, and those to compare with.
        names: of the models.
        against: name of the model to compare with.
        questions: of any model.
        find: makes a model of its name, and of ``progress``, which is told how it goes.
    """
    from rich.console import Console

    from services.bench.display import live_line
    from services.evaluate.run import evaluate as run
    from services.signals import stop_on_signals

    with stop_on_signals(), live_line(Console(stderr=True)) as say:
        models = tuple(find(name, progress=say) for name in names)
        other = find(against, progress=say) if against is not None else None
        plan = planned(
            models=models,
            data=tuple(questions.of(model.config) for model in models),
            against=other,
            against_data=questions.of(other.config) if other else (),
        )
        return run(plan, command=shlex.join(["coevolve", *sys.argv[1:]]), progress=say)


def tell(results: Results, out: Path) -> None:
    """Show the tables, and say where the rest is."""
    from rich.console import Console

    from services.evaluate.output import RESULTS
    from services.evaluate.tables import show

    # Where nobody's terminal sets the width, nothing is to be cut.
    show(results, Console(width=None if sys.stdout.isatty() else WIDTH))
    typer.echo(f"Results: {out / RESULTS}")


def models_and_values(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Models, and the ``KEY=VALUE`` among them.

    Raises:
        UserError: there is no model.
    """
    values = [argument for argument in arguments if "=" in argument]
    names = [argument for argument in arguments if "=" not in argument]
    if not names:
        raise UserError("no model is named", where="MODEL", remedy="for example tiny or runs/demo")
    return names, values


def words(text: str) -> list[str]:
    """Words between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def numbers(option: str, text: str) -> list[int]:
    """Numbers above 0 between commas.

    Raises:
        UserError: there is none, or something else.
    """
    found = words(text)
    if not found or not all(word.isdigit() and int(word) > 0 for word in found):
        raise UserError(
            f"{text!r} are not numbers above 0", where=option, remedy="for example 4,16"
        )
    return [int(word) for word in found]
