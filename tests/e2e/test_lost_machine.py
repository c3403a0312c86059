"""A whole run over several Ray nodes, one of which is lost in the middle.

The driver is on the head; the learner has a node of its own, and each generator one of its group.
Nothing but TCP is between learner and generators: they share no memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from ray._private.node import Node
from ray.cluster_utils import Cluster
from small_runs import tiny_run, wait_for_lines

from actors.placement import NODE_GROUP
from contracts.config import RunConfig
from contracts.loading import dump_config
from services.audit import audit
from services.records import FaultRecord
from services.run_folder import FAULTS, Run, read_run

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STEPS = 6
LOST_AFTER = 2
SECONDS = 1200.0
"""Two engines start at once on two cores, which may have much else to do."""
LEARN, GENERATE = "learn", "generate"


class Machines:
    """A head, a node for the learner, and nodes with room for one generator each."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.learner = self._add(LEARN, cpus=2)
        self.generators: list[Node] = []

    def _add(self, group: str, cpus: int) -> Node:
        return self.cluster.add_node(num_cpus=cpus, labels={NODE_GROUP: group})

    def add_generators(self, count: int) -> None:
        """So many machines more with room for a generator each."""
        self.generators += [self._add(GENERATE, cpus=1) for _ in range(count)]

    def lose(self, node: Node) -> None:
        """End a node and all that runs on it at once, as a machine ends whose power goes."""
        raylet = node.all_processes["raylet"][0].process
        below = psutil.Process(raylet.pid).children(recursive=True)
        self.cluster.remove_node(node, allow_graceful=False)
        for process in below:
            if process.is_running():
                process.kill()


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # A dead node is noticed in two seconds instead of ten.
    settings = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": settings}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield Machines(made)
    finally:
        made.shutdown()


def config_of(folder: Path, generators: int, steps: int = STEPS) -> RunConfig:
    return tiny_run(
        folder,
        "spread",
        steps=steps,
        cache_dir=str(Path(".cache/models").resolve()),
        generators={
            "count": generators, "kv_cache_gib": 0.1, "device": "cpu", "node_group": GENERATE,
        },
        learner={"threads": 2, "device": "cpu", "node_group": LEARN, "warmup_updates": 1},
        transfer={"share_memory": False, "checksum_every": 1, "deadline": 60, "backend": "gloo"},
        evaluation={"tasks": 16, "tasks_between": 8, "every": 0, "greedy": False},
        checkpoints={"every": 1},
        deadlines={"start": 800, "health": 20},
    )  # fmt: skip


@contextmanager
def started(config: RunConfig, machines: Machines, output: Path) -> Iterator[subprocess.Popen[str]]:
    """``coevolve train`` as a driver of the cluster; ended by force with the block."""
    file = output.with_name("run.yaml")
    file.write_text(dump_config(config))
    with output.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.cli", "train", str(file)],
            env={**os.environ, "RAY_ADDRESS": machines.cluster.address},
            stdout=log,
            stderr=log,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def actors_on(node: Node, kind: str) -> list[psutil.Process]:
    """Processes of a node whose actors are of that class."""
    raylet = node.all_processes["raylet"][0].process
    below = psutil.Process(raylet.pid).children(recursive=True)
    return [one for one in below if f"ray::{kind}" in " ".join(one.cmdline())]


def where(machines: Machines) -> list[tuple[int, int]]:
    """Learner ranks and generators on the learner's node, then on each of the others."""
    nodes = [machines.learner, *machines.generators]
    return [
        (len(actors_on(node, "LearnerRank")), len(actors_on(node, "Generator"))) for node in nodes
    ]


def faults_of(config: RunConfig) -> list[str]:
    """Kinds of the faults that were found."""
    lines = (config.folder / FAULTS).read_text().splitlines()
    return [FaultRecord.model_validate_json(line).kind for line in lines]


def ended(process: subprocess.Popen[str], config: RunConfig, output: Path) -> Run:
    """The run at its end, whole: every step, each task once, engines' weights those learnt."""
    assert process.wait(SECONDS) == 0, output.read_text()
    run = read_run(config.folder)
    steps = list(range(1, config.steps + 1))
    assert [step.step for step in run.metrics] == steps, output.read_text()
    assert run.summary is not None
    assert run.summary.status == "finished"
    assert audit(config.folder).faults == []
    return run


def test_a_generators_machine_is_lost_and_the_run_goes_on_with_the_other(
    machines: Machines, tmp_path: Path
) -> None:
    machines.add_generators(2)
    config, output = config_of(tmp_path, 2), tmp_path / "output"
    with started(config, machines, output) as process:
        wait_for_lines(config.folder / "metrics.jsonl", LOST_AFTER, process, SECONDS)
        assert where(machines) == [(1, 0), (0, 1), (0, 1)]
        machines.lose(machines.generators.pop())
        ended(process, config, output)
    assert "generators" in faults_of(config), output.read_text()


def test_a_new_machine_takes_the_place_of_the_only_one(machines: Machines, tmp_path: Path) -> None:
    machines.add_generators(1)
    config, output = config_of(tmp_path, 1), tmp_path / "output"
    with started(config, machines, output) as process:
        wait_for_lines(config.folder / "metrics.jsonl", LOST_AFTER, process, SECONDS)
        machines.lose(machines.generators.pop())
        machines.add_generators(1)
        ended(process, config, output)
    assert "generators" in faults_of(config), output.read_text()


def test_a_run_that_goes_on_from_its_checkpoint_takes_the_machines_that_are_left(
    machines: Machines, tmp_path: Path
) -> None:
    """A generator's machine is gone for good when the learner dies."""
    machines.add_generators(2)
    config, output = config_of(tmp_path, 2, steps=12), tmp_path / "output"
    with started(config, machines, output) as process:
        wait_for_lines(config.folder / "metrics.jsonl", LOST_AFTER, process, SECONDS)
        machines.lose(machines.generators.pop())
        wait_for_lines(config.folder / "metrics.jsonl", LOST_AFTER + 1, process, SECONDS)
        actors_on(machines.learner, "LearnerRank")[0].kill()
        ended(process, config, output)
    assert {"generators", "run", "machines"} <= set(faults_of(config)), output.read_text()
    assert "no machine has had room for generator" in output.read_text()
