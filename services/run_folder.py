"""A run folder: written line by line while a run goes, read back whole afterwards.

::

    runs/NAME/
      config.yaml         the resolved configuration
      metrics.jsonl       StepMetrics, one line per step, free of the clock
      timing.jsonl        StepTiming, one line per step
      evaluations.jsonl   EvaluationRecord
      rollouts.jsonl      RolloutRecord
      examples.jsonl      ExampleRecord
      ledger.jsonl        LedgerRecord, for `coevolve audit`
      recycled.jsonl      RecycledRecord, with `recycle.answered` off
      tasks.json          ids of the tasks that are trained on
      faults.jsonl        FaultRecord, if there were any
      summary.json        Summary, once the run has ended in any way
      report.html, logs/
      checkpoints/        what `--resume` goes on from
      model/              the trained model, a Hugging Face folder

Every line is flushed before the next thing happens, so a killed run leaves at most one torn
last line in each file; the reader leaves it out and says so.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from contracts.errors import UserError
from contracts.locks import locked
from services.records import (
    EvaluationRecord,
    ExampleRecord,
    FaultRecord,
    LedgerRecord,
    ModelSummary,
    Record,
    RecycledRecord,
    RolloutRecord,
    StepMetrics,
    StepTiming,
    Summary,
)

__all__ = [
    "EvaluationRecord",
    "ExampleRecord",
    "ModelSummary",
    "RolloutRecord",
    "Run",
    "RunFolder",
    "StepMetrics",
    "StepTiming",
    "Summary",
    "read_run",
    "write_atomically",
]

R = TypeVar("R", bound=Record)

CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
TIMING = "timing.jsonl"
EVALUATIONS = "evaluations.jsonl"
ROLLOUTS = "rollouts.jsonl"
EXAMPLES = "examples.jsonl"
LEDGER = "ledger.jsonl"
RECYCLED = "recycled.jsonl"
TASKS = "tasks.json"
FAULTS = "faults.jsonl"
SUMMARY = "summary.json"
REPORT = "report.html"
LOGS = "logs"
COUNTERS = "counters.json"
_FOLDERS = (LOGS, "checkpoints", "model", "tensorboard", "wandb")
_LINES = (METRICS, TIMING, EVALUATIONS, ROLLOUTS, EXAMPLES, LEDGER)
_FILES = (CONFIG, *_LINES, RECYCLED, TASKS, FAULTS, COUNTERS, SUMMARY, REPORT)


@dataclass(frozen=True)
class RunFolder:
    """Writer of a run folder. Made by ``create`` or ``resume``, never directly."""

    path: Path

    @classmethod
    def create(cls, path: Path, config_text: str, *, overwrite: bool = False) -> RunFolder:
        """Start a new run folder with its configuration.

        Args:
            path: the folder; parents are made.
            config_text: the resolved configuration, as YAML.
            overwrite: remove the run that is there, its logs and its report too. Files that no
                run writes stay.

        Raises:
            UserError: there is something at ``path`` already that may not be removed.
        """
        if path.is_dir() and any(path.iterdir()):
            _make_room(path, overwrite)
        elif path.exists() and not path.is_dir():
            raise UserError("a file stands where the run folder should be", where=str(path))
        (path / LOGS).mkdir(parents=True, exist_ok=True)
        write_atomically(path / CONFIG, config_text)
        for name in _LINES:
            (path / name).touch()
        return cls(path)

    @classmethod
    def resume(cls, path: Path, config_text: str, *, step: int, evaluations: int) -> RunFolder:
        """Go on after ``step`` completed steps: what was written after them is taken back.

        Args:
            path: the folder.
            config_text: the configuration that the run goes on with.
            step: steps that stay.
            evaluations: evaluations that stay, from the first.

        Raises:
            UserError: ``path`` is no run folder, or has a line that cannot be read.
        """
        run = read_run(path)
        write_atomically(path / CONFIG, config_text)
        _rewrite(path / METRICS, (m for m in run.metrics if m.step <= step))
        _rewrite(path / TIMING, (t for t in run.timing if t.step <= step))
        _rewrite(path / EVALUATIONS, run.evaluations[:evaluations])
        _rewrite(path / ROLLOUTS, (r for r in run.rollouts if r.step <= step))
        _rewrite(path / LEDGER, (line for line in read_ledger(path) if line.step <= step))
        if (path / RECYCLED).is_file():
            kept = [line for line in read_recycled(path) if line.step <= step]
            _rewrite(path / RECYCLED, kept)
        before = (e for e in run.examples if e.when == "before" and evaluations)
        _rewrite(path / EXAMPLES, before)
        (path / SUMMARY).unlink(missing_ok=True)
        (path / LOGS).mkdir(exist_ok=True)
        return cls(path)

    @property
    def logs(self) -> Path:
        """Where log files go."""
        return self.path / LOGS

    def append_metrics(self, metrics: StepMetrics) -> None:
        """Write down what a step did."""
        _append(self.path / METRICS, [metrics])

    def append_timing(self, timing: StepTiming) -> None:
        """Write down how long a step took."""
        _append(self.path / TIMING, [timing])

    def append_evaluation(self, evaluation: EvaluationRecord) -> None:
        """Write down held-out scores."""
        _append(self.path / EVALUATIONS, [evaluation])

    def append_fault(self, fault: FaultRecord) -> None:
        """Write down a fault. Kept on a resume: it is no part of what the run did."""
        _append(self.path / FAULTS, [fault])

    def append_ledger(self, groups: Iterable[LedgerRecord]) -> None:
        """Write down the groups of a step."""
        _append(self.path / LEDGER, groups)

    def append_recycled(self, prompts: Iterable[RecycledRecord]) -> None:
        """Write down prompts that another run is to answer."""
        _append(self.path / RECYCLED, prompts)

    def write_task_ids(self, ids: Sequence[str]) -> None:
        """Write down which tasks are trained on, in the order of the data."""
        write_atomically(self.path / TASKS, json.dumps(list(ids)))

    def append_rollouts(self, rollouts: Iterable[RolloutRecord]) -> None:
        """Write down rollouts to be read."""
        _append(self.path / ROLLOUTS, rollouts)

    def append_examples(self, examples: Iterable[ExampleRecord]) -> None:
        """Write down examples before or after training."""
        _append(self.path / EXAMPLES, examples)

    def write_summary(self, summary: Summary) -> None:
        """Write the summary: whole, or not at all."""
        write_atomically(self.path / SUMMARY, summary.model_dump_json(indent=2) + "\n")


@dataclass(frozen=True)
class Run:
    """A run folder, read. ``notes`` says what was left out, for people."""

    path: Path
    config_text: str
    metrics: tuple[StepMetrics, ...]
    timing: tuple[StepTiming, ...]
    evaluations: tuple[EvaluationRecord, ...]
    rollouts: tuple[RolloutRecord, ...]
    examples: tuple[ExampleRecord, ...]
    summary: Summary | None
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the run: that of its folder."""
        return self.path.resolve().name

    def until(self, step: int) -> Run:
        """The run as it was after ``step``; that it has ended since is left as it is."""
        return replace(
            self,
            metrics=tuple(record for record in self.metrics if record.step <= step),
            timing=tuple(record for record in self.timing if record.step <= step),
            evaluations=tuple(record for record in self.evaluations if record.step <= step),
        )


