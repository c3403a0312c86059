"""What is in the overlays belongs together: names, images, ports, GPUs, time to save."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from overlays import (
    FOLDERS,
    JOBS,
    OVERLAYS,
    ROOT,
    groups,
    is_monitored,
    one,
    pods,
    ray_cluster,
    references,
    rendered,
    run_of,
)

from contracts.loading import load_config

PROVIDED = {
    ("Secret", "coevolve-ray-token"),
    ("Secret", "coevolve-redis"),
    ("Secret", "coevolve-hugging-face"),
}
"""What the user creates: docs/cluster.md says how. Secrets are in no repository."""


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_referred_to_is_there_or_documented_as_the_users(overlay):
    folders = ["cluster", "queues/kueue", "queues/volcano", f"overlays/{overlay}"]
    there = {(m["kind"], m["metadata"]["name"]) for f in folders for m in rendered(f)}
    wanted = set(references(rendered(f"overlays/{overlay}")))
    assert {("Secret", "coevolve-ray-token"), ("ServiceAccount", "coevolve")} <= wanted
    # The configuration of a run is there for a job; a cluster that takes any job has none.
    missing = wanted - there - PROVIDED
    assert missing == (set() if overlay in JOBS else {("ConfigMap", "coevolve-run")})


def test_what_the_user_creates_is_documented():
    text = (ROOT / "docs" / "cluster.md").read_text()
    for _, name in PROVIDED:
        assert f"create secret generic {name}" in text
    for overlay in OVERLAYS:
        assert f"`{overlay}`" in text


def test_no_secret_and_no_token_is_in_the_manifests():
    for folder in FOLDERS:
        kinds = {manifest["kind"] for manifest in rendered(folder)}
        assert "Secret" not in kinds
    for overlay in OVERLAYS:
        for pod in pods(rendered(f"overlays/{overlay}")):
            for container in pod["spec"]["containers"]:
                for variable in container.get("env", []):
                    secret = any(w in variable["name"] for w in ("TOKEN", "PASSWORD", "SECRET"))
                    assert not (secret and "value" in variable), variable["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_of_an_overlay_is_in_one_namespace(overlay):
    spaces = {m["metadata"].get("namespace") for m in rendered(f"overlays/{overlay}")}
    namespace = one(rendered("cluster"), "Namespace")["metadata"]["name"]
    assert spaces == {namespace}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_one_image_with_a_tag_of_this_version_and_this_ray(overlay):
    manifests = rendered(f"overlays/{overlay}")
    images = {c["image"] for pod in pods(manifests) for c in pod["spec"]["containers"]}
    (image,) = images
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    variant = "cpu" if overlay.startswith("cpu") else "cuda"
    assert image.endswith(f":{project['version']}-{variant}")
    assert f"ray[default]=={ray_cluster(manifests)['rayVersion']}" in project["dependencies"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_without_privileges(overlay):
    for pod in pods(rendered(f"overlays/{overlay}")):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["runAsGroup"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert all("hostPath" not in volume for volume in spec.get("volumes", []))
        for container in spec["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ray_is_behind_a_token(overlay):
    options = ray_cluster(rendered(f"overlays/{overlay}"))["authOptions"]
    assert options == {"mode": "token", "secretName": "coevolve-ray-token"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_there_is_time_to_save(overlay):
    cluster = ray_cluster(rendered(f"overlays/{overlay}"))
    for group in groups(cluster):
        spec = group["template"]["spec"]
        (container,) = spec["containers"]
        hook = container["lifecycle"]["preStop"]["exec"]["command"]
        assert hook[:2] == ["coevolve-stop-run", "--seconds"]
        # Kubernetes counts the hook in; Ray still has to end after it.
        assert int(hook[2]) + 20 <= spec["terminationGracePeriodSeconds"]
    head = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]
    waited = {v["name"]: v.get("value") for v in head["env"]}["RAY_JOB_STOP_WAIT_TIME_S"]
    assert waited == hook[2]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_ray_pod_has_the_volume_of_runs(overlay):
    for group in groups(ray_cluster(rendered(f"overlays/{overlay}"))):
        mounts = group["template"]["spec"]["containers"][0]["volumeMounts"]
        assert {"name": "runs", "mountPath": "/runs"} in mounts


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_open_but_what_is_named(overlay):
    policies = [m for m in rendered(f"overlays/{overlay}") if m["kind"] == "NetworkPolicy"]
    deny = next(p["spec"] for p in policies if p["metadata"]["name"] == "deny-all")
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ports = {}
    for policy in policies:
        for rule in policy["spec"].get("ingress", []):
            assert rule["from"], "an empty list lets in everyone"
            named = {port["port"] for port in rule.get("ports", [])}
            ports[policy["metadata"]["name"]] = named
            outside = any("namespaceSelector" in peer for peer in rule["from"])
            assert named or not outside, "other namespaces reach named ports only"
    expected = {"ray-nodes-among-themselves": set(), "submit": {8265}}
    if is_monitored(overlay):
        expected["scrape"] = {"metrics", "as-metrics", "dash-metrics", "coevolve"}
    assert ports == expected


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_policies_and_monitor_select_the_pods_they_are_for(overlay):
    manifests = rendered(f"overlays/{overlay}")
    cluster = ray_cluster(manifests)
    # KubeRay labels head and workers so.
    labels = [
        group["template"]["metadata"]["labels"] | {"ray.io/node-type": kind}
        for group, kind in zip(
            groups(cluster), ["head", *["worker"] * len(cluster["workerGroupSpecs"])], strict=True
        )
    ]
    submitters = [pod["metadata"]["labels"] for pod in pods(manifests)[len(labels) :]]

    def selected(name: str) -> list[dict[str, str]]:
        policy = next(
            m for m in manifests if m["kind"] == "NetworkPolicy" and m["metadata"]["name"] == name
        )
        wanted = policy["spec"]["podSelector"]["matchLabels"].items()
        return [each for each in labels + submitters if wanted <= each.items()]

    assert selected("ray-nodes-among-themselves") == labels
    assert selected("submit") == labels[:1]
    assert selected("submitter") == submitters
    assert selected("names") == labels + submitters
    if not is_monitored(overlay):
        return
    assert selected("scrape") == labels
    monitor = one(manifests, "PodMonitor")["spec"]
    assert all(monitor["selector"]["matchLabels"].items() <= each.items() for each in labels)
    head = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["ports"]
    assert {e["port"] for e in monitor["podMetricsEndpoints"]} <= {port["name"] for port in head}


@pytest.mark.parametrize("overlay", JOBS)
def test_a_job_runs_a_configuration_that_loads_and_resumes(overlay, tmp_path):
    manifests = rendered(f"overlays/{overlay}")
    job = one(manifests, "RayJob")["spec"]
    command, train, path, *flags = job["entrypoint"].split()
    assert (command, train, flags) == ("coevolve", "train", ["--resume"])
    head = ray_cluster(manifests)["headGroupSpec"]["template"]["spec"]
    (mount,) = [m for m in head["containers"][0]["volumeMounts"] if m["name"] == "config"]
    assert path == f"{mount['mountPath']}/run.yaml"
    config = tmp_path / "run.yaml"
    config.write_text(run_of(manifests))
    run = load_config(config)
    assert run.runs_dir == Path("/runs")
    assert run.cache_dir.is_relative_to("/runs"), "the model must be where all pods see it"
    ports = {p["name"]: p["containerPort"] for p in head["containers"][0]["ports"]}
    assert run.metrics.port == ports["coevolve"]
    assert run.metrics.host == "0.0.0.0"
    assert run.checkpoints.every > 0
    assert job["backoffLimit"] > 0
    assert job["shutdownAfterJobFinishes"] is True


@pytest.mark.parametrize("overlay", ["one-gpu-node-job", "many-nodes-job"])
def test_the_gpus_of_the_cluster_are_those_the_run_asks_for(overlay, tmp_path):
    manifests = rendered(f"overlays/{overlay}")
    config = tmp_path / "run.yaml"
    config.write_text(run_of(manifests))
    run = load_config(config)
    there = {
        group["groupName"]: group["replicas"]
        * int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])
        for group in ray_cluster(manifests)["workerGroupSpecs"]
    }
    sampling = run.generators.count * run.generators.tensor_parallel
    if len(there) == 1:
        assert there == {"worker": sampling + run.learner.ranks}
    else:
        groups_of_run = {
            run.learner.node_group: run.learner.ranks,
            run.generators.node_group: sampling,
        }
        assert there == groups_of_run


@pytest.mark.parametrize("overlay", ["cpu-smoke", "one-gpu-node"])
def test_on_one_machine_the_workers_go_where_the_volume_is(overlay):
    manifests = rendered(f"overlays/{overlay}")
    volume = one(manifests, "PersistentVolumeClaim")["spec"]
    assert volume["accessModes"] == ["ReadWriteOnce"]
    (worker,) = ray_cluster(manifests)["workerGroupSpecs"]
    rules = worker["template"]["spec"]["affinity"]["podAffinity"]
    (rule,) = rules["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rule["topologyKey"] == "kubernetes.io/hostname"
    assert rule["labelSelector"]["matchLabels"]["ray.io/node-type"] == "head"


def test_many_machines_have_a_volume_that_many_can_mount():
    volume = one(rendered("overlays/many-nodes"), "PersistentVolumeClaim")["spec"]
    assert volume["accessModes"] == ["ReadWriteMany"]


@pytest.mark.parametrize("overlay", ["kueue", "volcano"])
def test_a_queue_has_room_for_the_run(overlay):
    cluster = ray_cluster(rendered(f"overlays/{overlay}"))
    gpus = sum(
        group["replicas"]
        * int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])
        for group in cluster["workerGroupSpecs"]
    )
    queue = rendered(f"queues/{overlay}")
    if overlay == "volcano":
        quota = one(queue, "Queue")["spec"]["capability"]["nvidia.com/gpu"]
    else:
        (group,) = one(queue, "ClusterQueue")["spec"]["resourceGroups"]
        (flavor,) = group["flavors"]
        quota = {r["name"]: r["nominalQuota"] for r in flavor["resources"]}["nvidia.com/gpu"]
    assert int(quota) >= gpus


@pytest.mark.parametrize("overlay", [name for name in OVERLAYS if is_monitored(name)])
def test_dashboards_and_rules_come_with_the_monitoring(overlay):
    manifests = rendered(f"overlays/{overlay}")
    labelled = [
        m for m in manifests if m["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
    ]
    titles = {json.loads(text)["title"] for m in labelled for text in m["data"].values()}
    assert titles == {
        "Coevolve: co-evolution",
        "Coevolve: throughput and cost",
        "Coevolve: reliability",
    }
    for each in labelled:
        # What `kubectl apply` keeps in an annotation.
        assert len(json.dumps(each)) < 200_000
    monitor = one(manifests, "PodMonitor")["metadata"]["labels"]
    assert one(manifests, "PrometheusRule")["metadata"]["labels"] == monitor


def test_every_target_has_the_label_that_dashboards_choose_by():
    monitor = one(rendered("overlays/many-nodes"), "PodMonitor")["spec"]
    for endpoint in monitor["podMetricsEndpoints"]:
        (relabelling,) = endpoint["relabelings"]
        assert relabelling["targetLabel"] == "cluster"
