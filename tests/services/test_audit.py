"""What an audit finds in a ledger: nothing in a sound one, and each thing that can be wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest

from contracts.config import RunConfig
from contracts.loading import dump_config
from contracts.types import Objective
from services.audit import audit
from services.records import LedgerRecord, Recycled, Staleness, StepMetrics
from services.run_folder import RunFolder
from services.tasks.stream import order_of_tasks

TASKS = ["a", "b", "c", "d", "e"]
EACH = 2


def solve(step: int, index: int, task: str) -> LedgerRecord:
    return LedgerRecord(
        step=step,
        version=step,
        prompt=f"{step}.{index}/solve/{task}",
        task=task,
        objective=Objective.SOLVE,
        label="1",
        parents=(),
        shown_correct=(),
        sampled=(step - 1, step - 1),
        correct="01",
        trained=True,
    )


def judge(step: int, of: LedgerRecord, index: int) -> LedgerRecord:
    right = of.correct[index] == "1"
    return of.model_copy(
        update={
            "step": step,
            "version": step,
            "prompt": f"pointwise/{of.prompt}/{index}",
            "objective": Objective.POINTWISE,
            "label": "yes" if right else "no",
            "parents": (f"{of.prompt}/{index}",),
            "shown_correct": (right,),
            "sampled": (step - 1, step - 1),
        }
    )


@dataclass
class Made:
    """A run of four steps: two tasks each, and two judge prompts of the step before."""

    ledger: list[LedgerRecord]
    metrics: list[StepMetrics]

    @classmethod
    def sound(cls) -> Made:
        order = list(islice(order_of_tasks(TASKS, 0), 4 * EACH))
        ledger: list[LedgerRecord] = []
        metrics = []
        solved: list[LedgerRecord] = []
        for step in range(1, 5):
            judged = [judge(step, solved[0], index) for index in (0, 1)] if solved else []
            tasks = order[(step - 1) * EACH : step * EACH]
            solved = [solve(step, index, task) for index, task in enumerate(tasks)]
            ledger += [*solved, *judged]
            metrics.append(step_of(step, [*solved, *judged]))
        return cls(ledger, metrics)

    def write(self, folder: Path, staleness: int = 0) -> Path:
        config = RunConfig(max_staleness=staleness)
        made = RunFolder.create(folder, dump_config(config))
        made.write_task_ids(TASKS)
        made.append_ledger(self.ledger)
        for step in self.metrics:
            made.append_metrics(step)
        return folder

    def change(self, place: int, **fields: object) -> None:
        self.ledger[place] = self.ledger[place].model_copy(update=fields)


def step_of(step: int, lines: list[LedgerRecord]) -> StepMetrics:
    return StepMetrics(
        step=step,
        version=step,
        epoch=0,
        groups=Counter(line.objective for line in lines),
        recycled=Recycled(),
        completion_tokens=1,
        staleness=Staleness(mean=0, max=0),
        update=None,
    )


def test_a_sound_run_has_no_fault(tmp_path: Path) -> None:
    result = audit(Made.sound().write(tmp_path / "run"))
    assert result.faults == []
    assert (result.groups, result.tasks, result.epochs, result.versions) == (14, 5, 1.6, 4)
    assert "each task once per epoch" in result.text


def twice(made: Made) -> None:
    made.ledger.append(made.ledger[0])


def another_task(made: Made) -> None:
    made.change(0, task="z")


def left_out(made: Made) -> None:
    del made.ledger[2]


def too_old(made: Made) -> None:
    made.change(-1, sampled=(1, 3))


def from_the_future(made: Made) -> None:
    made.change(0, sampled=(0, 1))


def wrong_label(made: Made) -> None:
    made.change(4, label="yes")


def other_grade(made: Made) -> None:
    made.change(0, correct="11")


def unknown_parent(made: Made) -> None:
    made.change(4, parents=("9.9/x/0",))


def miscounted(made: Made) -> None:
    made.metrics[1] = step_of(2, [])


def no_signal(made: Made) -> None:
    made.change(0, trained=False)


def version_again(made: Made) -> None:
    made.metrics[2] = made.metrics[2].model_copy(update={"version": 2})


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (twice, "was trained on 2 times"),
        (another_task, "step 1, task 0: z instead of"),
        (left_out, "step 2: task 0 was drawn and never trained on"),
        (too_old, "sampled at versions [1, 3] and trained into version 4; max_staleness is 0"),
        (from_the_future, "sampled at versions [0, 1] and trained into version 1"),
        (wrong_label, "has label yes, the grades say no"),
        (other_grade, "shows answers graded [True] as [False]"),
        (unknown_parent, "shows 9.9/x/0, which is not in the ledger"),
        (miscounted, "step 2: the ledger has"),
        (no_signal, "step 1: 1 groups without signal, by the metrics 0"),
        (version_again, "weight versions do not grow"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, harm: Callable[[Made], None], said: str) -> None:
    made = Made.sound()
    harm(made)
    result = audit(made.write(tmp_path / "run"))
    assert any(said in fault for fault in result.faults), result.text
    assert f"{len(result.faults)} faults" in result.text


def test_a_step_that_was_not_finished_is_left_out(tmp_path: Path) -> None:
    made = Made.sound()
    made.ledger.append(solve(5, 1, "z"))
    assert audit(made.write(tmp_path / "run")).faults == []


def test_ahead_of_the_learner_the_last_prompts_may_be_owed(tmp_path: Path) -> None:
    made = Made.sound()
    lost = next(i for i, line in enumerate(made.ledger) if line.prompt.startswith("4.0/"))
    del made.ledger[lost]
    made.metrics[3] = step_of(4, [line for line in made.ledger if line.step == 4])
    assert audit(made.write(tmp_path / "ahead", staleness=1)).faults == []
    assert len(audit(made.write(tmp_path / "in turn")).faults) == 1
