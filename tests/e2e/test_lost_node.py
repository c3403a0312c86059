"""A node dies in the middle of a batch: what lay on it is asked for again, and counts once."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import ray
from far_away import FarGenerator
from ray.cluster_utils import Cluster
from small_runs import prompt

from actors.faults import Fault, RestartBudget
from actors.generator import Sampling
from actors.generator_member import Member
from actors.generator_pool import GeneratorPool
from actors.nodes import living_nodes
from actors.place import HEALTH, Place, wait_until_alive
from actors.recycler_actor import Recycler
from actors.runtime import ray_session
from actors.verifier import Verifier
from actors.verifier_pool import VerifierPool
from actors.waiting import LostError, NamedActor, wait_for
from contracts.config import RunConfig
from contracts.types import Group
from services.rollouts import Rollouts

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
HERE, FAR = {"resources": {"here": 1}}, {"resources": {"far": 1}}
PROMPTS = [prompt(f"{i} + {i}", i) for i in range(12)]


@pytest.fixture
def cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A head and a second node, each of one CPU; joined as a run joins a cluster."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(request.path.parent))
    # A dead node is noticed in two seconds instead of ten.
    settings = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
    head = {"resources": {"here": 100}, "include_dashboard": False, "_system_config": settings}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        made.add_node(resources={"far": 100})
        with ray_session(tmp_path, address=made.address):
            yield made
    finally:
        made.shutdown()


def generators(config: RunConfig, logs: Path, far_answers: int | None) -> GeneratorPool:
    """The first generator here, the second on the far node, or here once that one is gone."""
    kind = ray.remote(num_cpus=0)(FarGenerator)
    launches = itertools.count()

    def launch(index: int) -> NamedActor:
        far = index == 1 and next(launches) == 0
        log = logs / f"generator-{index}.log"
        handle = kind.options(**(FAR if far else HERE)).remote(log, far_answers if far else None)
        return NamedActor(handle, f"generator {index}", log)

    members = [Member(index, launch) for index in range(config.generators.count)]
    budget = RestartBudget("generators", config.faults, lambda _: None)
    pool = GeneratorPool(config, members, budget)
    pool.wait_until_started()
    pool.serve(pool.actors)
    return pool


def verifier(config: RunConfig, logs: Path, where: dict, told: list[Fault]) -> VerifierPool:
    """One actor in the place given; started anew it may be anywhere."""
    kind = ray.remote(num_cpus=0, concurrency_groups={HEALTH: 1}, max_concurrency=2)(Verifier)
    places = iter([where])
    log = logs / "verifier-0.log"

    def launch() -> NamedActor:
        handle = kind.options(**next(places, {})).remote(1, 5.0, log)
        return NamedActor(handle, "verifier 0", log)

    place = Place(launch, RestartBudget("verifiers", config.faults, told.append))
    wait_until_alive([place.actor], seconds=300, what="the verifier")
    return VerifierPool([place], config.deadlines)


def config_of(count: int) -> RunConfig:
    return RunConfig.model_validate(
        {
            "generators": {"count": count, "device": "cpu"},
            "deadlines": {"grade": 200.0, "health": 5.0, "stop": 5.0},
        }
    )


def take_away(cluster: Cluster) -> None:
    """End the far node at once, as a machine ends whose power goes, and wait until Ray knows."""
    node = next(iter(cluster.worker_nodes))
    cluster.remove_node(node, allow_graceful=False)
    end = time.monotonic() + 60
    while any(one["Alive"] and one["NodeID"] == node.node_id for one in ray.nodes()):
        assert time.monotonic() < end, "Ray has not noticed within 60 s that a node is gone"
        time.sleep(0.1)


def whole(found: Sequence) -> list[Group]:
    return wait_for([group.ref for group in found], seconds=100, what="groups")


def sampled(rollouts: Rollouts) -> list:
    return rollouts.sample(PROMPTS, completions=2, temperature=1.0, seed=3)


def check(found: Sequence) -> None:
    """Every prompt has one group, and it can be fetched."""
    assert [group.summary.prompt_id for group in found] == [one.id for one in PROMPTS]
    assert [group.prompt for group in whole(found)] == PROMPTS


class LosesNode(GeneratorPool):
    """Takes the far node away when ``after`` references have come through."""

    cluster: Cluster
    after: int

    def generate(self, *args, **kwargs) -> Iterator:
        for number, reference in enumerate(super().generate(*args, **kwargs), 1):
            yield reference
            if number == self.after and self.cluster.worker_nodes:
                take_away(self.cluster)


def losing(pool: GeneratorPool, cluster: Cluster, after: int) -> LosesNode:
    made = LosesNode(pool._config, pool._members, pool._budget)
    made.cluster, made.after = cluster, after
    return made


@pytest.mark.parametrize("far_answers", [3, None])
def test_answers_of_a_node_that_dies_in_mid_batch(
    cluster: Cluster, tmp_path: Path, far_answers: int | None
) -> None:
    """While its generator still answers, and when that one has nothing left to do."""
    config = config_of(2)
    told: list[Fault] = []
    pool = generators(config, tmp_path, far_answers)
    graders = verifier(config, tmp_path, HERE, told)
    rollouts = Rollouts(losing(pool, cluster, after=5), graders, config, tell=told.append)
    try:
        check(sampled(rollouts))
        assert not cluster.worker_nodes
        # The verifier is not blamed for what it was given.
        assert {fault.kind for fault in told} <= {"answers"}
    finally:
        pool.stop()
        graders.stop()


def test_groups_of_a_verifier_whose_node_dies(cluster: Cluster, tmp_path: Path) -> None:
    """The summaries have come; the groups are gone: only the nodes tell."""
    config = config_of(1)
    pool = generators(config, tmp_path, far_answers=None)
    told: list[Fault] = []
    graders = verifier(config, tmp_path, FAR, told)
    recycler = Recycler.start(config, tmp_path)
    rollouts = Rollouts(
        losing(pool, cluster, after=len(PROMPTS)), graders, config, tell=told.append
    )
    try:
        before = sampled(Rollouts(pool, graders, config))
        found = sampled(rollouts)
        check(found)
        assert "answers" in {fault.kind for fault in told}
        # What was graded earlier is lost too: whoever fetches it is told so, and by name.
        with pytest.raises(LostError, match="data was lost"):
            whole(before)
        with pytest.raises(LostError, match="groups to recycle"):
            recycler.recycle([group.ref for group in before], seed=0)
        assert recycler.recycle([group.ref for group in found], seed=0)
    finally:
        recycler.stop()
        pool.stop()
        graders.stop()


def test_a_lost_answer_without_anyone_to_ask_is_an_error(cluster: Cluster, tmp_path: Path) -> None:
    config = config_of(2)
    pool = generators(config, tmp_path, far_answers=None)
    told: list[Fault] = []
    graders = verifier(config, tmp_path, HERE, told)
    call = pool.actors[1].handle.generate.options(num_returns="streaming")
    references = list(call.remote(PROMPTS, Sampling(2, 8, 1.0, 0)))
    try:
        take_away(cluster)
        end = time.monotonic() + 60
        while len(living_nodes()) > 1:
            assert time.monotonic() < end
            time.sleep(0.2)
        losses: list[LostError] = []
        assert list(graders.grade(references, lost=losses.append)) == []
        assert len(losses) == len(PROMPTS)
        with pytest.raises(LostError):
            list(graders.grade(references))
        assert told == []
    finally:
        pool.stop()
        graders.stop()
