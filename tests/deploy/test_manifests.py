"""Every overlay renders, and fits the schemas of Kubernetes and KubeRay to the last field."""

from __future__ import annotations

import copy
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from kustomization import Manifest, render
from manifest_schemas import validate, validator_of
from overlays import FOLDERS, KUBERAY, references, rendered


def kustomize() -> list[str] | None:
    """A kustomize of version 5 or later, if this machine has one."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    if shutil.which("kubectl"):
        asked = subprocess.run(
            ["kubectl", "version", "--client", "--output=yaml"],
            capture_output=True,
            text=True,
            check=False,
        )
        version = (yaml.safe_load(asked.stdout) or {}).get("kustomizeVersion", "v0")
        if int(version.lstrip("v").partition(".")[0]) >= 5:
            return ["kubectl", "kustomize"]
    return None


@pytest.mark.parametrize("folder", FOLDERS)
def test_our_renderer_makes_what_kustomize_makes(folder):
    command = kustomize()
    if command is None:
        pytest.skip("neither kustomize nor a recent kubectl is on this machine")
    done = subprocess.run(
        [*command, str(KUBERAY / folder)], capture_output=True, text=True, check=True, timeout=60
    )
    theirs = list(yaml.safe_load_all(done.stdout))
    key = lambda m: (m["apiVersion"], m["kind"], m["metadata"]["name"])  # noqa: E731
    assert rendered(folder) == sorted(theirs, key=key)


def test_every_kustomization_is_used():
    used = {KUBERAY / folder for folder in FOLDERS}
    for _ in range(4):
        for folder in list(used):
            spec = yaml.safe_load((folder / "kustomization.yaml").read_text())
            below = [*spec.get("resources", []), *spec.get("components", [])]
            used |= {p for e in below if (p := (folder / e).resolve()).is_dir()}
    there = {path.parent for path in KUBERAY.rglob("kustomization.yaml")}
    # hub-access is for the user to add, where pods shall reach outside.
    assert there - used == {KUBERAY / "components" / "hub-access"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_object_fits_its_schema(folder):
    manifests = rendered(folder)
    assert manifests
    # KubeRay's last: without its CRDs the rest of the test is skipped.
    for manifest in sorted(manifests, key=lambda m: m["apiVersion"].startswith("ray.io")):
        validate(manifest)


def objects() -> list[tuple[str, Manifest]]:
    """One object of each kind, of the overlays that have most of it."""
    found: dict[str, Manifest] = {}
    richest = ["overlays/many-nodes-fault-tolerant", "overlays/kueue", *FOLDERS]
    for folder in richest:
        for manifest in rendered(folder):
            found.setdefault(manifest["kind"], manifest)
    return sorted(found.items())


KINDS = [kind for kind, _ in objects()]
FREE = {
    "labels",
    "matchLabels",
    "annotations",
    "rayStartParams",
    "requests",
    "limits",
    "data",
    "capability",
}
"""Mappings with keys of anyone's choice: a wrong key there cannot be known to be wrong."""


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of everything in a manifest."""
    below = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in below:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def test_the_kinds_are_those_we_know_of():
    assert KINDS == [
        "ClusterQueue",
        "ConfigMap",
        "LocalQueue",
        "Namespace",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "PodMonitor",
        "PriorityClass",
        "PrometheusRule",
        "Queue",
        "RayCluster",
        "RayJob",
        "ResourceFlavor",
        "ServiceAccount",
        "WorkloadPriorityClass",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_misspelt_field_anywhere_is_found(kind):
    manifest = dict(objects())[kind]
    validator = validator_of(manifest["apiVersion"], kind)
    tried = 0
    for *above, key in places(manifest):
        if not isinstance(key, str) or (above and above[-1] in FREE):
            continue
        broken = copy.deepcopy(manifest)
        parent = functools.reduce(lambda node, step: node[step], above, broken)
        parent[f"{key}x"] = parent.pop(key)
        assert not validator.is_valid(broken), f"{'.'.join(map(str, above))}.{key}x was taken"
        tried += 1
    assert tried >= 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_of_a_wrong_type_anywhere_is_found(kind):
    manifest = dict(objects())[kind]
    validator = validator_of(manifest["apiVersion"], kind)
    tried = 0
    for *above, key in places(manifest):
        broken = copy.deepcopy(manifest)
        parent = functools.reduce(lambda node, step: node[step], above, broken)
        parent[key] = [[1.5]]
        assert not validator.is_valid(broken), f"[[1.5]] at {'.'.join(map(str, above))}.{key}"
        tried += 1
    assert tried >= 4


def test_access_to_a_model_hub_is_a_component_that_fits_every_overlay(tmp_path):
    for overlay in ("cpu-smoke", "one-gpu-node", "many-nodes"):
        (tmp_path / "kustomization.yaml").write_text(
            yaml.safe_dump(
                {
                    "resources": [os.path.relpath(KUBERAY / "overlays" / overlay, tmp_path)],
                    "components": [os.path.relpath(KUBERAY / "components/hub-access", tmp_path)],
                }
            )
        )
        manifests = render(tmp_path)
        for manifest in manifests:
            validate(manifest)
        assert ("Secret", "coevolve-hugging-face") in set(references(manifests))
        before = {m["metadata"]["name"] for m in rendered(f"overlays/{overlay}")}
        assert {m["metadata"]["name"] for m in manifests} - before == {"hub"}
