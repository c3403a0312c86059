"""Every port of a real Ray node, knocked at without a token: docs/security.md says what it says."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
RAY = Path(sys.executable).parent / "ray"
START_SECONDS = 90.0
METHODS = (
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.ReporterService/GetTraceback",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
    "/ray.rpc.RayletDriver/ClusterInfo",
)
"""One method of each of Ray's gRPC services."""
DRIVER = """
import ray, sys
ray.init(log_to_driver=False, logging_level="ERROR")

@ray.remote(num_cpus=0)
class Actor:
    def ready(self):
        return True

actor = Actor.remote()
print(ray.get(actor.ready.remote()), flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.e2e


def free_ports(count: int) -> list[int]:
    """Free ports that nobody is given by chance: above Ray's own, below the system's."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            if port not in found and probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
    return found


class Node:
    """A Ray head as KubeRay starts it, and a driver with an actor; all ends with the test."""

    def __init__(self, folder: Path) -> None:
        names = ("gcs", "dashboard", "client", "agent", "metrics", "autoscaler", "dash-metrics")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("RAY_")
        } | {
            "HOME": str(folder),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_ADDRESS": f"127.0.0.1:{self.ports['gcs']}",
            "RAY_USAGE_STATS_ENABLED": "0",
            "AUTOSCALER_METRIC_PORT": str(self.ports["autoscaler"]),
            "DASHBOARD_METRIC_PORT": str(self.ports["dash-metrics"]),
        }
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        p = self.ports
        options = {
            "port": p["gcs"],
            "dashboard-port": p["dashboard"],
            "ray-client-server-port": p["client"],
            "dashboard-agent-listen-port": p["agent"],
            "metrics-export-port": p["metrics"],
            "dashboard-host": "0.0.0.0",
            "num-cpus": 1,
            "temp-dir": self.folder,
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        self.run([str(RAY), "start", "--head", "--block", *words])
        for name in ("dashboard", "client", "agent", "metrics", "autoscaler", "dash-metrics"):
            self.wait_for(p[name], name)
        driver = self.run([sys.executable, "-c", DRIVER])
        assert driver.stdout.readline() == "True\n", "the driver with the token did not get in"

    def run(self, command: list[str]) -> subprocess.Popen[str]:
        with (self.folder / "output.log").open("a") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if command[0] == sys.executable else log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def wait_for(self, port: int, name: str) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.processes[0].poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.2)
        log = (self.folder / "output.log").read_text()
        pytest.fail(f"nobody listens on the port of {name}; Ray said:\n{log}")

    def stop(self) -> None:
        for process in reversed(self.processes):
            ours = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _, left = psutil.wait_procs(ours, timeout=10)
            for each in left:
                each.kill()
            process.stdin.close()
            if process.stdout is not None:
                process.stdout.close()

    def listening(self) -> dict[int, str]:
        """Every port that the processes listen on, with the name of the process."""
        return {port: name for port, _, name in self.addresses()}

    def addresses(self) -> Iterator[tuple[int, str, str]]:
        """Every port that the processes listen on, a host to reach it by, and whose it is."""
        everywhere = ("::", "0.0.0.0")
        for process in self.processes:
            parent = psutil.Process(process.pid)
            for each in [parent, *parent.children(recursive=True)]:
                for connection in each.net_connections("tcp"):
                    if connection.status == psutil.CONN_LISTEN:
                        ip, port = connection.laddr
                        host = "127.0.0.1" if ip in everywhere else ip.removeprefix("::ffff:")
                        yield port, host, name_of(each)


def name_of(process: psutil.Process) -> str:
    command = process.cmdline()
    if command[0].startswith("ray::"):
        return command[0].split(".")[0]
    for word in command:
        if Path(word).name in ("gcs_server", "raylet", "monitor.py", "dashboard.py"):
            return Path(word).name
    return "client server" if "ray.util.client.server" in command else "driver"


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    # Not pytest's folder: Ray's sockets have names, which must be short.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    node = Node(folder)
    try:
        node.start()
        yield node
    finally:
        node.stop()
        shutil.rmtree(folder, ignore_errors=True)


