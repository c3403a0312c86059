"""Jobs on a real Ray head with token authentication, by ``coevolve submit`` and by Ray's own.

What the job runs is a stand-in for ``coevolve`` here, which says what came along; the last tests
run the real thing.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_head import BIN, Head, free_port, ray_head
from small_runs import tiny_run, wait_for_lines

from contracts.loading import dump_config
from services.run_folder import read_run

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SECONDS = 120
STAND_IN = """\
#!/bin/sh
echo "called with: $*"
echo "token: $RAY_AUTH_MODE"
find . -type f | sort
grep '^steps:' coevolve-run.yaml
case "$(grep '^name:' coevolve-run.yaml)" in
  *failing) echo "it went wrong" >&2; exit 7;;
  *long) sleep 600;;
esac
"""


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    tools = tmp_path_factory.mktemp("tools")
    (tools / "coevolve").write_text(STAND_IN)
    (tools / "coevolve").chmod(0o755)
    with ray_head(path=str(tools)) as started:
        yield started


def command(head: Head, *words: str, address: str = "") -> list[str]:
    return [
        *(sys.executable, "-m", "services.cli", "submit"),
        *words,
        *("--address", address or head.address),
    ]


def submit(
    head: Head, *words: str, address: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    absolute = ["runs_dir=/runs", "cache_dir=/runs/models"]
    return subprocess.run(
        command(head, *words, *absolute, address=address),
        env=head.environment | environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_a_job_is_sent_whole_followed_and_ends_as_the_run_does(head):
    done = submit(head, "demo", "name=well", "steps=7")
    assert done.returncode == 0, done.stderr
    assert f"is with {head.address}" in done.stdout
    assert "called with: train coevolve-run.yaml --resume" in done.stdout
    assert "steps: 7" in done.stdout
    assert "./coevolve-run.yaml\n" in done.stdout


def test_the_exit_code_of_the_run_is_that_of_the_command(head):
    done = submit(head, "demo", "name=failing")
    assert done.returncode == 7, done.stdout + done.stderr
    assert "it went wrong" in done.stdout


def test_what_a_run_needs_is_sent_and_the_rest_is_not(head, tmp_path):
    wanted = ["rewards.py", "data/train.jsonl", ".gitignore"]
    unwanted = [".git/config", "runs/old/metrics.jsonl", "secret.key", "data/__pycache__/a.pyc"]
    for name in [*wanted, *unwanted]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".gitignore").write_text("*.key\n")
    done = submit(head, "demo", "name=folder", "--working-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    for name in wanted:
        assert f"./{name}\n" in done.stdout
    for name in unwanted:
        assert name not in done.stdout
    assert not (tmp_path / "coevolve-run.yaml").exists()


def test_a_job_has_the_name_it_is_given_and_only_one_has(head):
    assert submit(head, "demo", "name=named", "--id", "mine").returncode == 0
    again = submit(head, "demo", "name=named", "--id", "mine")
    assert again.returncode == 2
    assert "there is a job of this name already" in again.stderr
    assert "Give another --id" in again.stderr


def test_ctrl_c_leaves_the_job_alone(head):
    process = subprocess.Popen(
        command(head, "demo", "name=long", "runs_dir=/runs", "cache_dir=/r", "--id", "long-1"),
        env=head.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("steps:"):
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    assert "the job runs on" in said
    assert f"ray job logs --address {head.address} --follow long-1" in said
    assert status(head, "long-1") == "RUNNING"
    # Stopped by somebody else, it ends for who follows it as it does for the run.
    assert ray(head, "job", "stop", "--no-wait", "long-1").returncode == 0


def test_a_stopped_job_ends_with_the_code_of_sigterm(head):
    def stop() -> None:
        while status(head, "long-2") != "RUNNING":
            time.sleep(0.5)
        ray(head, "job", "stop", "--no-wait", "long-2")

    threading.Thread(target=stop, daemon=True).start()
    done = submit(head, "demo", "name=long", "--id", "long-2")
    assert done.returncode == 143, done.stdout + done.stderr


def test_detached_says_how_to_come_back(head):
    done = submit(head, "demo", "name=detached", "--detach", "--id", "d1")
    assert done.returncode == 0
    assert "--follow d1" in done.stdout
    assert "called with" not in done.stdout


@pytest.mark.parametrize("token", ["wrong", ""])
def test_a_wrong_token_or_none_is_refused(head, token):
    done = submit(head, "demo", RAY_AUTH_TOKEN=token or "a" * 64)
    assert done.returncode == 2
    assert "the cluster refuses the token" in done.stderr
    assert head.environment["RAY_AUTH_TOKEN"] not in done.stdout + done.stderr


def test_a_wrong_address(head):
    nobody = f"http://127.0.0.1:{free_port()}"
    done = submit(head, "demo", address=nobody)
    assert done.returncode == 1
    assert f"{nobody}: cannot be reached" in done.stderr
    done = submit(head, "demo", address="127.0.0.1:8265")
    assert done.returncode == 2
    assert "not the address of a Ray dashboard" in done.stderr


def test_a_bad_configuration_is_refused_before_anything_is_sent(head):
    nobody = f"http://127.0.0.1:{free_port()}"
    done = submit(head, "demo", "stepz=3", address=nobody)
    assert done.returncode == 2
    assert "stepz" in done.stderr
    done = subprocess.run(
        command(head, "demo"),
        env=head.environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 2
    assert "runs_dir=runs" in done.stderr
    assert "absolute path" in done.stderr


def ray(head: Head, *words: str) -> subprocess.CompletedProcess[str]:
    """Ray's own command, of a client that has the token."""
    environment = head.environment | {"RAY_API_SERVER_ADDRESS": head.address}
    return subprocess.run(
        [str(BIN / "ray"), *words],
        env={k: v for k, v in environment.items() if k != "RAY_ADDRESS"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def status(head: Head, job: str) -> str:
    said = ray(head, "job", "status", job)
    words = said.stdout + said.stderr
    return next((s for s in ("RUNNING", "PENDING", "STOPPED", "FAILED") if s in words), words)


@pytest.fixture(scope="module")
def real() -> Iterator[Head]:
    with ray_head() as started:
        yield started


def test_a_run_submitted_by_ray_stopped_and_submitted_again_resumes(real):
    """Stopped by `ray job stop` it saves; `coevolve submit` goes on with it to its end."""
    config = tiny_run(
        real.folder / "runs",
        "sent",
        steps=200,
        cache_dir=str(Path(".cache/models").resolve()),
        checkpoints={"every": 50},
        evaluation={"tasks": 8, "tasks_between": 8, "candidates": 4, "every": 0},
    )
    file = real.folder / "run.yaml"
    file.write_text(dump_config(config))
    words = ["--submission-id", "s1", "--", "coevolve", "train", str(file), "--resume"]
    assert ray(real, "job", "submit", "--no-wait", *words).returncode == 0
    lines = real.folder / "runs" / "sent" / "metrics.jsonl"
    with subprocess.Popen(["sleep", "800"], text=True) as waiting:
        wait_for_lines(lines, 3, waiting)
        waiting.kill()
    stopped = ray(real, "job", "stop", "s1")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    done = len(read_run(lines.parent).metrics)
    assert 3 <= done < 200
    sent = subprocess.run(
        command(real, str(file), f"steps={done + 2}", "--id", "s2"),
        env=real.environment,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert f"going on after step {done}" in sent.stdout
    run = read_run(lines.parent)
    assert [m.step for m in run.metrics] == list(range(1, done + 3))
    assert run.summary is not None
    assert run.summary.status == "finished"
