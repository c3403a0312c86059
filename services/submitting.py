"""A run on somebody else's Ray cluster, through Ray's job API: sent, followed, left alone."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from contracts.config import RunConfig
from contracts.errors import CoevolveError, DeadlineError, UserError
from contracts.loading import dump_config

FILE = "coevolve-run.yaml"
"""The configuration, among what is sent."""
EXCLUDES = (
    ".git",
    ".venv",
    ".cache",
    "__pycache__",
    "*.pyc",
    ".*_cache",
    ".*.lock",
    "runs",
    "studies",
    "build",
    "*.egg-info",
)
"""Never sent, besides what .gitignore names: Ray passes all else through its control store."""
CONNECT_SECONDS = 30.0
SEND_SECONDS = 600.0
ANSWER_SECONDS = 30.0
END_SECONDS = 30.0
"""How long after the last line of its output a job may need to be over."""
TERMINATED = 143
"""Exit code of a job that was stopped: 128 and the number of SIGTERM, as the run itself has it."""

T = TypeVar("T")


class ClusterError(CoevolveError):
    """The cluster cannot be reached, or did not do what it was asked to."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that was sent. ``id``: what Ray knows it by."""

    address: str
    id: str

    @property
    def hints(self) -> str:
        """How to get back to it."""
        jobs = f"ray job {{}} --address {self.address}"
        return (
            f"Follow it: {jobs.format('logs')} --follow {self.id}\n"
            f"Stop it, which saves: {jobs.format('stop')} {self.id}"
        )


class Cluster:
    """A Ray cluster that takes jobs.

    The token is Ray's own business: ``RAY_AUTH_TOKEN`` or ``~/.ray/auth_token``.

    Args:
        address: of its dashboard: ``http://127.0.0.1:8265``.

    Raises:
        UserError: it is no such address, or the token is missing or wrong.
        ClusterError: it cannot be reached.
        DeadlineError: it does not answer.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(
                "not the address of a Ray dashboard",
                where=address,
                remedy="For example: --address http://127.0.0.1:8265",
            )
        self.address = address.rstrip("/")
        # RAY_ADDRESS, where it is set, would go before the address that is asked for here.
        os.environ["RAY_API_SERVER_ADDRESS"] = self.address
        logging.getLogger("ray").setLevel(logging.WARNING)
        self._client = self._asked(
            lambda: JobSubmissionClient(self.address), CONNECT_SECONDS, "to answer"
        )

    def submit(
        self, config: RunConfig, *, name: str | None = None, folder: Path | None = None
    ) -> Submission:
        """Send a run, to be started, or to go on from its last checkpoint.

        Args:
            config: the run. It is sent whole: presets and overrides are in it already.
            name: what Ray is to know the job by; None: the name of the run and the time.
            folder: what the run needs beside itself, its data or functions; becomes its
                working directory. None: nothing.

        Raises:
            UserError: the configuration would leave its results in the job's own folder, which
                goes with the job; or there is a job of this name.
            ClusterError, DeadlineError: it could not be sent.
        """
        check_paths(config)
        name = name or f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        with staged(config, folder) as place:
            environment = {"working_dir": str(place), "excludes": list(EXCLUDES)}

            def send() -> str:
                return str(
                    self._client.submit_job(
                        entrypoint=shlex.join(["coevolve", "train", FILE, "--resume"]),
                        submission_id=name,
                        runtime_env=environment,
                        metadata={"run": config.name},
                    )
                )

            return Submission(self.address, self._asked(send, SEND_SECONDS, "to take the job"))

    def follow(self, job: Submission, show: Callable[[str], None]) -> int:
        """Show the output of a job until it is over; the exit code that it ended with.

        Raises:
            ClusterError: the connection broke; the job runs on.
        """

        async def tail() -> None:
            async for lines in self._client.tail_job_logs(job.id):
                show(lines)

        try:
            asyncio.run(tail())
        except (RuntimeError, OSError) as error:
            raise ClusterError(
                f"lost the connection to {self.address}; the job runs on\n{job.hints}"
            ) from error
        return exit_code(self._ended(job))

    def ended(self, job: Submission) -> int | None:
        """The exit code of a job that is over; None while it is not.

        Raises:
            UserError: there is no such job.
            ClusterError, DeadlineError: the cluster does not say.
        """
        details = self._asked(
            lambda: self._client.get_job_info(job.id), ANSWER_SECONDS, "to answer"
        )
        return exit_code(details) if details.status.is_terminal() else None

    def stop(self, job: Submission) -> None:
        """Ask a job to save itself and end."""
        self._asked(lambda: self._client.stop_job(job.id), ANSWER_SECONDS, "to stop a job")

    def logs(self, job: Submission) -> str:
        """What a job has printed."""
        return self._asked(
            lambda: str(self._client.get_job_logs(job.id)), ANSWER_SECONDS, "to answer"
        )

    def _ended(self, job: Submission) -> JobDetails:
        """The job, when it is over: its output ends a little before it does."""
        deadline = time.monotonic() + END_SECONDS
        while True:
            details = self._asked(
                lambda: self._client.get_job_info(job.id), ANSWER_SECONDS, "to answer"
            )
            if details.status.is_terminal():
                return details
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the output of job {job.id} ended, but not the job\n{job.hints}"
                )
            time.sleep(0.5)

    def _asked(self, work: Callable[[], T], seconds: float, what: str) -> T:
        """The result of ``work``, which has no deadline of its own."""
        with self._errors():
            return within(work, seconds, f"the Ray cluster at {self.address} {what}")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of Ray's client, in words."""
        try:
            yield
        except AuthenticationError as error:
            raise UserError(
                "the cluster refuses the token",
                where=self.address,
                remedy="Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the token of that cluster.",
            ) from error
        except (ConnectionError, requests.RequestException) as error:
            raise ClusterError(
                f"{self.address}: cannot be reached. Is the cluster up, and is this the port of "
                "its dashboard?"
            ) from error
        except (RuntimeError, ValueError) as error:
            raise _refusal(self.address, error) from error


