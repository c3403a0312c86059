"""The command ``coevolve``. Heavy libraries are imported only by the command that needs them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from contracts.config import RunConfig
from contracts.errors import CoevolveError, UserError
from contracts.loading import dump_config, find_config, load_config
from services.bench.cli import app as bench
from services.commands.ask import ask
from services.commands.dashboards import app as dashboards
from services.commands.evaluate import evaluate
from services.commands.grade import grade
from services.commands.plan import plan
from services.commands.recycle import recycle
from services.commands.study import app as study
from services.commands.submit import submit
from services.commands.templates import templates
from services.signals import Stopped, stop_on_signals

if TYPE_CHECKING:
    from services.training import Existing

FAILED = 1
"""Exit code of a run that failed. Bad input: 2. A signal: 128 and its number."""


class Commands(TyperGroup):
    """The group of commands, with errors turned into messages and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        with errors_as_messages():
            return super().invoke(ctx)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    # A traceback with local variables can hold a whole data set.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="One model learns to solve and to judge at once.",
)
app.add_typer(bench, name="bench")
app.add_typer(dashboards, name="dashboards")
app.add_typer(study, name="study")

ConfigArgument = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A YAML file, or the name of a preset.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Values that replace those of the file."),
]


@app.command()
def train(
    config: ConfigArgument,
    overrides: Overrides = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the run of this name from its last checkpoint; start it where "
            "there is none.",
        ),
    ] = False,
    max_restarts: Annotated[
        int | None,
        typer.Option(
            "--max-restarts",
            min=0,
            help="How often the run goes on from its last checkpoint by itself after a fault "
            "(faults.resumes).",
        ),
    ] = None,
) -> None:
    """Train a model: solve, verify, recycle, judge, learn."""
    changes = list(overrides or [])
    if max_restarts is not None:
        changes.append(f"faults.resumes={max_restarts}")
    settings = load_config(find_config(config), changes)
    run(settings, existing="resume" if resume else "refuse")


@app.command()
def demo(overrides: Overrides = None) -> None:
    """Train the built-in tiny model on arithmetic, on this machine's CPU, in minutes.

    A former demo in the same run folder is replaced.
    """
    run(load_config(find_config("demo"), overrides or []), existing="replace")


@app.command()
def config(
    config: Annotated[
        str | None,
        typer.Argument(metavar="CONFIG", help="A YAML file, or a preset; none: the defaults."),
    ] = None,
    overrides: Overrides = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of all fields instead.")
    ] = False,
) -> None:
    """Print the whole configuration as a run would see it."""
    if schema:
        typer.echo(json.dumps(RunConfig.model_json_schema(), indent=2))
        return
    path = None if config is None else find_config(config)
    typer.echo(dump_config(load_config(path, overrides or [])), nl=False)


@app.command()
def doctor() -> None:
    """Check this machine: versions, compiler, GPUs, memory, disk, ports."""
    from services.doctor import examine, show

    checks = examine()
    show(checks, Console())
    if any(check.verdict == "fail" for check in checks):
        raise typer.Exit(FAILED)


@app.command()
def report(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN", help="A run folder, or a name in runs/.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write the comparison; none: beside the first run folder."),
    ] = None,
) -> None:
    """Write the report of a run, also of one that was interrupted; of several, a comparison."""
    folders = [find_run(run) for run in runs]
    from services.report import write_comparison, write_report

    if len(folders) > 1:
        names = "-and-".join(folder.resolve().name for folder in folders)
        typer.echo(write_comparison(folders, out or folders[0].parent / f"{names}.html"))
    elif out is not None:
        raise UserError(
            "one run's report is written into its folder", where="--out", remedy="Leave --out out."
        )
    else:
        typer.echo(write_report(folders[0]))


@app.command()
def audit(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or a name in runs/.")],
) -> None:
    """Check a run's ledger: every task once per epoch; versions, labels and counts."""
    folder = find_run(run)
    from services.audit import audit as check

    result = check(folder)
    typer.echo(result.text)
    if result.faults:
        raise typer.Exit(FAILED)


app.command()(grade)
app.command()(templates)
app.command()(recycle)
app.command("eval")(evaluate)
app.command()(ask)
app.command()(submit)
app.command()(plan)


def run(config: RunConfig, *, existing: Existing) -> None:
    """Train, and say where the result is.

    Raises:
        CoevolveError: with a note on where the logs are, where there are any.
    """
    with logs_noted(config.folder), stop_on_signals() as stop:
        from services.training import train as train_run

        folder = train_run(config, existing=existing, stop=stop)
    typer.echo(f"Run folder: {folder}\nReport: {folder / 'report.html'}")


def find_run(run: str) -> Path:
    """The run folder meant by ``run``: a folder, or a name in ``runs/``.

    Raises:
        UserError: there is none.
    """
    for path in (Path(run), RunConfig().runs_dir / run):
        if path.is_dir():
            return path
    runs = RunConfig().runs_dir
    names = sorted(path.name for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []
    remedy = f"Runs here: {', '.join(names)}." if names else "Give the path of a run folder."
    raise UserError("no such run folder", where=run, remedy=remedy)


@contextmanager
def logs_noted(folder: Path) -> Iterator[None]:
    """Note on an error of the block where the logs of the run are, if it got as far as that."""
    started = time.time()
    try:
        yield
    except UserError:
        raise
    except (Exception, Stopped) as error:
        logs = folder / "logs"
        # What was there before is of another run.
        if logs.is_dir() and logs.stat().st_mtime >= started - 1:
            error.add_note(f"Run folder: {folder}, logs: {logs}")
        raise


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """End the command with a message on stderr and an exit code, for errors made for people.

    Anything else is a fault of the program and keeps its traceback.
    """
    try:
        yield
    except CoevolveError as error:
        say("error", error, "bold red")
        raise typer.Exit(error.exit_code if isinstance(error, UserError) else FAILED) from error
    except Stopped as error:
        say("stopped", error, "bold yellow")
        raise typer.Exit(error.exit_code) from error


def say(word: str, error: BaseException, style: str) -> None:
    """Print ``error`` and its notes on stderr."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"{word}:", style=style, end=" ")
    notes = getattr(error, "__notes__", [])
    console.print("\n".join([str(error), *notes]), markup=False)


def main() -> None:
    """Entry point of the ``coevolve`` command."""
    find_tools_and_modules()
    app()


def find_tools_and_modules() -> None:
    """Make the tools beside the interpreter and the modules of the working directory findable.

    torch looks for ``ninja`` on PATH, where it is not if the environment was not activated; a
    ``module:function`` of the user's is most often a file where the command is given.
    """
    tools = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([tools, os.environ.get("PATH", os.defpath)])
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


if __name__ == "__main__":
    main()