def get(port: int, path: str, token: str = "", host: str = "127.0.0.1") -> int:
    """The status of an HTTP request."""
    request = urllib.request.Request(f"http://{host}:{port}{path}")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def calls(port: int, token: str = "", host: str = "127.0.0.1") -> set[str]:
    """What each of Ray's gRPC methods answers at a port."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    found = set()
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        for method in METHODS:
            try:
                channel.unary_unary(method)(b"", timeout=10, metadata=metadata)
                found.add("OK")
            except grpc.RpcError as error:
                found.add(error.code().name)
    return found


def test_the_ports_are_those_that_are_listed(node):
    listed = {
        "gcs_server",
        "raylet",
        "monitor.py",
        "dashboard.py",
        "client server",
        "driver",
        "ray::DashboardAgent",
        "ray::RuntimeEnvAgent",
        "ray::IDLE",
        "ray::Actor",
    }
    found = set(node.listening().values())
    assert found <= listed
    # Idle workers come and go.
    assert found | {"ray::IDLE"} == listed


@pytest.mark.parametrize("token", ["", "wrong"])
def test_calls_without_the_token_are_refused_everywhere(node, token):
    names = {"gcs_server", "raylet", "client server", "driver", "ray::Actor"}
    ports = {port: name for port, name in node.listening().items() if name in names}
    assert set(ports.values()) == names
    for port, name in ports.items():
        answers = calls(port, token)
        assert "UNAUTHENTICATED" in answers, name
        assert answers <= {"UNAUTHENTICATED", "UNIMPLEMENTED"}, name


def test_the_agent_s_calls_are_refused_too(node):
    ports = node.listening()
    known = set(node.ports.values())
    (port,) = [p for p, name in ports.items() if name == "ray::DashboardAgent" and p not in known]
    answers = calls(port)
    assert "UNAUTHENTICATED" in answers
    assert answers <= {"UNAUTHENTICATED", "UNIMPLEMENTED"}


def refuses(host: str, port: int, token: str) -> bool:
    """Whether a port answers neither calls nor requests that come with ``token``."""
    answers = calls(port, token, host)
    if "UNAUTHENTICATED" in answers:
        return answers <= {"UNAUTHENTICATED", "UNIMPLEMENTED"}
    return get(port, "/api/v0/actors", token, host) in (401, 403)


@pytest.mark.parametrize("token", ["", "wrong"])
def test_no_port_is_forgotten_each_refuses_but_those_that_give_figures(node, token):
    figures = {node.ports[name] for name in ("metrics", "autoscaler", "dash-metrics")}
    # Idle workers come and go.
    found = [each for each in node.addresses() if each[0] not in figures and each[2] != "ray::IDLE"]
    names = {name for _, _, name in found}
    assert {"ray::RuntimeEnvAgent", "dashboard.py", "raylet", "gcs_server"} <= names
    assert [name for port, host, name in found if not refuses(host, port, token)] == []


@pytest.mark.parametrize("token", ["", "wrong"])
@pytest.mark.parametrize(
    ("port", "path"),
    [
        ("dashboard", "/api/version"),
        ("dashboard", "/api/jobs/"),
        ("dashboard", "/api/v0/actors"),
        ("dashboard", "/nodes?view=summary"),
        ("agent", "/api/job_agent/jobs/x/logs"),
    ],
)
def test_pages_without_the_token_are_refused(node, port, path, token):
    assert get(node.ports[port], path, token) in (401, 403)


def test_pages_with_the_token_are_served(node):
    token = node.environment["RAY_AUTH_TOKEN"]
    assert get(node.ports["dashboard"], "/api/jobs/", token) == 200


@pytest.mark.parametrize(
    ("port", "path"),
    [
        ("dashboard", "/"),
        ("dashboard", "/api/gcs_healthz"),
        ("agent", "/api/healthz"),
        ("metrics", "/metrics"),
        ("autoscaler", "/metrics"),
        ("dash-metrics", "/metrics"),
    ],
)
def test_what_is_readable_without_a_token_is_what_the_page_on_security_says(node, port, path):
    assert get(node.ports[port], path) == 200
    text = (ROOT / "docs" / "security.md").read_text()
    assert f"`{path}`" in text
