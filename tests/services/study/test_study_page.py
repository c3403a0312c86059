"""The report of a study, whole and partial, and the commands that write and show it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from made_studies import STEPS, make_runs, session, study
from typer.testing import CliRunner

from services.cli import app
from services.run_folder import read_run, write_atomically
from services.study.results import note_machine
from services.study.session import Session, write_all

ARMS = {"policy-only": {"about": "<b>solving</b>"}, "spark": {"take": {"mending": "policy-only"}}}


@pytest.fixture
def made(tmp_path: Path) -> Session:
    axes = {"generators.count": {"values": [1, 2, 4], "kind": "strong", "title": "engines"}}
    measure = ["solving", "judging", "tokens_per_second", "seconds_generate", "seconds_update"]
    found = session(study(arms=ARMS, axes=axes, baseline="policy-only", measure=measure), tmp_path)
    found.place.root.mkdir(parents=True)
    write_atomically(found.place.study, found.study.text())
    note_machine(found.place, "a small machine")
    return found


def call(*words: str) -> str:
    result = CliRunner().invoke(app, ["study", *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_page_of_a_whole_study_says_everything(made: Session) -> None:
    make_runs(made)
    page = write_all(made.study, made.planned, made.place).read_text()
    for said in (
        "12 of 12 runs",
        "Held-out scores at the end",
        "Against policy-only",
        "In the course of training",
        "How well it scales",
        "Power laws",
        "Where the time of a step goes",
        "mending is taken from policy-only",
        "&lt;b&gt;solving&lt;/b&gt;",
        "a small machine",
        "cannot be below 0.5",
        f"coevolve study run {made.place.study} --dir {made.place.root.parent}",
    ):
        assert said in page, said
    assert "<b>solving</b>" not in page
    # It needs nothing else, and ids of its pictures are its own.
    assert not re.search(r'(?:src|href)="(?!#)', page)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    drawn = {file.stem for file in made.place.plots.iterdir()}
    assert {"end-solving", "steps-judging", "efficiency-count", "time"} <= drawn
    for file in made.place.plots.iterdir():
        assert file.read_bytes().startswith(b"\x89PNG")


def test_a_study_of_which_one_run_is_there_has_a_page(made: Session) -> None:
    make_runs(made, only="spark--count-1--0")
    make_runs(made, only="spark--count-2--0", status="failed")
    log = made.place.log("spark--count-2--0")
    log.parent.mkdir(parents=True)
    log.write_text("going on\nerror: no <memory>\n")
    page = write_all(made.study, made.planned, made.place).read_text()
    assert "1 of 12 runs" in page
    assert "1 run failed" in page
    assert "error: no &lt;memory&gt;" in page


def test_a_study_of_which_nothing_is_there_has_a_page(made: Session) -> None:
    page = write_all(made.study, made.planned, made.place).read_text()
    assert "0 of 12 runs" in page


def test_runs_that_did_not_use_up_what_is_held_equal_are_named(tmp_path: Path) -> None:
    ours = session(study(hold={"sampled_tokens": 10_000_000}, seeds=1), tmp_path)
    make_runs(ours)
    page = write_all(ours.study, ours.planned, ours.place).read_text()
    assert "Not everything is equal" in page
    assert "of 1e+07 sampled tokens" in page or "of 10,000,000 sampled tokens" in page


def test_status_says_how_every_run_stands(made: Session) -> None:
    make_runs(made, only="spark--count-1")
    make_runs(made, only="spark--count-2--0", status="failed")
    make_runs(made, only="spark--count-2--1", status="interrupted")
    log = made.place.log("spark--count-2--0")
    log.parent.mkdir(parents=True)
    log.write_text("error: no luck\n")
    said = call("status", "made", "--dir", str(made.place.root.parent))
    assert re.search(r"spark--count-1--0 +done +10 ", said)
    assert re.search(r"spark--count-2--0 +failed +10 ", said)
    assert re.search(r"spark--count-2--1 +interrupted +10 ", said)
    assert re.search(r"spark--count-4--1 +to do +– ", said)
    assert "2 of 12 done" in said
    assert "spark--count-2--0: error: no luck" in said


def test_report_writes_the_page_of_a_study_by_its_name_or_its_folder(made: Session) -> None:
    make_runs(made, only="spark--count-1")
    said = call("report", "made", "--dir", str(made.place.root.parent))
    assert Path("".join(said.split())) == made.place.report
    made.place.report.unlink()
    call("report", str(made.place.root))
    assert made.place.report.is_file()


def test_a_study_that_is_done_is_run_again_in_no_time(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    ours = session(study(name="s", seeds=1), tmp_path)
    file.write_text(ours.study.text())
    make_runs(ours)
    said = call("run", str(file), "--dir", str(tmp_path))
    assert "1 runs, 1 done, 0 to do" in said
    assert ours.place.report.is_file()


def test_a_run_that_was_started_otherwise_is_not_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    ours = session(study(name="s", seeds=1), tmp_path)
    make_runs(ours)
    file.write_text(ours.study.text())
    words = ["run", str(file), "--dir", str(tmp_path), "learner.learning_rate=1", "--dry"]
    result = CliRunner().invoke(app, ["study", *words])
    assert result.exit_code == 2
    assert "all--0: learner.learning_rate: the run was started with 0.0001" in result.output


def test_the_command_line_shortens_a_study(tmp_path: Path) -> None:
    words = ["--dir", str(tmp_path), "--arms", "spark,policy-only", "--seeds", "1", "--dry"]
    said = call("run", "coevolution", "steps=2", *words)
    assert " ".join(said.split()) == (
        "policy-only--0: to do spark--0: to do 2 runs, 0 done, 2 to do"
    )


def test_a_cluster_needs_folders_that_it_has(tmp_path: Path) -> None:
    words = ["study", "run", "smoke", "--name", "far", "--address", "http://127.0.0.1:1"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "--dir studies: must be an absolute path" in result.output
    result = CliRunner().invoke(app, [*words, "--dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "cache_dir=.cache/models" in result.output


def test_runs_can_be_read_at_a_step_that_all_have_come_to(tmp_path: Path) -> None:
    arms = {"policy-only": {}, "spark": {}}
    hold = {"sampled_tokens": 1_000}
    ours = session(study(arms=arms, baseline="policy-only", hold=hold), tmp_path)
    ours.place.root.mkdir(parents=True)
    write_atomically(ours.place.study, ours.study.text())
    make_runs(ours)
    call("report", str(ours.place.root))
    half = STEPS // 2
    call("report", str(ours.place.root), "--at", str(half))
    there = ours.place.root / f"at-{half}"
    page = (there / "report.html").read_text()
    assert f"{half} steps; runs are read as they were then" in page
    assert f"--at {half}" in page
    early, late = (
        json.loads((folder / "results" / "spark.json").read_text())["measures"]
        for folder in (there, ours.place.root)
    )
    assert (early["steps"]["run"]["mean"], late["steps"]["run"]["mean"]) == (half, STEPS)
    run = read_run(ours.place.runs / "spark--0"), read_run(ours.place.runs / "spark--1")
    then = [e.scores["policy_accuracy"].value for r in run for e in r.evaluations if e.step == half]
    assert early["solving"]["end"]["mean"] == pytest.approx(sum(then) / 2)
    assert early["sampled_tokens"]["run"]["mean"] < late["sampled_tokens"]["run"]["mean"]


def test_runs_that_have_not_come_to_a_step_are_not_read_there(made: Session) -> None:
    make_runs(made)
    call("report", str(made.place.root), "--at", str(STEPS + 1))
    page = (made.place.root / f"at-{STEPS + 1}" / "report.html").read_text()
    assert "0 of 12 runs" in page
