"""The Ray session of a run: started quietly on this machine, or joined; always ended."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants

from contracts.errors import DeadlineError, UserError

CHECKOUT = Path(__file__).resolve().parent.parent
STARTS = 3
START_SECONDS = 30
"""That Ray waits by itself for a node of its own, each time."""
CONNECT_SECONDS = 90.0
LOCAL_CPUS = 64
"""Logical CPUs of a local session: a laptop's actors share cores on purpose, and Ray's
accounting must not keep one of them waiting for ever."""

RAY_DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray runs actors at low priority: any other program would starve the whole run.
    "RAY_worker_niceness": "0",
}


@contextmanager
def ray_session(logs: Path, *, address: str | None = None) -> Iterator[None]:
    """A Ray session for the length of the block.

    Without ``address`` and without ``RAY_ADDRESS`` in the environment a session is started
    on this machine, with token authentication as Ray 2.60 has it by default, no dashboard
    and no worker output in the terminal. Otherwise the given cluster is joined.

    Args:
        logs: folder of the run's logs; Ray's own session log is linked from there.
        address: address of a running cluster.

    Raises:
        DeadlineError: the session did not come up in time.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    for name, value in RAY_DEFAULTS.items():
        os.environ.setdefault(name, value)
    logs.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": "ERROR",
        "runtime_env": {"env_vars": {"PYTHONPATH": python_path()}},
    }
    if address:
        _join(address, options)
    else:
        _start_local(options)
    _link_session_logs(logs)
    _quieten(logs / "ray-errors.log")
    try:
        yield
    finally:
        ray.shutdown()


def python_path() -> str:
    """``PYTHONPATH`` for actors: this checkout, the working directory, and what was set."""
    paths = [str(CHECKOUT), str(Path.cwd()), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return os.pathsep.join(dict.fromkeys(path for path in paths if path))


def _start_local(options: dict[str, Any]) -> None:
    """A session of our own. On the calling thread: Ray's servers die with the thread that
    started them, which is what ends them when this process is killed.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with _loopback():
        _start({**options, "num_cpus": LOCAL_CPUS, "num_gpus": _usable_gpus()})
    for number, handler in handlers.items():
        signal.signal(number, handler)
    _keep_token_to_ourselves()


def _start(options: dict[str, Any]) -> None:
    """``ray.init``, again where a busy machine was too slow for Ray."""
    failure: Exception | None = None
    for _ in range(STARTS):
        try:
            # A cluster that somebody else has started on this machine is left alone.
            ray.init(address="local", include_dashboard=False, **options)
        except Exception as error:  # Ray raises no class of its own
            if "timed out during startup" not in str(error):
                raise
            failure = error
            ray.shutdown()
        else:
            return
    raise DeadlineError(
        f"Ray to start on this machine, which is too busy ({STARTS} tries)", STARTS * START_SECONDS
    ) from failure


def _usable_gpus() -> int | None:
    """GPUs that a local session is to have: None is all that Ray finds, of which a build of torch
    for CPUs can use none.
    """
    import torch  # only here: a cluster's driver has no need of it

    return None if torch.backends.cuda.is_built() else 0  # type: ignore[no-untyped-call]


def _keep_token_to_ourselves() -> None:
    """Ray makes the token's file readable by all: who has the token runs code as we do."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    with suppress(OSError):
        if token.stat().st_uid == os.getuid():
            token.chmod(0o600)


@contextmanager
def _loopback() -> Iterator[None]:
    """Let a session that starts in the block listen on loopback alone, as Ray does by itself
    on a Mac; its processes inherit the variable. Addresses of our own follow the session's.
    """
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    former, everywhere = os.environ.get(name), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = everywhere
        if former is None:
            del os.environ[name]
        else:
            os.environ[name] = former


def _join(address: str, options: dict[str, Any]) -> None:
    """``ray.init`` on a cluster, under a deadline: with a wrong token it retries for long."""
    failures: list[BaseException] = []

    def connect() -> None:
        try:
            ray.init(address=address, **options)
        except Exception as error:  # noqa: BLE001 - carried to the caller's thread
            failures.append(error)

    thread = threading.Thread(target=connect, name="ray-connect", daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if thread.is_alive():
        raise DeadlineError(f"the Ray cluster at {address}", CONNECT_SECONDS)
    if failures:
        raise UserError(
            f"the Ray cluster at {address} cannot be joined: {failures[0]}",
            remedy="check RAY_ADDRESS, and RAY_AUTH_MODE=token with the token of that cluster",
        ) from failures[0]


def _link_session_logs(logs: Path) -> None:
    """Make Ray's own logs easy to find from the run folder, where they are on this machine."""
    session = ray._private.worker._global_node
    if session is None:
        return
    link = logs / "ray"
    link.unlink(missing_ok=True)
    link.symlink_to(session.get_logs_dir_path())


def _quieten(path: Path) -> None:
    """Send what Ray prints about dying workers to ``path``.

    It goes to the terminal whatever ``log_to_driver`` says. What matters of it comes back as
    an error from whoever waits for the worker.
    """

    def write(data: dict[str, Any], **_: Any) -> None:
        with path.open("a") as file:
            file.writelines(f"{line}\n" for line in data["lines"])

    ray._private.worker.print_to_stdstream = write
