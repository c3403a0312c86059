"""``coevolve submit``: a run on a Ray cluster, by Ray's job API."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from contracts.loading import find_config, load_config

ConfigArgument = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A YAML file, or the name of a preset.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Values that replace those of the file."),
]


def submit(
    config: ConfigArgument,
    overrides: Overrides = None,
    *,
    address: Annotated[
        str,
        typer.Option(
            help="Of the cluster's Ray dashboard; the token is taken from RAY_AUTH_TOKEN or "
            "~/.ray/auth_token.",
            envvar="RAY_API_SERVER_ADDRESS",
            show_envvar=True,
        ),
    ] = "http://127.0.0.1:8265",
    job: Annotated[
        str | None,
        typer.Option("--id", help="What Ray is to know the job by; none: run name and time."),
    ] = None,
    working_dir: Annotated[
        Path | None,
        typer.Option(
            help="A folder that the run needs: data, functions of yours. Sent without .git, runs, "
            "caches and what .gitignore names."
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--detach", help="Show its output until it ends, or leave.")
    ] = True,
) -> None:
    """Send a run to a Ray cluster, and follow it. Sent again under its name, it goes on.

    Ends with the exit code of the run. Ctrl-C leaves the run alone.
    """
    settings = load_config(find_config(config), overrides or [])
    from services.submitting import Cluster

    cluster = Cluster(address)
    sent = cluster.submit(settings, name=job, folder=working_dir)
    typer.echo(f"Job {sent.id} is with {sent.address}")
    if not follow:
        typer.echo(sent.hints)
        return
    # A command that a shell starts in the background is told to ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = cluster.follow(sent, lambda lines: typer.echo(lines, nl=False))
    except KeyboardInterrupt:
        typer.echo(f"\nLeft alone; the job runs on.\n{sent.hints}", err=True)
        return
    if code:
        raise typer.Exit(code)
