"""Dashboards to a Grafana that is running, through its HTTP API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests
from grafana_api.grafana_api import (
    GrafanaClientError,
    GrafanaException,
    GrafanaUnauthorizedError,
)
from grafana_api.grafana_face import GrafanaFace

from contracts.errors import CoevolveError, UserError

SECONDS = 20.0
"""Longest wait for one answer of Grafana."""
FORBIDDEN = 403
NOT_FOUND = 404
CONFLICT = 409
PRECONDITION = 412


class GrafanaError(CoevolveError):
    """Grafana could not be reached, or did not do what it was asked to."""


def push(
    dashboards: Sequence[dict[str, Any]],
    *,
    url: str,
    token: str,
    folder: str | None = None,
    create: bool = False,
) -> list[str]:
    """Put dashboards into Grafana; one that is there already is replaced, and never doubled.

    Args:
        dashboards: models; each is known by its ``uid``.
        url: of Grafana, with its path where it has one: ``https://host:3000/grafana``.
        token: of a service account that may edit dashboards.
        folder: title or uid of the folder; None: the general one.
        create: make the folder if it is not there.

    Returns:
        The addresses of the dashboards.

    Raises:
        UserError: the URL is none, Grafana refuses the token, or there is no such folder.
        GrafanaError: it cannot be reached, or fails.
    """
    grafana = connect(url, token)
    with errors_of(url):
        place = None if folder is None else folder_uid(grafana, folder, create=create)
        addresses = []
        for model in dashboards:
            answer = grafana.dashboard.update_dashboard(request(model, place))
            if not isinstance(answer, dict) or "url" not in answer:
                raise GrafanaError(f"{url}: this does not answer as a Grafana does")
            addresses.append(url.rstrip("/") + path_of(answer["url"], url))
    return addresses


def request(model: dict[str, Any], folder: str | None) -> dict[str, Any]:
    """The body that creates or replaces a dashboard. ``id`` is Grafana's own, ``uid`` is ours."""
    body = {
        "dashboard": {**model, "id": None},
        "overwrite": True,
        "message": "coevolve dashboards push",
    }
    return body if folder is None else body | {"folderUid": folder}


def connect(url: str, token: str) -> GrafanaFace:
    """A client of the Grafana at ``url``.

    Raises:
        UserError: it is no URL of a web server, or the token is empty.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(
            "not the URL of a Grafana", where=url, remedy="For example: --url https://host:3000"
        )
    if not token.strip():
        raise UserError(
            "the token is empty",
            where="--token",
            remedy="Make one in Grafana: Administration, Service accounts, with the role Editor.",
        )
    path = parts.path.strip("/")
    return GrafanaFace(
        auth=token.strip(),
        host=f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname,
        port=parts.port,
        url_path_prefix=f"{path}/" if path else "",
        protocol=parts.scheme,
        timeout=SECONDS,
    )


def folder_uid(grafana: GrafanaFace, folder: str, *, create: bool) -> str:
    """The uid of the folder with this title or uid.

    Raises:
        UserError: there is none, and it is not to be made.
    """
    found = grafana.folder.get_all_folders()
    for each in found:
        if folder in (each["uid"], each["title"]):
            return str(each["uid"])
    if create:
        return str(grafana.folder.create_folder(folder)["uid"])
    titles = ", ".join(sorted(each["title"] for each in found)) or "none"
    raise UserError(
        "Grafana has no such folder, or this token may not see it",
        where=folder,
        remedy=f"Folders there: {titles}. To make it: --create-folder.",
    )


def path_of(path: str, url: str) -> str:
    """What of an address that Grafana gives comes behind ``url``: it begins with the same path."""
    return path.removeprefix(urlsplit(url).path.rstrip("/"))


@contextmanager
def errors_of(url: str) -> Iterator[None]:
    """Errors of Grafana and of the way to it, in words."""
    try:
        yield
    except GrafanaUnauthorizedError as error:
        raise UserError(
            "Grafana does not know this token",
            where=url,
            remedy="It may have been removed or have expired. Give another: --token.",
        ) from error
    except GrafanaClientError as error:
        raise refusal(error, url) from error
    except GrafanaException as error:
        raise GrafanaError(f"{url}: {error.message}") from error
    except requests.Timeout as error:
        raise GrafanaError(f"{url}: no answer within {SECONDS:g} s") from error
    except requests.ConnectionError as error:
        raise GrafanaError(f"{url}: cannot be reached. Is it up, and is this its port?") from error
    except requests.RequestException as error:
        raise GrafanaError(f"{url}: this does not answer as a Grafana does ({error})") from error


def refusal(error: GrafanaClientError, url: str) -> CoevolveError:
    """What a refusal of Grafana means."""
    said = f"Grafana said: {error.message}"
    if error.status_code == FORBIDDEN:
        remedy = f"Give its service account the role Editor. {said}"
        return UserError("this token may not change dashboards", where=url, remedy=remedy)
    if error.status_code == NOT_FOUND:
        remedy = f"Is there a path missing, as in https://host/grafana? {said}"
        return UserError("no Grafana is at this address", where=url, remedy=remedy)
    if error.status_code in (CONFLICT, PRECONDITION):
        return GrafanaError(f"{url}: the dashboard cannot be replaced. {said}")
    return GrafanaError(f"{url}: {said}")
