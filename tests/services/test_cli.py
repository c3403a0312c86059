"""The command line: what it prints, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from contracts.config import RunConfig
from contracts.errors import DeadlineError, IntegrityError, UserError
from contracts.loading import load_config
from services.cli import Commands, app, logs_noted
from services.signals import Stopped

HEAVY = ("torch", "ray", "vllm", "deepspeed", "transformers", "matplotlib")


def coevolve(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def run_python(code: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str) -> str:
        path = tmp_path / "conf.yaml"
        path.write_text(text)
        return str(path)

    return _write


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("stepz: 3", [], "conf.yaml:1: stepz: unknown key"),
        ("stepz: 3", [], "Did you mean steps?"),
        ("", ["learner.lerning_rate=1"], "learner.lerning_rate=1: unknown key"),
        ("steps: many", [], 'conf.yaml:1: steps: must be a whole number, not "many"'),
        ("", ["recycle.enabled=perhaps"], "must be true or false"),
        ("", ["steps"], "an override must have the form key=value"),
        ("tasks:\n  low: 9\n  high: 3", [], "conf.yaml:2: tasks.low (9) must be below"),
        ("", ["sampling.max_tokens=300"], "leaves no room for a prompt"),
        ("steps: [1\nseed: 2", [], "conf.yaml:2: malformed YAML"),
        ("steps: 1\nsteps: 2", [], "given twice"),
        ("- steps", [], "must be a mapping"),
    ],
)
@pytest.mark.parametrize("command", ["train", "config"])
def test_bad_configuration_ends_with_one_message_and_code_2(
    write, command, text, overrides, message
):
    result = coevolve(command, write(text), *overrides)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_missing_file_and_unknown_preset():
    result = coevolve("train", "nowhere.yaml")
    assert result.exit_code == 2
    assert "nowhere.yaml: no such file, and no preset of that name" in result.stderr
    assert "demo" in result.stderr


def test_bad_override_of_the_demo():
    result = coevolve("demo", "steps=none")
    assert result.exit_code == 2
    assert "override steps=none: must be a whole number" in result.stderr


@pytest.mark.parametrize("arguments", [["train"], ["nonsense"], ["train", "demo", "--fast"]])
def test_wrong_usage_ends_with_code_2(arguments):
    result = coevolve(*arguments)
    assert result.exit_code == 2
    assert "Usage" in result.stderr


def test_max_restarts_is_how_often_a_run_resumes_by_itself(write, monkeypatch):
    found = []
    monkeypatch.setattr("services.cli.run", lambda config, existing: found.append(config))
    path = write("faults:\n  resumes: 1\n")
    assert coevolve("train", path).exit_code == 0
    assert coevolve("train", path, "--max-restarts", "7").exit_code == 0
    assert [config.faults.resumes for config in found] == [1, 7]
    assert coevolve("train", path, "--max-restarts", "-1").exit_code == 2


def test_config_prints_the_resolved_whole(write):
    result = coevolve("config", write("steps: 7"), "learner.ranks=2")
    assert result.exit_code == 0
    printed = yaml.safe_load(result.stdout)
    assert (printed["steps"], printed["learner"]["ranks"]) == (7, 2)
    again = write(result.stdout)
    assert load_config(Path(again)) == RunConfig(steps=7, learner={"ranks": 2})


def test_config_without_a_file_prints_the_defaults(write):
    assert load_config(Path(write(coevolve("config").stdout))) == RunConfig()


def test_config_prints_the_schema():
    result = coevolve("config", "gsm8k", "--schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == RunConfig.model_json_schema()


def test_report_of_a_run_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "first").mkdir(parents=True)
    result = coevolve("report", "second")
    assert result.exit_code == 2
    assert "second: no such run folder" in result.stderr
    assert "Runs here: first." in result.stderr


def test_help_and_bad_input_import_nothing_heavy():
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from services.cli import app\n"
        "for line in (['--help'], ['config', 'demo'], ['train', 'demo', 'steps=x']):\n"
        "    CliRunner().invoke(app, line)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    assert run_python(code).stdout == "[]\n"


def test_the_installed_command_gives_message_and_code():
    command = Path(sys.executable).with_name("coevolve")
    done = subprocess.run(
        [command, "train", "demo", "steps=x"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr == 'error: override steps=x: must be a whole number, not "x"\n'


def raising(error: BaseException) -> typer.Typer:
    failing = typer.Typer(cls=Commands, pretty_exceptions_enable=False)

    @failing.command()
    def fail() -> None:
        raise error

    @failing.command()
    def other() -> None:
        """Typer makes no group of one command."""

    return failing


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("is bad", where="there", remedy="mend it"), 2, "error: there: is bad\n  mend"),
        (DeadlineError("an actor", 3), 1, "error: gave up after 3 s waiting for an actor"),
        (IntegrityError("weights differ"), 1, "error: weights differ"),
        (Stopped(signal.SIGINT), 130, "stopped: ended by SIGINT"),
        (Stopped(signal.SIGTERM), 143, "stopped: ended by SIGTERM"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_messages_and_exit_codes(error, code, message):
    result = CliRunner().invoke(raising(error), ["fail"])
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_brackets_in_a_message_are_text():
    result = CliRunner().invoke(raising(UserError("[bold]no[/bold] style")), ["fail"])
    assert "[bold]no[/bold] style" in result.stderr


def test_other_errors_keep_their_traceback():
    result = CliRunner().invoke(raising(ZeroDivisionError("a fault of ours")), ["fail"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_errors_of_a_run_say_where_its_logs_are(tmp_path):
    with pytest.raises(DeadlineError) as caught, logs_noted(tmp_path):
        (tmp_path / "logs").mkdir()
        raise DeadlineError("an actor", 3)
    result = CliRunner().invoke(raising(caught.value), ["fail"])
    assert str(tmp_path / "logs") in result.stderr


def test_logs_of_a_former_run_are_not_pointed_to(tmp_path):
    (tmp_path / "logs").mkdir()
    os.utime(tmp_path / "logs", (1, 1))
    with pytest.raises(DeadlineError) as caught, logs_noted(tmp_path):
        raise DeadlineError("the model", 3)
    assert not hasattr(caught.value, "__notes__")


def test_sigterm_ends_a_command_with_143():
    code = (
        "import time, typer\n"
        "from services.cli import Commands\n"
        "from services.signals import stop_on_signals\n"
        "app = typer.Typer(cls=Commands, pretty_exceptions_enable=False)\n"
        "@app.command()\n"
        "def wait():\n"
        "    with stop_on_signals():\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(100)\n"
        "@app.command()\n"
        "def other(): pass\n"
        "app(['wait'])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "ended by SIGTERM" in stderr
