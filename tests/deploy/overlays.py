"""The overlays of deploy/kuberay, rendered, and ways to what is in them."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kustomization import Manifest, render

ROOT = Path(__file__).resolve().parents[2]
KUBERAY = ROOT / "deploy" / "kuberay"
OVERLAYS = sorted(path.parent.name for path in KUBERAY.glob("overlays/*/kustomization.yaml"))
JOBS = ["cpu-smoke-job", "one-gpu-node-job", "many-nodes-job", "kueue", "volcano"]
FOLDERS = [
    "cluster",
    "queues/kueue",
    "queues/volcano",
    *(f"overlays/{name}" for name in OVERLAYS),
]


@functools.cache
def _rendered(folder: str) -> list[Manifest]:
    return render(KUBERAY / folder)


def rendered(folder: str) -> list[Manifest]:
    return copy.deepcopy(_rendered(folder))


def one(manifests: list[Manifest], kind: str) -> Manifest:
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def run_of(manifests: list[Manifest]) -> str:
    """The configuration of the run of a job."""
    (found,) = [m for m in manifests if m["metadata"]["name"] == "coevolve-run"]
    return found["data"]["run.yaml"]


def ray_cluster(manifests: list[Manifest]) -> dict[str, Any]:
    """The spec of the Ray cluster, in a RayJob or alone."""
    for manifest in manifests:
        if manifest["kind"] == "RayCluster":
            return manifest["spec"]
    return one(manifests, "RayJob")["spec"]["rayClusterSpec"]


def groups(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def pods(manifests: list[Manifest]) -> list[dict[str, Any]]:
    """All pod templates: head, workers, and the submitter of a job."""
    found = [group["template"] for group in groups(ray_cluster(manifests))]
    jobs = [m["spec"] for m in manifests if m["kind"] == "RayJob"]
    return found + [job["submitterPodTemplate"] for job in jobs]


def is_monitored(overlay: str) -> bool:
    """Whether Prometheus' operator is expected: the smallest cluster goes without."""
    return not overlay.startswith("cpu-smoke")


def references(node: Any) -> Iterator[tuple[str, str]]:
    """Kind and name of what an object refers to."""
    kinds = {
        "secretKeyRef": ("Secret", "name"),
        "configMap": ("ConfigMap", "name"),
        "persistentVolumeClaim": ("PersistentVolumeClaim", "claimName"),
        "authOptions": ("Secret", "secretName"),
    }
    names = {
        "serviceAccountName": "ServiceAccount",
        "priorityClassName": "PriorityClass",
        "clusterQueue": "ClusterQueue",
        "kueue.x-k8s.io/queue-name": "LocalQueue",
        "kueue.x-k8s.io/priority-class": "WorkloadPriorityClass",
        "volcano.sh/queue-name": "Queue",
        "ray.io/priority-class-name": "PriorityClass",
    }
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key in kinds:
            kind, field = kinds[key]
            yield kind, value[field]
        elif key in names:
            yield names[key], value
        elif isinstance(value, dict | list):
            yield from references(value)