def read_run(path: Path) -> Run:
    """Read a run folder, of an interrupted run too.

    Raises:
        UserError: ``path`` is no run folder, or a line other than a torn last one is malformed.
    """
    if not (path / CONFIG).is_file():
        raise UserError(
            f"no run folder: there is no {CONFIG} in it",
            where=str(path),
            remedy="Name the folder of a run, for example runs/demo.",
        )
    notes: list[str] = []
    note = notes.append
    return Run(
        path=path,
        config_text=(path / CONFIG).read_text(encoding="utf-8"),
        metrics=_read_lines(path / METRICS, StepMetrics, note),
        timing=_read_lines(path / TIMING, StepTiming, note),
        evaluations=_read_lines(path / EVALUATIONS, EvaluationRecord, note),
        rollouts=_read_lines(path / ROLLOUTS, RolloutRecord, note),
        examples=_read_lines(path / EXAMPLES, ExampleRecord, note),
        summary=_read_summary(path / SUMMARY),
        notes=tuple(notes),
    )


def read_ledger(path: Path) -> tuple[LedgerRecord, ...]:
    """The ledger of the run folder at ``path``.

    Raises:
        UserError: a line other than a torn last one is malformed.
    """
    return _read_lines(path / LEDGER, LedgerRecord, lambda _: None)


