"""Several runs compared on one page: what differs is said, what does not is not."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import synthetic_run as synthetic
from typer.testing import CliRunner

from contracts.errors import UserError
from contracts.types import Objective, Reason
from services.cli import app
from services.records import RolloutRecord
from services.report import write_comparison
from services.report.comparison import best_of, columns_of, differences, spent
from services.run_folder import RunFolder, read_run
from services.statistics import Score, proportion

EVIL = "</pre></script><script>alert('x')</script>"
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    first = synthetic.make_run(folder / "merged", steps=40, seed=0)
    second = synthetic.make_run(folder / "sequential", steps=30, seed=1, status="interrupted")
    config = second / "config.yaml"
    config.write_text(config.read_text().replace("merged", "sequential"))
    rollout = RolloutRecord(
        step=30,
        objective=Objective.SOLVE,
        prompt="a needle in the hay",
        completion=EVIL,
        label="1",
        extracted=None,
        reward=0.0,
        reason=Reason.NO_ANSWER,
        version=29,
    )
    RunFolder(second).append_rollouts([rollout])
    return [first, second]


@pytest.fixture(scope="module")
def html(runs: list[Path]) -> str:
    path = write_comparison(runs, runs[0].parent / "compared.html")
    return path.read_text(encoding="utf-8")


def test_scores_curves_judge_and_time_of_both_are_there(html):
    for title in (
        "Which one solves and judges better?",
        "How far can the judge be relied on?",
        "Where the time went",
        "What was different",
        "Rollouts to read and to search",
        "Wrong answers called wrong",
        "Judging one answer, in training",
        "Calibration error in training",
        "Same choice in both orders",
        "on its own answers; balanced over right and wrong",
        "Reliability of repeated verdicts",
    ):
        assert title in html
    assert html.count("<svg") >= 12
    assert "completion tokens per second" in html


def test_the_page_needs_no_other_file_and_runs_no_script_but_its_own(html):
    assert "://" not in html.replace("http-equiv", "")
    assert html.count("<script>") == 1
    assert EVIL not in html
    assert "&lt;/script&gt;" in html
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", html)


def test_only_what_differs_in_the_configurations_is_listed(runs):
    found = dict(differences(columns_of([read_run(run) for run in runs])))
    assert found == {"schedule": ['"merged"', '"sequential"']}


def test_a_score_is_set_off_only_where_intervals_are_apart():
    low, near, high = proportion(30, 100), proportion(35, 100), proportion(80, 100)
    assert best_of([low, high, near]) == 1
    assert best_of([low, near]) is None
    assert best_of([high, None]) is None
    assert best_of([None, low, high]) == 2
    assert best_of([Score.nothing(), high]) is None


def test_runs_of_one_name_are_told_apart(tmp_path):
    same = [synthetic.make_run(tmp_path / part / "demo", steps=4) for part in ("a", "b")]
    columns = columns_of([read_run(run) for run in same])
    assert [column.name for column in columns] == ["demo (1)", "demo (2)"]
    assert len({column.colour for column in columns}) == 2


def test_time_is_that_of_a_mean_step(runs):
    (column, _) = columns_of([read_run(run) for run in runs])
    found = spent(column)
    timing = column.run.timing
    assert found.seconds == pytest.approx(sum(t.seconds for t in timing) / len(timing))
    assert sum(s for _, s, _ in found.parts) <= found.whole
    assert [phase for phase, _, _ in found.parts][:2] == ["generate", "grade"]


def test_a_run_that_did_nothing_can_be_compared(runs, tmp_path):
    RunFolder.create(tmp_path / "empty", "name: empty\n")
    text = write_comparison([runs[0], tmp_path / "empty"], tmp_path / "x.html").read_text()
    assert "cut off" in text


def test_too_many_runs_and_one_twice_are_refused(runs, tmp_path):
    with pytest.raises(UserError, match="given twice"):
        write_comparison([runs[0], runs[0]], tmp_path / "x.html")
    with pytest.raises(UserError, match="8 runs are more than 7"):
        write_comparison([tmp_path / str(n) for n in range(8)], tmp_path / "x.html")


def test_the_command_compares_several_and_reports_one(runs, tmp_path):
    names = [str(run) for run in runs]
    done = CliRunner().invoke(app, ["report", *names])
    assert done.exit_code == 0, done.output
    assert Path(done.stdout.strip()) == runs[0].parent / "merged-and-sequential.html"
    done = CliRunner().invoke(app, ["report", *names, "--out", str(tmp_path / "deep" / "c.html")])
    assert (tmp_path / "deep" / "c.html").is_file()
    done = CliRunner().invoke(app, ["report", names[0]])
    assert Path(done.stdout.strip()) == runs[0] / "report.html"
    done = CliRunner().invoke(app, ["report", names[0], "--out", "x.html"])
    assert done.exit_code == 2


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to run the search in")
def test_the_search_runs_in_a_browser(runs, html, tmp_path):
    """The script passes its own security policy, and finds by words."""
    page = tmp_path / "page.html"
    page.write_text(html)
    done = subprocess.run(
        [
            str(CHROMIUM),
            *("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"),
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    shown = re.search(r'<output id="found">(\d+) of (\d+)</output>', done.stdout)
    assert shown, "the script did not run"
    assert shown[1] == shown[2] != "0"
