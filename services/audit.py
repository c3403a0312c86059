"""Was every task trained on once per epoch, with the versions, labels and counts it should have?

Read off a run folder afterwards: the ledger against the order of tasks, the metrics and itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from contracts.config import RunConfig
from contracts.loading import load_config
from contracts.types import Objective
from services.records import LedgerRecord, StepMetrics
from services.run_folder import CONFIG, read_ledger, read_run, read_task_ids
from services.tasks.stream import order_of_tasks


@dataclass(frozen=True)
class Audit:
    """What was looked at, and what is wrong with it, a sentence each."""

    groups: int
    tasks: int
    epochs: float
    versions: int
    faults: list[str]

    @property
    def text(self) -> str:
        """The result for people."""
        looked = (
            f"{self.groups} groups of {self.versions} weight versions; "
            f"{self.tasks} tasks, {self.epochs:.2f} epochs"
        )
        if not self.faults:
            return f"{looked}: each task once per epoch; versions, labels and counts are right."
        return "\n".join([f"{looked}: {len(self.faults)} faults.", *self.faults])


def audit(folder: Path) -> Audit:
    """Check the run in ``folder``, whole or interrupted.

    Raises:
        UserError: there is no run, or a file of it cannot be read.
    """
    run = read_run(folder)
    config = load_config(folder / CONFIG)
    tasks = read_task_ids(folder)
    ledger = [line for line in read_ledger(folder) if line.step <= len(run.metrics)]
    of = config.recycle.prompts_of
    solved = sum(line.objective is Objective.SOLVE for line in ledger)
    faults = [
        *each_prompt_once(ledger),
        *tasks_in_order(ledger, tasks, config),
        *ages(ledger, config),
        *labels(ledger, () if of is None else read_ledger(of)),
        *counts(ledger, run.metrics),
    ]
    return Audit(
        groups=len(ledger),
        tasks=len(tasks),
        epochs=solved / max(1, len(tasks)),
        versions=max((line.version for line in ledger), default=0),
        faults=faults,
    )


def each_prompt_once(ledger: Sequence[LedgerRecord]) -> Iterator[str]:
    """Every prompt was trained on once."""
    for prompt, times in Counter(line.prompt for line in ledger).items():
        if times > 1:
            yield f"prompt {prompt} was trained on {times} times"


def tasks_in_order(
    ledger: Sequence[LedgerRecord], tasks: Sequence[str], config: RunConfig
) -> Iterator[str]:
    """Tasks were drawn in the seeded order, none left out: each once per epoch.

    Ahead of the learner a prompt may be too old, and not answered anew before the end.
    """
    solved = [line for line in ledger if line.objective is Objective.SOLVE]
    drawn = {_place(line): line.task for line in solved}
    ahead = config.max_staleness
    settled = max((step for step, _ in drawn), default=0) - (ahead + 1 if ahead else 0)
    order = order_of_tasks(tasks, config.tasks.seed)
    for step, places in groupby(sorted(drawn), key=lambda place: place[0]):
        indices = [index for _, index in places]
        missing = sorted(set(range(max(indices) + 1)) - set(indices))
        if missing and step <= settled:
            yield f"step {step}: task {missing[0]} was drawn and never trained on"
        for index in range(max(indices) + 1):
            wanted = next(order)
            if drawn.get((step, index), wanted) != wanted:
                yield f"step {step}, task {index}: {drawn[step, index]} instead of {wanted}"
                return


def _place(line: LedgerRecord) -> tuple[int, int]:
    """Step and number in the step of the draw, which are in the id: ``step.number/...``."""
    step, _, number = line.prompt.partition("/")[0].partition(".")
    return int(step), int(number)


def ages(ledger: Sequence[LedgerRecord], config: RunConfig) -> Iterator[str]:
    """No token is of weights that were not there yet, or more than ``max_staleness`` older."""
    for line in ledger:
        youngest = line.version - 1 - max(line.sampled)
        oldest = line.version - 1 - min(line.sampled)
        if youngest < 0 or oldest > config.max_staleness:
            yield (
                f"prompt {line.prompt} was sampled at versions {sorted(set(line.sampled))} and "
                f"trained into version {line.version}; max_staleness is {config.max_staleness}"
            )


def labels(ledger: Sequence[LedgerRecord], others: Sequence[LedgerRecord] = ()) -> Iterator[str]:
    """Every label follows from grades of the completions that are shown (DESIGN, truth 2).

    Args:
        ledger: of the run.
        others: of the run whose answers it judges, if that is another one.
    """
    graded = {
        f"{line.prompt}/{index}": mark == "1"
        for line in (*others, *ledger)
        for index, mark in enumerate(line.correct)
    }
    for line in ledger:
        if line.objective is Objective.SOLVE:
            continue
        known = [graded.get(parent) for parent in line.parents]
        if None not in known and known != list(line.shown_correct):
            yield f"prompt {line.prompt} shows answers graded {known} as {list(line.shown_correct)}"
        unknown = [p for p, grade in zip(line.parents, known, strict=True) if grade is None]
        if unknown:
            yield f"prompt {line.prompt} shows {unknown[0]}, which is not in the ledger"
        if line.objective is not Objective.REFLECT and line.label != _label(line):
            yield f"prompt {line.prompt} has label {line.label}, the grades say {_label(line)}"


def _label(line: LedgerRecord) -> str:
    first = line.shown_correct[0]
    if line.objective is Objective.POINTWISE:
        return "yes" if first else "no"
    return "A" if first else "B"


def counts(ledger: Sequence[LedgerRecord], metrics: Sequence[StepMetrics]) -> Iterator[str]:
    """The ledger has the groups that the metrics count, and steps and versions follow on."""
    for number, step in enumerate(metrics, 1):
        if step.step != number:
            yield f"metrics: line {number} is of step {step.step}"
            return
    found: dict[int, Counter[Objective]] = {step.step: Counter() for step in metrics}
    dropped: dict[int, int] = dict.fromkeys(found, 0)
    for line in ledger:
        found[line.step][line.objective] += 1
        dropped[line.step] += not line.trained
    for step in metrics:
        here, there = dict(found[step.step]), {k: v for k, v in step.groups.items() if v}
        if here != there:
            yield f"step {step.step}: the ledger has {here}, the metrics {there}"
        lost = sum(step.dropped.values())
        if dropped[step.step] != lost:
            yield (
                f"step {step.step}: {dropped[step.step]} groups without signal, "
                f"by the metrics {lost}"
            )
    versions = [step.version for step in metrics]
    if versions != sorted(set(versions)):
        yield "metrics: weight versions do not grow from step to step"
