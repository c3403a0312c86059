"""Every page of docs/results names commands that repeat its figures; each works, shortened.

``--short`` makes much the same of all commands of one benchmark, so that the first of each runs;
of the others the options are looked at.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "results").glob("*.md"))
SECONDS = 1200

SMALL_RUN = (
    *("steps=2", "tasks_per_step=4", "sampling.completions=4", "tasks.held_out=16"),
    *("recycle.pointwise=4", "recycle.pairwise=2", "recycle.reflect=2"),
    *("evaluation.tasks=4", "evaluation.tasks_between=2", "evaluation.verdicts=1"),
    *("evaluation.every=0", "learner.updates_per_step=1", "learner.warmup_updates=1"),
    "generators.kv_cache_gib=0.25",
)
LITTLE_WARM_START = ("model.warm_start.clean_steps=60", "model.warm_start.sloppy_steps=10")
SMALL_STUDY = ("--seeds", "1", *SMALL_RUN, *LITTLE_WARM_START)

SHORTER: dict[tuple[str, ...], tuple[str, ...]] = {
    ("coevolve", "bench"): ("--short",),
    ("coevolve", "demo"): (*SMALL_RUN, *LITTLE_WARM_START),
    # In bfloat16 a CPU with AVX2 alone needs ten minutes for a step.
    ("coevolve", "train", "smollm2"): (*SMALL_RUN, "model.dtype=float32"),
    ("coevolve", "train"): (*SMALL_RUN, *LITTLE_WARM_START),
    ("coevolve", "eval"): ("--limit", "2", "--samples", "2", "--rounds", "2", "--repeats", "1"),
    ("coevolve", "study", "report"): ("--at", "1"),
    ("coevolve", "study", "run"): SMALL_STUDY,
    # Ten arms are ten starts of Ray, twenty minutes where other work goes on; a study needs two.
    ("coevolve", "study", "run", "coevolution"): ("--arms", "policy-only,spark", *SMALL_STUDY),
    ("coevolve", "plan"): (),
    # One seed of it takes minutes, and is the whole of tests/e2e/test_chaos.py.
    ("python", "tests/e2e/chaos_run.py"): ("--seeds", "0"),
}
"""By the first words of a command: what is put at its end to make it short. The longest counts."""


def commands(page: Path) -> Iterator[list[str]]:
    """The commands in the code blocks of ``page``, lines that go on put together."""
    for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def shortened(words: list[str]) -> list[str]:
    """The same command, short."""
    for length in range(len(words), 0, -1):
        more = SHORTER.get(tuple(words[:length]))
        if more is not None:
            return [*words, *more]
    raise AssertionError(f"no short form is known of: {shlex.join(words)}")


def runnable(words: list[str]) -> list[str]:
    """With the interpreter of the tests, wherever the command is run."""
    if words[0] == "coevolve":
        return [sys.executable, "-m", "services.cli", *words[1:]]
    assert words[0] == "python"
    return [sys.executable, str(ROOT / words[1]), *words[2:]]


def made_by_make(words: list[str]) -> bool:
    """Whether it is a target of the Makefile, which other tests run."""
    return words[0] == "make"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_names_commands_with_a_short_form(page: Path) -> None:
    found = list(commands(page))
    assert found, f"{page.name} does not say how its figures are made"
    for words in found:
        if made_by_make(words):
            done = subprocess.run(
                ["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, timeout=60, check=False
            )
            assert done.returncode == 0, done.stderr
        else:
            assert len(shortened(words)) >= len(words)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.results
@pytest.mark.timeout(3 * SECONDS)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_works(page: Path, tmp_path: Path) -> None:
    found = [words for words in commands(page) if not made_by_make(words)]
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    # Built models are shared; a little warmed one is made only once.
    (tmp_path / ".cache").symlink_to(ROOT / ".cache")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'e2e'}"}
    benchmarks: set[str] = set()
    for words in found:
        known = words[1] == "bench" and words[2] in benchmarks
        benchmarks |= {words[2]} if words[1] == "bench" else set()
        done = subprocess.run(
            runnable([*words, "--help"] if known else shortened(words)),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        said = shlex.join(words)
        assert done.returncode == 0, f"{said}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
