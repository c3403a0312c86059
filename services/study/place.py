"""Where everything of a study is.

::

    studies/NAME/
      study.yaml          the study as it is run
      configs/RUN.yaml    the whole configuration of each run
      runs/RUN/           its run folder
      logs/RUN.txt        what it printed
      running/RUN         while it runs here: the id of its process
      jobs/RUN            while it runs on a cluster: the id of its job
      results/CONFIGURATION.json
      table.csv, table.parquet
      plots/*.png
      report.html
      machines.json       where it ran
      at-STEP/            results, table, plots and report of all runs as they were after STEP
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import UserError
from contracts.locks import locked

STUDIES = Path("studies")


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of a study. ``at``: the step that its runs are read at; None: their end."""

    root: Path
    at: int | None = None

    @property
    def study(self) -> Path:
        """The study as it is run."""
        return self.root / "study.yaml"

    @property
    def runs(self) -> Path:
        """Run folders."""
        return self.root / "runs"

    @property
    def written(self) -> Path:
        """Where what is written about the runs is."""
        return self.root if self.at is None else self.root / f"at-{self.at}"

    @property
    def results(self) -> Path:
        """One JSON a configuration."""
        return self.written / "results"

    @property
    def plots(self) -> Path:
        """Plots as PNG."""
        return self.written / "plots"

    @property
    def report(self) -> Path:
        """The page."""
        return self.written / "report.html"

    @property
    def machines(self) -> Path:
        """Where the study ran."""
        return self.root / "machines.json"

    def config(self, run: str) -> Path:
        """The configuration of a run."""
        return self.root / "configs" / f"{run}.yaml"

    def log(self, run: str) -> Path:
        """What a run printed."""
        return self.root / "logs" / f"{run}.txt"

    def process(self, run: str) -> Path:
        """Id of the process that does a run on this machine."""
        return self.root / "running" / run

    def job(self, run: str) -> Path:
        """Id of the job that does a run on a cluster."""
        return self.root / "jobs" / run

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the study for one ``study run``.

        Raises:
            UserError: another one holds it.
        """
        refusal = UserError(
            "this study is being run now",
            where=str(self.root),
            remedy="Wait for it, end it, or give this one another --name.",
        )
        with locked(self.root.parent / f".{self.root.name}.lock", refusal):
            yield