def read_recycled(path: Path) -> tuple[RecycledRecord, ...]:
    """The recycled prompts that the run at ``path`` has kept for another one.

    Raises:
        UserError: a line other than a torn last one is malformed.
    """
    return _read_lines(path / RECYCLED, RecycledRecord, lambda _: None)


def read_task_ids(path: Path) -> list[str]:
    """Ids of the tasks that the run in ``path`` is trained on.

    Raises:
        UserError: they are not there, or cannot be read.
    """
    try:
        return [str(name) for name in json.loads((path / TASKS).read_text())]
    except (OSError, ValueError) as error:
        raise UserError(
            f"the tasks of the run cannot be read: {error}", where=str(path / TASKS)
        ) from error


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the run folder at ``path`` for one run; the lock goes with the process.

    Raises:
        UserError: another run holds it.
    """
    refusal = UserError(
        "a run is writing to this folder now",
        where=str(path),
        remedy="Wait for it, end it, or choose another name=.",
    )
    with locked(path.parent / f".{path.name}.lock", refusal):
        yield


def write_atomically(path: Path, text: str) -> None:
    """Replace the file at ``path`` by ``text``: whole, or not at all, even if power fails."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _append(path: Path, records: Iterable[Record]) -> None:
    """Add lines to a file. Closing it hands them to the operating system."""
    text = "".join(record.line() + "\n" for record in records)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _rewrite(path: Path, records: Iterable[Record]) -> None:
    write_atomically(path, "".join(record.line() + "\n" for record in records))


def _make_room(path: Path, overwrite: bool) -> None:
    """Remove the run at ``path`` if that is wanted, and if it is one."""
    if not (path / CONFIG).is_file():
        raise UserError(
            "the folder is not empty and holds no run, so it is left alone",
            where=str(path),
            remedy="Choose another name= or runs_dir=.",
        )
    if not overwrite:
        raise UserError(
            "there is a run of this name already",
            where=str(path),
            remedy="Choose another name=, or remove the folder.",
        )
    # The configuration last: without it the folder is no run that may be replaced.
    for name in _FOLDERS:
        if (path / name).is_dir():
            shutil.rmtree(path / name)
    for name in reversed(_FILES):
        (path / name).unlink(missing_ok=True)


def _read_lines(path: Path, kind: type[R], note: Callable[[str], None]) -> tuple[R, ...]:
    """The records of a file; a last line without its line end is torn, and left out."""
    if not path.is_file():
        note(f"{path.name} is missing.")
        return ()
    *lines, rest = path.read_bytes().split(b"\n")
    if rest:
        note(f"{path.name}: the last line was cut off when the run ended, and is left out.")
    return tuple(_parse(kind, line, f"{path}, line {i}") for i, line in enumerate(lines, 1))


def _read_summary(path: Path) -> Summary | None:
    return _parse(Summary, path.read_bytes(), str(path)) if path.is_file() else None


def _parse(kind: type[R], text: bytes, where: str) -> R:
    """A record out of its JSON.

    Raises:
        UserError: it is not valid; names the first field that is wrong.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        what = f"{field}: {first['msg']}" if field else first["msg"]
        remedy = "The file was changed, or written by another version of Coevolve."
        raise UserError(what, where=where, remedy=remedy) from error
