"""``coevolve study``: the same run under several configurations and seeds, compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.errors import UserError
from contracts.yaml_lines import parse_value
from services.signals import stop_on_signals
from services.study.place import STUDIES

if TYPE_CHECKING:
    from services.study.place import Place
    from services.study.runner import Launcher
    from services.study.session import Session

app = typer.Typer(no_args_is_help=True, help="Run, watch and report studies of many runs.")

FAILED = 1
"""Exit code where a run failed."""

StudyArgument = Annotated[
    str, typer.Argument(metavar="STUDY", help="A YAML file, or the name of a study.")
]
FolderOption = Annotated[
    Path, typer.Option("--dir", metavar="FOLDER", help="Where studies are kept.")
]


@app.command()
def run(  # noqa: PLR0917 (an option each)
    study: StudyArgument,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Values that go over those of every run."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at once.")] = 1,
    address: Annotated[
        str | None,
        typer.Option(
            help="Of a cluster's Ray dashboard: runs become jobs there, in a --dir that it has."
        ),
    ] = None,
    working_dir: Annotated[
        Path | None,
        typer.Option(help="With --address: a folder that the runs need: data, functions of yours."),
    ] = None,
    folder: FolderOption = STUDIES,
    name: Annotated[
        str | None, typer.Option(help="Another name for the study and its folder.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds: 0, 1, 2 ...")] = None,
    arms: Annotated[str | None, typer.Option(help="Only these arms, with commas between.")] = None,
    dry: Annotated[bool, typer.Option("--dry", help="Check it, and say what would run.")] = False,
) -> None:
    """Do the runs of a study that are not done, and write its report.

    Started again it goes on where it stopped. A failed run is listed and does not stop the others.
    """
    from services.study.session import prepare
    from services.study.session import run as run_study
    from services.study.spec import changed, find_study, load_study

    path = find_study(study)
    found, document = load_study(path)
    found = changed(
        found,
        name=name,
        seeds=seeds,
        arms=arms.split(",") if arms else (),
        force=dict(map(_pair, overrides or [])),
    )
    session = prepare(found, folder, path, document)
    if dry:
        _show(session.states())
        return
    if address is not None:
        _check_paths(session)
    launcher, machine = _launcher(session.place, address, working_dir)
    with stop_on_signals() as stop:
        outcomes = run_study(session, launcher, jobs=jobs, machine=machine, stop=stop, say=_say)
    typer.echo(f"Report: {session.place.report}")
    if failed := [outcome for outcome in outcomes if not outcome.is_done]:
        typer.echo(f"{len(failed)} of {len(session.planned)} runs failed:", err=True)
        for outcome in failed:
            typer.echo(f"  {outcome.run.name}: {outcome.error.splitlines()[0]}", err=True)
        raise typer.Exit(FAILED)


@app.command()
def status(study: StudyArgument, folder: FolderOption = STUDIES) -> None:
    """How every run of a study stands."""
    from services.study.expand import expand
    from services.study.session import known_study, states_of
    from services.study.states import last_error

    found, place = known_study(study, folder)
    planned = expand(found, place)
    states = states_of(planned, place)
    _table(found.name, [(run.name, *_row(run.name, place)) for run in planned], states)
    for run in planned:
        if states[run.name] == "failed":
            typer.echo(f"\n{run.name}: {last_error(place.log(run.name))}")


@app.command()
def report(
    study: StudyArgument,
    folder: FolderOption = STUDIES,
    at: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="STEP",
            help="Read all runs as they were after that step: where other things than steps are "
            "held equal, the same runs at equal steps. In a folder of its own.",
        ),
    ] = None,
) -> None:
    """Write tables, results, plots and the report of a study, also of one that is not done."""
    from services.study.expand import expand
    from services.study.session import known_study, write_all

    found, place = known_study(study, folder)
    if not place.runs.is_dir():
        raise UserError(
            "nothing of this study has been run",
            where=str(place.root),
            remedy=f"coevolve study run {study}",
        )
    place = replace(place, at=at)
    typer.echo(write_all(found, expand(found, place), place))


def _launcher(place: Place, address: str | None, working_dir: Path | None) -> tuple[Launcher, str]:
    """What starts the runs, and where they run, in words."""
    if address is None:
        from services.bench.surroundings import machine
        from services.study.local import Here

        return Here(place), machine()
    from services.study.cluster import There
    from services.submitting import Cluster

    return There(Cluster(address), place, working_dir), "a Ray cluster"


def _check_paths(session: Session) -> None:
    """Refuse folders that a cluster would not have, or would lose with the job.

    Raises:
        UserError: one is not absolute.
    """
    from services.submitting import check_paths

    if not session.place.root.is_absolute():
        raise UserError(
            "must be an absolute path, on a volume that this machine and the cluster have",
            where=f"--dir {session.place.root.parent}",
            remedy="For example: --dir /runs/studies",
        )
    for config in session.configs.values():
        check_paths(config)


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(
            "an override must have the form key=value", where=text, remedy="For example: steps=10"
        )
    return key.strip(), parse_value(value, f"override {text}")


def _say(line: str) -> None:
    typer.echo(line)


def _row(name: str, place: Place) -> tuple[str, str]:
    """Steps done, and seconds of them."""
    from services.study.states import progress_of

    return progress_of(place.runs / name)


def _show(states: Mapping[str, str]) -> None:
    for name, state in states.items():
        typer.echo(f"  {name}: {state}")
    done = sum(state == "done" for state in states.values())
    typer.echo(f"{len(states)} runs, {done} done, {len(states) - done} to do")


def _table(title: str, rows: list[tuple[str, str, str]], states: Mapping[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    colours = {"done": "green", "running": "cyan", "failed": "red", "interrupted": "yellow"}
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("run", overflow="fold")
    table.add_column("state")
    table.add_column("steps", justify="right")
    table.add_column("time", justify="right")
    for name, steps, seconds in rows:
        state = states[name]
        table.add_row(name, f"[{colours.get(state, 'default')}]{state}[/]", steps, seconds)
    console = Console()
    console.print(table)
    done = sum(state == "done" for state in states.values())
    console.print(f"{done} of {len(states)} done", highlight=False)
