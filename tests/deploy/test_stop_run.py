"""The hook that Kubernetes runs before it stops a pod, on real processes of this test only."""

from __future__ import annotations

import ast
import importlib.util
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
DRIVER = """
import signal, sys, time
from pathlib import Path

def stop(number, frame):
    time.sleep(0.5)
    Path(sys.argv[2]).write_text("saved")
    sys.exit(143)

signal.signal(signal.SIGTERM, {handler})
print("ready", flush=True)
time.sleep(120)
"""


def load_hook():
    spec = importlib.util.spec_from_file_location(
        "stop_run", ROOT / "deploy" / "image" / "stop_run.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hook = load_hook()
Start = Callable[..., subprocess.Popen[str]]


def ours() -> list[psutil.Process]:
    """What the hook may look at here: children of this test, and nobody else's runs."""
    return psutil.Process().children(recursive=True)


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes, and ends what is left of them."""
    started: list[subprocess.Popen[str]] = []

    def run(*command: str) -> subprocess.Popen[str]:
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def driver(start: Start, folder: Path, *, deaf: bool = False) -> subprocess.Popen[str]:
    """A process with the command line of a run; it saves on SIGTERM, unless it is deaf."""
    script = folder / "bin" / "coevolve"
    script.parent.mkdir(exist_ok=True)
    script.write_text(DRIVER.format(handler="signal.SIG_IGN" if deaf else "stop"))
    process = start(sys.executable, str(script), "train", str(folder / "checkpoint"))
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_run_saves_before_the_hook_returns(start, tmp_path):
    process = driver(start, tmp_path)
    assert hook.stop_run(ours, seconds=60) == []
    assert (tmp_path / "checkpoint").read_text() == "saved"
    assert process.wait(timeout=10) == 143


def test_where_no_run_is_there_is_nothing_to_wait_for(start):
    start("sleep", "60")
    assert hook.stop_run(ours, seconds=60) == []


def test_a_run_that_does_not_end_is_named_and_left_alone(start, tmp_path):
    process = driver(start, tmp_path, deaf=True)
    (left,) = hook.stop_run(ours, seconds=1)
    assert left.endswith(f"coevolve train {tmp_path / 'checkpoint'}")
    assert process.poll() is None


def test_a_pod_of_actors_waits_for_them_and_signals_none(start):
    actor = start("bash", "-c", "exec -a 'ray::LearnerRank.save' sleep 60")
    while not " ".join(psutil.Process(actor.pid).cmdline()).startswith("ray::"):
        time.sleep(0.01)
    assert hook.stop_run(ours, seconds=1) == ["ray::LearnerRank.save"]
    timer = threading.Timer(0.5, actor.send_signal, [signal.SIGUSR1])
    timer.start()
    assert hook.stop_run(ours, seconds=60) == []
    assert actor.wait(timeout=10) == -signal.SIGUSR1


@pytest.mark.parametrize(
    ("command", "is_driver"),
    [
        (["/opt/coevolve/venv/bin/python", "/opt/coevolve/venv/bin/coevolve", "train", "x"], True),
        (["coevolve", "demo"], True),
        (["/bin/sh", "-c", "coevolve train x --resume"], False),
        (["coevolve-stop-run", "--seconds", "270"], False),
        (["python", "/usr/local/bin/coevolve-stop-run"], False),
        (["grep", "-r", "coevolve", "train"], False),
        (["ray::IDLE"], False),
        ([], False),
    ],
)
def test_drivers_are_known_by_their_command_line(command, is_driver):
    assert hook.is_driver(command) is is_driver


def test_the_actors_it_waits_for_exist():
    classes = {
        node.name
        for path in (ROOT / "actors").glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    }
    assert {name.removeprefix("ray::") for name in hook.ACTORS} <= classes
