"""A renderer of kustomizations, as far as deploy/kuberay uses them.

No Python package carries kustomize, and not every machine has kubectl. What is not understood is
an error, and where kubectl is there, a test compares the two.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import jsonpatch
import yaml

Manifest = dict[str, Any]

FIELDS = {
    "apiVersion",
    "kind",
    "resources",
    "components",
    "namespace",
    "images",
    "patches",
    "replacements",
    "configMapGenerator",
    "generatorOptions",
}
CLUSTER_SCOPED = {"Namespace", "PriorityClass"}
"""Kinds that a kustomization's namespace is not written to."""
LOCAL = "config.kubernetes.io/local-config"


def render(folder: Path) -> list[Manifest]:
    """The manifests of a kustomization, sorted by API, kind and name."""
    found = _accumulate(folder, [])
    printed = [m for m in found if m["metadata"].get("annotations", {}).get(LOCAL) != "true"]
    return sorted(printed, key=_identity)


def _accumulate(folder: Path, found: list[Manifest]) -> list[Manifest]:
    """What the kustomization in ``folder`` makes of ``found``, a component's parent."""
    spec = yaml.safe_load((folder / "kustomization.yaml").read_text())
    unknown = spec.keys() - FIELDS
    assert not unknown, f"{folder}: {sorted(unknown)} is not understood here"
    for entry in spec.get("resources", []):
        found = found + _resource(folder / entry)
    for entry in spec.get("components", []):
        found = _accumulate(folder / entry, found)
    found = found + [_config_map(folder, g, spec) for g in spec.get("configMapGenerator", [])]
    assert len({_identity(m) for m in found}) == len(found), f"{folder}: two of the same name"
    for patch in spec.get("patches", []):
        found = _patched(folder, patch, found)
    if "namespace" in spec:
        for manifest in found:
            if manifest["kind"] not in CLUSTER_SCOPED:
                manifest["metadata"]["namespace"] = spec["namespace"]
    for image in spec.get("images", []):
        _set_images(found, image)
    for replacement in spec.get("replacements", []):
        _replace(found, replacement)
    return found


def _resource(path: Path) -> list[Manifest]:
    if path.is_dir():
        return _accumulate(path, [])
    # Documents are copied through text: YAML's anchors must not make one of two places.
    return [
        yaml.safe_load(yaml.dump(document, Dumper=_WithoutAnchors))
        for document in yaml.safe_load_all(path.read_text())
    ]


class _WithoutAnchors(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _config_map(folder: Path, generator: dict[str, Any], spec: dict[str, Any]) -> Manifest:
    options = dict(spec["generatorOptions"])
    assert options.pop("disableNameSuffixHash") is True
    assert options.keys() <= {"labels", "annotations"}, options
    assert generator.keys() == {"name", "files"}
    data = {name: (folder / name).read_text() for name in generator["files"]}
    metadata = {"name": generator["name"], **copy.deepcopy(options)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _patched(folder: Path, patch: dict[str, Any], found: list[Manifest]) -> list[Manifest]:
    """JSON Patch (RFC 6902) on what the target selects, which must be something."""
    assert patch.keys() == {"target", "patch"}, f"{folder}: {patch.keys()}"
    operations = jsonpatch.JsonPatch(yaml.safe_load(patch["patch"]))
    selected = [manifest for manifest in found if _selects(patch["target"], manifest)]
    assert selected, f"{folder}: nothing is {patch['target']}"
    return [operations.apply(m) if m in selected else m for m in found]


def _selects(target: dict[str, str], manifest: Manifest) -> bool:
    assert target.keys() <= {"kind", "name"}, target
    described = {"kind": manifest["kind"], "name": manifest["metadata"]["name"]}
    return target.items() <= described.items()


def _set_images(node: Any, image: dict[str, str]) -> None:
    """Give ``image`` its name and tag, in every container wherever it is."""
    if isinstance(node, list):
        for entry in node:
            _set_images(entry, image)
        return
    if not isinstance(node, dict):
        return
    for name in ("containers", "initContainers"):
        for container in node.get(name) or []:
            if re.fullmatch(re.escape(image["name"]) + r"(:[^/]*)?", container["image"]):
                container["image"] = f"{image['newName']}:{image['newTag']}"
    for value in node.values():
        _set_images(value, image)


def _replace(found: list[Manifest], replacement: dict[str, Any]) -> None:
    """Copy a field of one manifest to others; a top-level field of theirs, or one below it."""
    source = dict(replacement["source"])
    path = source.pop("fieldPath").split(".")
    (origin,) = [manifest for manifest in found if _selects(source, manifest)]
    value: Any = origin
    for key in path:
        value = value[key]
    for target in replacement["targets"]:
        assert target["options"] == {"create": True}
        for manifest in found:
            if _selects(target["select"], manifest):
                for field in target["fieldPaths"]:
                    *above, last = field.split(".")
                    place: Any = manifest
                    for key in above:
                        place = place[key]
                    place[last] = copy.deepcopy(value)


def _identity(manifest: Manifest) -> tuple[str, str, str]:
    return manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"]
