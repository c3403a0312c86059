"""Who goes where: on a real Ray session that claims to have GPUs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from placements import placed

from actors.placement import NODE_GROUP, Placement
from actors.waiting import wait_for
from contracts.errors import DeadlineError

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
SECONDS = 120.0


@pytest.fixture(scope="module")
def gpus() -> Iterator[None]:
    """A session with four GPUs that are not there, on a node with a label."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            address="local",
            num_cpus=8,
            num_gpus=4,
            labels={NODE_GROUP: "mixed"},
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}},
        )
        try:
            yield
        finally:
            ray.shutdown()


class Standing:
    """Tells the GPUs that Ray has given it."""

    def gpus(self) -> list[int]:
        return [int(number) for number in ray.get_gpu_ids()]


def standing(options: dict[str, Any]) -> tuple[Any, list[int]]:
    handle = ray.remote(Standing).options(**options).remote()
    return handle, wait_for(handle.gpus.remote(), seconds=SECONDS, what="its GPUs")


def test_each_has_a_gpu_of_its_own(gpus: None) -> None:
    placement = Placement.reserve(placed())
    try:
        options = [placement.of_learner(0), placement.of_learner(1)]
        options += [placement.of_generator(0), placement.of_generator(1)]
        made = [standing(one) for one in options]
        assert sorted(number for _, numbers in made for number in numbers) == [0, 1, 2, 3]
        # Who is started anew comes back to the same GPU.
        ray.kill(made[3][0])
        assert standing(placement.of_generator(1))[1] == made[3][1]
    finally:
        placement.release()


def test_mates_share_a_gpu(gpus: None) -> None:
    placement = Placement.reserve(placed("shared", group="mixed"))
    try:
        learners = [standing(placement.of_learner(rank)) for rank in range(2)]
        generators = [standing(placement.of_generator(index)) for index in range(2)]
        assert [found for _, found in learners] == [found for _, found in generators]
        assert learners[0][1] != learners[1][1]
        ray.kill(generators[0][0])
        assert standing(placement.of_generator(0))[1] == learners[0][1]
    finally:
        placement.release()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tensor_parallel": 3}, "2 x [1 GPU, 1 CPU], 2 x [3 GPU, 1 CPU]; the cluster has"),
        (
            {"node_group": "elsewhere"},
            "2 x [1 GPU, 1 CPU], 2 x [1 GPU, 1 CPU] on nodes of the group elsewhere; the cluster",
        ),
    ],
)
def test_what_is_not_there_is_named(gpus: None, change: dict[str, Any], said: str) -> None:
    with pytest.raises(DeadlineError) as caught:
        Placement.reserve(placed(generators=change))
    message = str(caught.value)
    assert f"gave up after 3 s waiting for resources: {said}" in message
    assert "has 4 GPU, 8 CPU, of which 4 GPU, 8 CPU are free" in message
    assert ("its node groups are mixed" in message) == ("node_group" in change)
    # What was reserved in vain is given back.
    Placement.reserve(placed()).release()
