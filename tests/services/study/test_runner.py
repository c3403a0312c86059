"""Runs are done so many at once, in order, whatever fails. The runs are small processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from made_studies import make, session, study

from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.loading import dump_config
from services.run_folder import held
from services.signals import Stopped, StopRequest, stop_on_signals
from services.study.expand import Planned
from services.study.local import Here, LocalRun
from services.study.runner import Outcome, Runner
from services.study.session import Session
from services.study.states import is_running


@dataclass
class Small:
    """Starts processes that sleep; a run is whole when its process has ended well."""

    folder: Path
    seconds: float = 0.0
    fail: tuple[str, ...] = ()
    started: list[str] = field(default_factory=list)
    leaves: bool = False

    def start(self, config: RunConfig) -> LocalRun:
        self.started.append(config.name)
        log = self.folder / f"{config.name}.txt"
        code = f"import time; time.sleep({self.seconds}); print('error: no luck')"
        failing = config.name in self.fail
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", f"{code}; raise SystemExit({int(failing)})"],
                stdin=subprocess.PIPE,
                stdout=output,
                start_new_session=True,
            )
        if not failing and not config.folder.is_dir():
            make(config.folder, dump_config(config), seed=0)
        return LocalRun(process, log, 0)


def runner(made: Session, launcher: Small, *, jobs: int = 1, longest: float = 60.0) -> Runner:
    def tell(run: Planned, outcome: Outcome | None) -> None: ...

    return Runner(made.configs, launcher, jobs=jobs, longest=longest, tell=tell)


def test_all_runs_are_done_once(tmp_path: Path) -> None:
    made, launcher = session(study(arms={"a": {}, "b": {}}, seeds=2), tmp_path), Small(tmp_path)
    outcomes = runner(made, launcher).do(made.planned, StopRequest())
    assert [outcome.is_done for outcome in outcomes] == [True] * 4
    assert launcher.started == ["a--0", "b--0", "a--1", "b--1"]
    again = Small(tmp_path)
    assert runner(made, again).do(made.planned, StopRequest()) == []
    assert again.started == []


def test_a_failed_run_does_not_stop_the_others_but_what_needs_it(tmp_path: Path) -> None:
    made = session(
        study(
            arms={
                "a": {"set": {"recycle.answered": False}},
                "b": {"set": {"recycle.prompts_of": "{run:a}"}},
                "c": {},
            },
            seeds=2,
        ),
        tmp_path,
    )
    launcher = Small(tmp_path, fail=("a--0",))
    outcomes = {o.run.name: o for o in runner(made, launcher).do(made.planned, StopRequest())}
    assert outcomes["a--0"].error == "exit code 1\nerror: no luck"
    assert outcomes["b--0"].error == "it needs a--0, which failed"
    assert [name for name, o in outcomes.items() if o.is_done] == ["c--0", "a--1", "b--1", "c--1"]
    assert "b--0" not in launcher.started


def test_what_is_needed_has_ended_before_what_needs_it_starts(tmp_path: Path) -> None:
    made = session(
        study(
            arms={
                "a": {"set": {"recycle.answered": False}},
                "b": {"set": {"recycle.prompts_of": "{run:a}"}},
            },
            seeds=1,
        ),
        tmp_path,
    )
    running: list[set[str]] = []
    names: set[str] = set()

    def tell(run: Planned, outcome: Outcome | None) -> None:
        names.add(run.name) if outcome is None else names.discard(run.name)
        running.append(set(names))

    launcher = Small(tmp_path, seconds=0.3)
    Runner(made.configs, launcher, jobs=2, longest=60, tell=tell).do(made.planned, StopRequest())
    assert running == [{"a--0"}, set(), {"b--0"}, set()]


def test_as_many_run_at_once_as_are_asked_for(tmp_path: Path) -> None:
    made = session(study(seeds=3), tmp_path)
    most = 0
    names: set[str] = set()

    def tell(run: Planned, outcome: Outcome | None) -> None:
        nonlocal most
        names.add(run.name) if outcome is None else names.discard(run.name)
        most = max(most, len(names))

    launcher = Small(tmp_path, seconds=1.0)
    Runner(made.configs, launcher, jobs=2, longest=60, tell=tell).do(made.planned, StopRequest())
    assert most == 2


def test_a_run_that_takes_too_long_is_ended_and_has_failed(tmp_path: Path) -> None:
    made, launcher = session(study(seeds=1), tmp_path), Small(tmp_path, seconds=60.0)
    (outcome,) = runner(made, launcher, longest=0.5).do(made.planned, StopRequest())
    assert "longer than 0.5 s" in outcome.error


def test_a_request_to_stop_ends_what_runs(tmp_path: Path) -> None:
    made = session(study(seeds=2), tmp_path)
    started: list[LocalRun] = []

    class Asked(Small):
        def start(self, config: RunConfig) -> LocalRun:
            started.append(super().start(config))
            os.kill(os.getpid(), signal.SIGTERM)
            return started[-1]

    with pytest.raises(Stopped), stop_on_signals() as stop:
        runner(made, Asked(tmp_path, seconds=60.0)).do(made.planned, stop)
    (only,) = started
    assert only.process.returncode == -signal.SIGTERM


def test_a_run_that_another_process_still_saves_is_waited_for(tmp_path: Path) -> None:
    made, launcher = session(study(seeds=1), tmp_path), Small(tmp_path)
    folder = made.configs[made.planned[0].name].folder
    busy = threading.Event()

    def save() -> None:
        with held(folder):
            busy.set()
            time.sleep(1.0)

    other = threading.Thread(target=save)
    other.start()
    assert busy.wait(timeout=30)
    (outcome,) = runner(made, launcher).do(made.planned, StopRequest())
    assert not other.is_alive()
    assert outcome.is_done


def test_a_child_ends_when_its_starter_is_gone() -> None:
    code = (
        "import time; from services.study.child import end_with_starter; end_with_starter(); "
        "print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "up\n"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(timeout=30) == -signal.SIGTERM


def test_a_study_is_run_by_one_process_at_a_time(tmp_path: Path) -> None:
    made = session(study(seeds=1), tmp_path)
    with (
        made.place.held(),
        pytest.raises(UserError, match="being run now"),
        made.place.held(),
    ):
        pass
    with made.place.held():
        pass


def test_a_run_goes_on_while_its_process_or_its_job_does(tmp_path: Path) -> None:
    made = session(study(seeds=1), tmp_path)
    (run,) = made.planned
    assert not is_running(run.name, made.place)
    started = Here(made.place).start(made.configs[run.name])
    # For a moment a new process has no command line yet.
    end = time.monotonic() + 30
    while not is_running(run.name, made.place):
        assert started.poll() is None, started.error()
        assert time.monotonic() < end
        time.sleep(0.05)
    started.stop()
    assert started.process.wait(timeout=120) == -signal.SIGTERM
    # Its process is gone; whoever killed the study has left the note behind.
    assert not is_running(run.name, made.place)
    started.close()
    job = made.place.job(run.name)
    job.parent.mkdir()
    job.write_text("made-all--0-1")
    assert is_running(run.name, made.place)
