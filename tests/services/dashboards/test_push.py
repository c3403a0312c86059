"""Pushing dashboards: into a server that speaks Grafana's HTTP API, by the command."""

from __future__ import annotations

import re
import socket

import pytest
from grafana_double import TOKEN, VIEWER, grafana
from typer.testing import CliRunner

from services.cli import app

UIDS = ["coevolve-coevolution", "coevolve-throughput", "coevolve-reliability"]


def push(url: str, *more: str, token: str = TOKEN) -> tuple[int, str, str]:
    """Exit code, what it printed, what it complained of."""
    done = CliRunner().invoke(
        app, ["dashboards", "push", "--url", url, "--token", token, *more], env={"COLUMNS": "200"}
    )
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def test_pushed_twice_there_is_one_of_each():
    with grafana() as server:
        server.folders["abc"] = "Training"
        first, second = (push(server.url, "--folder", "Training") for _ in range(2))
    assert first[0] == second[0] == 0
    assert list(server.dashboards) == UIDS
    assert {held["version"] for held in server.dashboards.values()} == {2}
    assert {held["folder"] for held in server.dashboards.values()} == {"abc"}
    assert first[1].splitlines()[0] == (
        f"{server.url}/d/coevolve-coevolution/coevolve:-co-evolution"
    )


def test_a_folder_is_named_by_title_or_uid_and_none_is_the_general_one():
    with grafana() as server:
        server.folders["abc"] = "Training"
        push(server.url, "--folder", "abc")
        assert {held["folder"] for held in server.dashboards.values()} == {"abc"}
        push(server.url)
        assert {held["folder"] for held in server.dashboards.values()} == {""}


def test_a_folder_that_is_not_there_is_an_error_or_made():
    with grafana() as server:
        server.folders["abc"] = "Training"
        code, _, said = push(server.url, "--folder", "Trainig")
        assert code == 2
        assert "Trainig: Grafana has no such folder" in said
        assert "Folders there: Training" in said
        assert server.dashboards == {}
        assert push(server.url, "--folder", "New", "--create-folder")[0] == 0
        assert push(server.url, "--folder", "New", "--create-folder")[0] == 0
    assert sorted(server.folders.values()) == ["New", "Training"]
    assert len(server.dashboards) == 3


@pytest.mark.parametrize("folder", [[], ["--folder", "Training"]])
def test_a_wrong_token(folder):
    with grafana() as server:
        code, _, said = push(server.url, *folder, token="glsa_wrong")
    assert code == 2
    assert "Grafana does not know this token" in said
    assert "glsa_wrong" not in said
    assert server.dashboards == {}


def test_a_token_that_may_only_look():
    with grafana() as server:
        code, _, said = push(server.url, token=VIEWER)
    assert code == 2
    assert "this token may not change dashboards" in said
    assert "dashboards:write" in said
    assert VIEWER not in said


def test_a_host_that_cannot_be_reached():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code, _, said = push(f"http://127.0.0.1:{port}")
    assert code == 1
    assert f"http://127.0.0.1:{port}: cannot be reached" in said


def test_a_host_that_does_not_exist():
    code, _, said = push("http://grafana.invalid:3000")
    assert code == 1
    assert "cannot be reached" in said


def test_a_grafana_under_a_path():
    with grafana("/grafana") as server:
        code, printed, _ = push(f"{server.url}/")
        assert code == 0
        assert printed.splitlines()[1].startswith(f"{server.url}/d/coevolve-throughput/")
        wrong = server.url.removesuffix("/grafana")
        code, _, said = push(wrong)
    assert code == 2
    assert "no Grafana is at this address" in said


def test_a_grafana_that_fails():
    with grafana() as server:
        server.failing = True
        code, _, said = push(server.url)
    assert code == 1
    assert "Server Error 500" in said


@pytest.mark.parametrize(
    ("url", "token", "complaint"),
    [
        ("grafana:3000", TOKEN, "not the URL of a Grafana"),
        ("ftp://grafana", TOKEN, "not the URL of a Grafana"),
        ("http://127.0.0.1:1", " ", "the token is empty"),
    ],
)
def test_what_cannot_be_meant(url, token, complaint):
    code, _, said = push(url, token=token)
    assert code == 2
    assert complaint in said


def test_the_token_can_come_from_the_environment():
    with grafana() as server:
        done = CliRunner().invoke(
            app, ["dashboards", "push"], env={"GRAFANA_URL": server.url, "GRAFANA_TOKEN": TOKEN}
        )
    assert done.exit_code == 0
    assert not re.search(TOKEN, done.output)
    assert len(server.dashboards) == 3


def test_something_else_than_a_grafana():
    with grafana() as server:
        server.get = lambda path: (200, "hello")  # type: ignore[method-assign]
        server.post = lambda path, body: (200, "hello")  # type: ignore[method-assign]
        code, _, said = push(server.url)
    assert code == 1
    assert "does not answer as a Grafana does" in said
