"""Schemas of every kind of manifest in deploy/kuberay, made strict: an unknown field is an error.

An API server drops fields it does not know from custom objects without a word, so a typing error
in a manifest would go unnoticed.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing
import yaml
from kubernetes_validate import utils as kubernetes_schemas

Schema = dict[str, Any]

KUBERNETES = "1.37.0"
CRDS = Path(__file__).resolve().parents[3] / "shared" / "data" / "kuberay-crds"
RAY = {"RayCluster": "ray.io_rayclusters.yaml", "RayJob": "ray.io_rayjobs.yaml"}

TEXT: Schema = {"type": "string", "minLength": 1}
QUANTITY: Schema = {"type": "string", "pattern": r"^[0-9]+(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"}
LABELS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}


def closed(**properties: Schema) -> Schema:
    """An object with these fields, all of them, and no others."""
    required = sorted(properties)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def listed(of: Schema) -> Schema:
    """A list with something in it."""
    return {"type": "array", "items": of, "minItems": 1}


# No Python package carries the schemas of Kueue and Volcano. These are written by hand, after
# their API reference (kueue.x-k8s.io/v1beta2, scheduling.volcano.sh/v1beta1), and hold just the
# fields that are used here.
BY_HAND: dict[tuple[str, str], Schema] = {
    ("kueue.x-k8s.io/v1beta2", "LocalQueue"): closed(spec=closed(clusterQueue=TEXT)),
    ("kueue.x-k8s.io/v1beta2", "ResourceFlavor"): closed(),
    ("kueue.x-k8s.io/v1beta2", "WorkloadPriorityClass"): closed(
        value={"type": "integer"}, description=TEXT
    ),
    ("kueue.x-k8s.io/v1beta2", "ClusterQueue"): closed(
        spec=closed(
            namespaceSelector=closed(matchLabels=LABELS),
            preemption=closed(withinClusterQueue={"enum": ["Never", "LowerPriority"]}),
            resourceGroups=listed(
                closed(
                    coveredResources=listed(TEXT),
                    flavors=listed(
                        closed(
                            name=TEXT, resources=listed(closed(name=TEXT, nominalQuota=QUANTITY))
                        )
                    ),
                )
            ),
        )
    ),
    ("scheduling.volcano.sh/v1beta1", "Queue"): closed(
        spec=closed(
            weight={"type": "integer"},
            reclaimable={"type": "boolean"},
            capability={"type": "object", "additionalProperties": QUANTITY},
        )
    ),
}


def validate(manifest: dict[str, Any]) -> None:
    """Validate a manifest with the schema of its kind, and its metadata with Kubernetes' own.

    Raises:
        jsonschema.ValidationError: a field is unknown, missing, or of the wrong type.
        pytest.skip.Exception: it is one of KubeRay's, whose CRDs are not on this machine.
    """
    validator_of(manifest["apiVersion"], manifest["kind"]).validate(manifest)


@functools.cache
def validator_of(version: str, kind: str) -> Any:
    """The strict validator of a kind."""
    group = version.partition("/")[0]
    if (version, kind) in BY_HAND:
        schema = _with_metadata(BY_HAND[version, kind], version, kind)
    elif group == "ray.io":
        schema = _with_metadata(strict(_ray(kind)), version, kind)
    elif group == "monitoring.coreos.com":
        schema = _with_metadata(strict(_prometheus_operator(kind)), version, kind)
    else:
        schema = _kubernetes(f"{kind}-{_short(version)}".lower())
    return jsonschema.Draft202012Validator(schema, registry=_definitions())


def _ray(kind: str) -> Schema:
    """From the CRD, as KubeRay publishes it."""
    path = CRDS / RAY[kind]
    if not path.is_file():
        pytest.skip(f"KubeRay's CRDs are not here: {path}")
    crd = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    (version,) = [v for v in crd["spec"]["versions"] if v["name"] == "v1"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def _prometheus_operator(kind: str) -> Schema:
    """From the models that cloudcoil made of the CRDs of Prometheus' operator."""
    from cloudcoil.models.prometheus_operator import v1

    schema: Schema = getattr(v1, kind).model_json_schema(by_alias=True)
    return schema


def _kubernetes(name: str) -> Schema:
    """From the schemas in kubernetes-validate, which are strict already."""
    path = f"kubernetes-json-schema/v{KUBERNETES}-local-strict/{name}.json"
    schema: Schema = kubernetes_schemas.schema_contents(path, KUBERNETES)
    return schema


@functools.cache
def _definitions() -> Any:
    return referencing.Resource.from_contents(_kubernetes("_definitions")) @ referencing.Registry()


def _short(version: str) -> str:
    """`networking.k8s.io/v1` as it is in file names: `networking-v1`."""
    group, slash, number = version.partition("/")
    return f"{group.partition('.')[0]}-{number}" if slash else version


def _with_metadata(schema: Schema, version: str, kind: str) -> Schema:
    """``schema`` of a custom object, whose metadata are those of any object."""
    properties = schema["properties"] | {
        "apiVersion": {"const": version},
        "kind": {"const": kind},
        "metadata": {"$ref": _object_meta()},
    }
    required = {"apiVersion", "kind", "metadata", *schema.get("required", [])}
    return schema | {"properties": properties, "required": sorted(required)}


@functools.cache
def _object_meta() -> str:
    definitions = _kubernetes("_definitions")
    (name,) = [name for name in definitions["$defs"] if name.endswith(".meta.v1.ObjectMeta")]
    return f"{definitions['$id']}#/$defs/{name}"


def strict(schema: Any) -> Any:
    """An OpenAPI or JSON schema that forbids fields it does not know.

    Kubernetes' own extension for what may be a number or text becomes one of JSON schema.
    """
    if isinstance(schema, list):
        return [strict(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    result = {
        key: {name: strict(below) for name, below in value.items()}
        if key in ("properties", "$defs")
        else strict(value)
        for key, value in schema.items()
        if key not in ("default", "description")
    }
    if "properties" in result and not result.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    if result.get("x-kubernetes-int-or-string"):
        result["type"] = ["integer", "string"]
    return result
