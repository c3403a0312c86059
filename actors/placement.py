"""Where the actors of a run go: GPUs of their own, or shared in turns; kinds of machines.

GPUs are reserved together, as one placement group, before any actor starts: a run that gets half of
them would wait with the other half in its hands. On a CPU nothing is reserved.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.engine import with_devices
from contracts.config import RunConfig
from contracts.errors import DeadlineError, UserError

NODE_GROUP = "ray.io/node-group"
"""Label of a Ray node. KubeRay gives it: the name of the worker group."""
POLL_SECONDS = 1
HALF = 0.5
"""Of a GPU: what Ray is told that each of two takes which take turns on it."""

Bundle = dict[str, float]
"""Resources on one node, by Ray's names for them."""


class Placement:
    """Resources of a run's generators and learner ranks, as Ray's options of their actors.

    Args:
        config: the run, with devices settled.
        group: reserved bundles; None: actors go wherever there is room.
    """

    def __init__(self, config: RunConfig, group: PlacementGroup | None = None) -> None:
        self._config = config
        self._group = group

    @classmethod
    def reserve(cls, config: RunConfig) -> Placement:
        """Reserve all GPUs of a run at once, and wait until they are there.

        Args:
            config: the run; ``auto`` devices are settled here.

        Raises:
            UserError: GPUs are to be shared, and there are none.
            DeadlineError: they were not there within ``deadlines.start``; says what was asked
                for, and what there is.
        """
        config = with_devices(config)
        if config.placement == "shared" and not _on_gpus(config) == (True, True):
            raise UserError(
                "GPUs are to be shared, and the Ray session has none",
                where="placement",
                remedy="set it to separate, or join a cluster with GPUs",
            )
        asked = bundles(config)
        if not asked:
            return cls(config)
        labels = [_labels(_node_group(config, index)) for index in range(len(asked))]
        selectors = {"bundle_label_selector": labels} if any(labels) else {}
        group = placement_group(asked, strategy="PACK", **selectors)
        made = cls(config, group)
        try:
            _wait(group, asked, labels, config.deadlines.start)
        except BaseException:
            made.release()
            raise
        return made

    def of_learner(self, rank: int) -> dict[str, Any]:
        """Ray's options of a learner rank."""
        learner = self._config.learner
        if learner.device != "cuda":
            return {"num_cpus": learner.threads, "num_gpus": 0} | _selector(learner.node_group)
        share = HALF if self._config.placement == "shared" else 1
        return {"num_cpus": share, "num_gpus": share} | self._within(rank, learner.node_group)

    def of_generator(self, index: int) -> dict[str, Any]:
        """Ray's options of a generator, the same each time it is started anew."""
        generators = self._config.generators
        if generators.device != "cuda":
            return {"num_cpus": generators.threads, "num_gpus": 0} | _selector(
                generators.node_group
            )
        if self._config.placement == "shared":
            return {"num_cpus": HALF, "num_gpus": HALF} | self._within(index, generators.node_group)
        place = index + _learner_bundles(self._config)
        resources = {"num_cpus": 1, "num_gpus": generators.tensor_parallel}
        return resources | self._within(place, generators.node_group)

    def _within(self, bundle: int, node_group: str) -> dict[str, Any]:
        if self._group is None:
            return _selector(node_group)
        strategy = PlacementGroupSchedulingStrategy(
            self._group,
            placement_group_bundle_index=bundle,
            placement_group_capture_child_tasks=False,
        )
        return {"scheduling_strategy": strategy}

    def release(self) -> None:
        """Give back what was reserved. Actors that are still there end."""
        group, self._group = self._group, None
        if group is not None and ray.is_initialized():
            with contextlib.suppress(RayError):
                remove_placement_group(group)


def bundles(config: RunConfig) -> list[Bundle]:
    """What is reserved: a bundle per learner rank on a GPU, then one per generator on GPUs.

    Shared, rank i and generator i go into bundle i. ``config`` has its devices settled.
    """
    reserved: list[Bundle] = [{"GPU": 1, "CPU": 1}] * _learner_bundles(config)
    if config.generators.device == "cuda" and config.placement == "separate":
        engine: Bundle = {"GPU": config.generators.tensor_parallel, "CPU": 1}
        reserved += [engine] * config.generators.count
    return reserved


def _learner_bundles(config: RunConfig) -> int:
    return config.learner.ranks if config.learner.device == "cuda" else 0


def _on_gpus(config: RunConfig) -> tuple[bool, bool]:
    return config.generators.device == "cuda", config.learner.device == "cuda"


def _node_group(config: RunConfig, bundle: int) -> str:
    """Which kind of machine a bundle is to be on."""
    of_learner = bundle < _learner_bundles(config)
    return config.learner.node_group if of_learner else config.generators.node_group


def _labels(node_group: str) -> dict[str, str]:
    return {NODE_GROUP: node_group} if node_group else {}


def _selector(node_group: str) -> dict[str, Any]:
    """Ray's option of an actor that no bundle is reserved for."""
    return {"label_selector": _labels(node_group)} if node_group else {}


def _wait(
    group: PlacementGroup, asked: list[Bundle], labels: list[dict[str, str]], seconds: float
) -> None:
    end = time.monotonic() + seconds
    while not group.wait(POLL_SECONDS):
        if time.monotonic() > end:
            raise DeadlineError(_lack(asked, labels), seconds)


def _lack(asked: list[Bundle], labels: list[dict[str, str]]) -> str:
    """What was asked for and what there is, as the end of a message."""
    kinds = Counter(
        f"[{_said(bundle)}]" + (f" on nodes of the group {label[NODE_GROUP]}" if label else "")
        for bundle, label in zip(asked, labels, strict=True)
    )
    wanted = ", ".join(f"{count} x {kind}" for kind, count in kinds.items())
    there, free = ray.cluster_resources(), ray.available_resources()
    groups = sorted({str(n["Labels"][NODE_GROUP]) for n in ray.nodes() if _is_labelled(n)})
    named = f"; its node groups are {', '.join(groups)}" if any(labels) and groups else ""
    return (
        f"resources: {wanted}; the cluster has {_said(there)}, "
        f"of which {_said(free)} are free{named}"
    )


def _is_labelled(node: dict[str, Any]) -> bool:
    return bool(node["Alive"]) and NODE_GROUP in node.get("Labels", {})


def _said(resources: dict[str, float]) -> str:
    return ", ".join(f"{resources.get(name, 0):g} {name}" for name in ("GPU", "CPU"))
