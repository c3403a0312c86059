"""``coevolve dashboards``: into a Grafana that is running, or into files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from contracts.errors import UserError

app = typer.Typer(no_args_is_help=True, help="Grafana dashboards: push them, or write files.")


@app.command()
def push(
    url: Annotated[
        str,
        typer.Option(help="Address of Grafana: https://host:3000.", envvar="GRAFANA_URL"),
    ],
    token: Annotated[
        str,
        typer.Option(
            help="Token of a service account of Grafana with the role Editor. Better in the "
            "environment, where other users of the machine do not see it.",
            envvar="GRAFANA_TOKEN",
            show_envvar=True,
        ),
    ],
    folder: Annotated[
        str | None, typer.Option(help="Title or uid of a folder; none: the general one.")
    ] = None,
    create_folder: Annotated[
        bool, typer.Option("--create-folder", help="Make the folder if it is not there.")
    ] = False,
) -> None:
    """Put the dashboards into a Grafana, in the place of what an earlier push put there."""
    from services.dashboards.grafana import DASHBOARDS, dashboard_model
    from services.dashboards.push import push as put

    if create_folder and folder is None:
        raise UserError("which folder?", where="--create-folder", remedy="Add --folder TITLE.")
    models = [dashboard_model(spec) for spec in DASHBOARDS]
    for address in put(models, url=url, token=token, folder=folder, create=create_folder):
        typer.echo(address)


@app.command()
def export(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="Where to; none: deploy/ of this checkout."),
    ] = None,
) -> None:
    """Write the dashboards, and Prometheus' rules, as files."""
    from services.dashboards.export import DEPLOY
    from services.dashboards.export import export as write

    for path in write(folder or DEPLOY):
        typer.echo(path)
