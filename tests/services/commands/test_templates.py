"""``coevolve templates``."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from contracts.grammar import ASK_YES_NO
from recycler.templates import ALL_TEMPLATES
from services.cli import app


def test_every_template_is_listed_with_its_version() -> None:
    result = CliRunner().invoke(app, ["templates"])
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0] == ["style", "objective", "name", "version", "digest"]
    assert rows[1:] == [
        [style, str(objective), template.name, str(template.version), template.digest]
        for style, objective, template in ALL_TEMPLATES.values()
    ]


@pytest.mark.parametrize("name", ALL_TEMPLATES)
def test_each_template_can_be_seen_filled_in(name: str) -> None:
    result = CliRunner().invoke(app, ["templates", name])
    assert result.exit_code == 0
    assert "12" in result.stdout
    assert "34" in result.stdout
    assert "$" not in result.stdout


def test_one_as_it_is_asked() -> None:
    result = CliRunner().invoke(app, ["templates", "point-1.v1"])
    assert result.stdout == (
        "Question: What is 12 + 34?\nProposed answer: 46\n"
        f"Is the proposed answer correct? Think step by step. {ASK_YES_NO}\n"
    )


@pytest.mark.parametrize("name", ["point-99", "point-1.v999", "piont-1"])
def test_a_template_that_is_not_there(name: str) -> None:
    result = CliRunner().invoke(app, ["templates", name])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{name}: no such template" in result.stderr
    assert "Did you mean point-" in result.stderr
