"""A run on the tiny model, with and without faults: what it costs, and whether it learns the same.

``python tests/e2e/chaos_run.py --seeds 3 --json faults.json`` repeats docs/results/faults.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import chaos
from small_runs import tiny_run

from contracts.config import RunConfig
from services.audit import audit
from services.run_folder import Run, read_run

STEPS = 30
DEADLINE = 1500.0
DEEDS = tuple((kind, how) for kind in chaos.KINDS for how in chaos.SIGNALS)


@dataclass(frozen=True)
class Held:
    """A fault, and the seconds by which it held the run up.

    ``seconds``: from the fault to the end of the step that was under way, less the time of a
    step without faults.
    """

    kind: str
    how: str
    step: int
    seconds: float


def chaos_config(folder: Path, name: str, seed: int) -> RunConfig:
    """30 steps in which the tiny model learns something."""
    return tiny_run(
        folder,
        name,
        seed=seed,
        steps=STEPS,
        # What the demo learns by.
        tasks_per_step=32,
        model={},
        sampling={},
        recycle={},
        learner={"threads": 1},
        generators={"count": 2, "kv_cache_gib": 0.25},
        verifiers={"deadline": 1.0},
        # Graded in processes, and not at once: so that there are some to be broken.
        tasks={"held_out": 256, "verifier": "graders_of_tests:unhurried"},
        evaluation={"tasks": 256, "every": 0, "greedy": False},
        checkpoints={"every": 3},
        transfer={"checksum_every": 1, "deadline": 20},
        deadlines={"health": 6},
        faults={"restarts": 20, "resumes": 10},
    )


def run(config: RunConfig, folder: Path, *, faults: bool) -> tuple[Run, list[Held]]:
    """The run, from its command to its end, and what held it up.

    Raises:
        AssertionError: it did not end by itself, with all its steps and a clean ledger.
    """
    path = folder / f"{config.name}.yaml"
    path.write_text(config.model_dump_json())
    tests = str(Path(__file__).parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, str(Path.cwd())])}
    output = folder / f"{config.name}.output"
    times: list[float] = []
    deeds: list[tuple[int, chaos.Deed]] = []
    with output.open("w") as file:
        command = [sys.executable, "-m", "services.cli", "train", str(path)]
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
        try:
            watch(process, config, times, deeds if faults else None)
            assert process.wait(DEADLINE) == 0, output.read_text()
        finally:
            process.kill()
    result = read_run(config.folder)
    assert [step.step for step in result.metrics] == list(range(1, STEPS + 1))
    assert audit(config.folder).faults == []
    return result, held_up(times, deeds)


def watch(
    process: subprocess.Popen[bytes],
    config: RunConfig,
    times: list[float],
    deeds: list[tuple[int, chaos.Deed]] | None,
) -> None:
    """Note when each step was first done; in between do all deeds, in a random order."""
    draw = random.Random(config.seed)
    order = draw.sample(DEEDS, len(DEEDS))
    metrics = config.folder / "metrics.jsonl"
    end = time.monotonic() + DEADLINE
    while len(times) < STEPS:
        assert process.poll() is None, "the run ended before its time"
        assert time.monotonic() < end, f"step {len(times) + 1} was not reached in {DEADLINE} s"
        steps = len(metrics.read_text().splitlines()) if metrics.is_file() else 0
        times += [time.time()] * (steps - len(times))
        # A few steps apart, from the first on, none in the last.
        due = deeds is not None and len(times) >= 1 + len(deeds) * (STEPS - 4) // len(DEEDS)
        if deeds is not None and due and len(deeds) < len(DEEDS):
            time.sleep(draw.uniform(0.0, 0.5))
            deeds.append((len(times), chaos.do(process.pid, *order[len(deeds)], draw)))
        time.sleep(0.05)


def held_up(times: list[float], deeds: list[tuple[int, chaos.Deed]]) -> list[Held]:
    """What each deed cost. ``times``: when each step was first done."""
    usual = median(later - earlier for earlier, later in itertools.pairwise(times))
    return [Held(deed.kind, deed.how, step, times[step] - deed.at - usual) for step, deed in deeds]


def record(seed: int, result: Run, held: list[Held]) -> dict[str, Any]:
    """A run as it is written down: held-out scores by step, and what held it up."""
    return {
        "seed": seed,
        "seconds": result.summary.seconds if result.summary else None,
        "scores": {
            evaluation.step: {name: asdict(score) for name, score in evaluation.scores.items()}
            for evaluation in result.evaluations
        },
        "held_up": [asdict(one) for one in held],
    }


def main() -> None:
    """Compare over seeds, and write down what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(arguments.seeds):
            for faults in (False, True):
                name = f"{'disturbed' if faults else 'undisturbed'}-{seed}"
                config = chaos_config(Path(scratch), name, seed)
                result, held = run(config, Path(scratch), faults=faults)
                found.append(record(seed, result, held))
                arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