def _refusal(address: str, error: Exception) -> CoevolveError:
    """What an answer of the job API means, of which Ray makes an error without a kind."""
    said = str(error).strip()
    if "already exists" in said:
        return UserError(
            "there is a job of this name already",
            where=address,
            remedy="Give another --id; the name of the run can stay, and is gone on with.",
        )
    if "404" in said:
        return UserError(
            "no Ray dashboard is at this address", where=address, remedy=said.splitlines()[0]
        )
    return ClusterError(f"{address}: {said.splitlines()[0] if said else type(error).__name__}")


def exit_code(details: JobDetails) -> int:
    """What the run itself ended with, as far as Ray tells."""
    if details.status == JobStatus.SUCCEEDED:
        return 0
    if details.status == JobStatus.STOPPED:
        return TERMINATED
    return details.driver_exit_code or 1


def check_paths(config: RunConfig) -> None:
    """Refuse a run that would leave its results, or look for them, in a folder that goes away.

    Raises:
        UserError: a folder is not absolute.
    """
    for field, path in (("runs_dir", config.runs_dir), ("cache_dir", config.cache_dir)):
        if not path.is_absolute():
            raise UserError(
                "must be an absolute path on the cluster: the working directory of a job goes "
                "with it",
                where=f"{field}={path}",
                remedy="On the overlays' volume: runs_dir=/runs cache_dir=/runs/models",
            )


@contextmanager
def staged(config: RunConfig, folder: Path | None) -> Iterator[Path]:
    """A folder with the configuration, and with what is in ``folder`` as links.

    Raises:
        UserError: ``folder`` is none.
    """
    if folder is not None and not folder.is_dir():
        raise UserError("no such folder", where=str(folder))
    with tempfile.TemporaryDirectory(prefix="coevolve-") as made:
        place = Path(made)
        for entry in folder.iterdir() if folder else ():
            if entry.name != FILE:
                (place / entry.name).symlink_to(entry.resolve())
        (place / FILE).write_text(dump_config(config), encoding="utf-8")
        yield place


def within(work: Callable[[], T], seconds: float, what: str) -> T:
    """The result of ``work``, done on another thread.

    Raises:
        DeadlineError: it did not come in time; the thread is left behind.
    """
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout=seconds)
    if thread.is_alive():
        raise DeadlineError(what, seconds)
    if failures:
        raise failures[0]
    return results[0]
