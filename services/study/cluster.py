"""Runs of a study as jobs on a Ray cluster.

The id of a job is kept in the study's folder: when the study is ended, jobs run on, and when it
is run again they are taken up.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

from contracts.config import RunConfig
from contracts.errors import DeadlineError, UserError
from services.run_folder import write_atomically
from services.study.place import Place
from services.study.states import last_error
from services.submitting import Cluster, ClusterError, Submission

ASK_SECONDS = 5.0
"""How often a job is asked for."""
LOST_SECONDS = 600.0
"""How long a cluster may not answer before its runs are given up; the jobs run on."""


@dataclass
class JobRun:
    """A job. ``log``: where its output is put when it has failed."""

    cluster: Cluster
    job: Submission
    note: Path
    log: Path
    asked: float = -math.inf
    answered: float = field(default_factory=time.monotonic)
    code: int | None = None

    def poll(self) -> int | None:
        """Its exit code; None while it runs, and while the cluster does not answer for a time.

        Raises:
            ClusterError, DeadlineError: it has not answered for ``LOST_SECONDS``.
        """
        now = time.monotonic()
        if self.code is not None or now - self.asked < ASK_SECONDS:
            return self.code
        self.asked = now
        try:
            self.code = self.cluster.ended(self.job)
            self.answered = now
        except (ClusterError, DeadlineError):
            if now - self.answered > LOST_SECONDS:
                raise
        return self.code

    def stop(self) -> None:
        """Ask it to save itself and end."""
        self.cluster.stop(self.job)

    def kill(self) -> None:
        """Ray kills a job that does not end by itself."""
        self.cluster.stop(self.job)

    def error(self) -> str:
        """What it said last."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_text(self.cluster.logs(self.job), encoding="utf-8")
        return last_error(self.log)

    def close(self) -> None:
        """Forget it, where it has ended."""
        if self.code is not None:
            self.note.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class There:
    """Sends runs to a cluster, or takes up those that are there from before."""

    cluster: Cluster
    place: Place
    folder: Path | None = None
    """What the runs need beside themselves."""
    leaves: bool = True

    def start(self, config: RunConfig) -> JobRun:
        """Send a run."""
        note = self.place.job(config.name)
        note.parent.mkdir(parents=True, exist_ok=True)
        job = self._former(note)
        if job is None:
            name = f"{self.place.root.name}-{config.name}-{time.strftime('%Y%m%d-%H%M%S')}"
            # Before it is sent: a job nobody knows of would hold the run folder.
            write_atomically(note, name)
            job = self.cluster.submit(config, name=name, folder=self.folder)
        return JobRun(self.cluster, job, note, self.place.log(config.name))

    def _former(self, note: Path) -> Submission | None:
        """The job that does the run already; None where there is none, or it has ended."""
        if not note.is_file():
            return None
        job = Submission(self.cluster.address, note.read_text(encoding="utf-8").strip())
        try:
            return job if self.cluster.ended(job) is None else None
        except UserError:
            return None
