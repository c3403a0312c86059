"""How the runs of a study stand."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import psutil

from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.loading import load_config
from contracts.problems import Problem
from services.report.wording import duration
from services.resuming import changed, is_finished
from services.run_folder import CONFIG, SUMMARY, TIMING
from services.study.expand import Planned
from services.study.place import Place

State = Literal["done", "running", "interrupted", "failed", "to do"]
ERROR_LINES = 12
"""Lines of a failed run's error that are shown."""


def state_of(config: RunConfig) -> State:
    """How the run of ``config`` stands, by its own record; ``failed`` if that cannot be read."""
    folder = config.folder
    if not (folder / CONFIG).is_file():
        return "to do"
    try:
        status = json.loads((folder / SUMMARY).read_text())["status"]
    except (OSError, ValueError, KeyError, TypeError):
        return "interrupted"
    if status == "failed":
        return "failed"
    try:
        done = status == "finished" and is_finished(config)
    except UserError:
        return "failed"
    return "done" if done else "interrupted"


def is_running(run: str, place: Place) -> bool:
    """Whether a run goes on now, as far as this machine can tell: a process here, or a job."""
    if place.job(run).is_file():
        return True
    try:
        process = psutil.Process(int(place.process(run).read_text()))
        return "services.study.child" in process.cmdline()
    except (OSError, ValueError, psutil.Error):
        return False


def progress_of(folder: Path) -> tuple[str, str]:
    """Steps that a run has written down, and what they took, in words; dashes for none."""
    try:
        lines = (folder / TIMING).read_text(encoding="utf-8").splitlines()
    except OSError:
        return "–", "–"
    seconds = 0.0
    for line in lines:
        # The last line of a killed run may be torn.
        with contextlib.suppress(ValueError):
            seconds += float(json.loads(line)["seconds"])
    return (str(len(lines)), duration(seconds)) if lines else ("–", "–")


def changes_of(configs: Sequence[tuple[Planned, RunConfig]]) -> list[Problem]:
    """What the study says otherwise now than when its runs were started."""
    problems: list[Problem] = []
    for run, config in configs:
        stored = config.folder / CONFIG
        if not stored.is_file():
            continue
        try:
            found = [f"{p.where}: {p.what}" for p in changed(load_config(stored), config)]
        except UserError as error:
            found = [str(error)]
        if found:
            remedy = f"Give the study another --name, or remove the run: rm -r {config.folder}"
            problems.append(Problem(run.name, "; ".join(found), remedy))
    return problems


def last_error(log: Path, start: int = 0) -> str:
    """What a run said last, from byte ``start`` of its log: its error, where it said one."""
    try:
        text = log.read_bytes()[start:].decode(errors="replace")
    except OSError:
        return "it left no log"
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    marks = [i for i, line in enumerate(lines) if line.startswith(("error:", "stopped:"))]
    chosen = lines[marks[-1] : marks[-1] + ERROR_LINES] if marks else lines[-3:]
    return "\n".join(chosen) or "it said nothing"
