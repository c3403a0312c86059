"""Who goes where, and what is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray
from placements import placed

from actors.learner_group import mates
from actors.placement import Placement, bundles
from actors.waiting import NamedActor
from contracts.errors import UserError

ABSENT: Any = None


def test_bundles_are_whole_engines_and_ranks() -> None:
    separate = placed(generators={"tensor_parallel": 4})
    assert bundles(separate) == [{"GPU": 1, "CPU": 1}] * 2 + [{"GPU": 4, "CPU": 1}] * 2
    assert bundles(placed("shared")) == [{"GPU": 1, "CPU": 1}] * 2
    assert bundles(placed(generators={"device": "cpu"})) == [{"GPU": 1, "CPU": 1}] * 2
    assert bundles(placed(learner={"device": "cpu"})) == [{"GPU": 1, "CPU": 1}] * 2
    both = placed(learner={"device": "cpu"}, generators={"device": "cpu"})
    assert bundles(both) == []


def test_on_a_cpu_cores_are_asked_for_and_nothing_is_reserved() -> None:
    on_cpu = {"device": "cpu", "threads": 3}
    made = Placement(placed(learner=on_cpu, generators=on_cpu | {"node_group": "generators"}))
    assert made.of_learner(1) == {"num_cpus": 3, "num_gpus": 0}
    labels = {"ray.io/node-group": "generators"}
    assert made.of_generator(0) == {"num_cpus": 3, "num_gpus": 0, "label_selector": labels}


def test_without_gpus_there_is_nothing_to_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 64.0})
    auto = {"device": "auto"}
    with pytest.raises(UserError, match="the Ray session has none"):
        Placement.reserve(placed("shared", generators=auto, learner=auto))
    made = Placement.reserve(placed(generators=auto, learner=auto | {"threads": 5}))
    assert made.of_learner(0) == {"num_cpus": 5, "num_gpus": 0}


def test_a_rank_sends_to_the_generator_of_its_number() -> None:
    actors = [NamedActor(ABSENT, f"generator {number}", Path(), number) for number in (0, 2)]
    assert mates(actors, 4) == [[actors[0]], [], [actors[1]], []]
