"""The files of an evaluation, from made-up results: they can be read back, and show everything."""

from __future__ import annotations

import io
import json
from pathlib import Path

from PIL import Image
from rich.console import Console

from actors.graders.processes import GraderProcesses
from contracts.types import Candidate, Task
from services.commands.rollout_rows import read_groups
from services.evaluate.answerer import Cost, Reply
from services.evaluate.data import Dataset
from services.evaluate.output import ANSWERS, CANDIDATES, RESULTS, safe, write
from services.evaluate.records import (
    Comparison,
    DatasetResult,
    ModelResult,
    Ranking,
    Results,
)
from services.evaluate.run import Measured, of_tasks
from services.evaluate.scoring import Scored, results_of
from services.evaluate.strategies import BestOf, Majority, Outcome, Single, Strategy
from services.evaluate.tables import show
from services.evaluation import BankEntry, bank_entry
from services.records import JudgeRecord, Reliability
from services.statistics import Difference, proportion

TASKS = [Task(f"t{n}", f"{n}+1", str(n + 1)) for n in range(12)]


def scored(strategy: Strategy, right: int, tokens: int) -> Scored:
    good = {task.id for task in TASKS[:right]}
    outcomes = [
        Outcome(task, (Reply(task.id, "so", task.gold, tokens),), Cost(10, tokens, 1))
        for task in TASKS
    ]
    return Scored(strategy, [outcomes], lambda reply: reply is not None and reply.id in good)


JUDGE = JudgeRecord(
    candidates=24,
    verdicts=96,
    balanced_accuracy=proportion(20, 24),
    calibration_error=0.123,
    reliability=(
        Reliability(low=0.2, high=0.3, confidence=0.25, accuracy=proportion(2, 10)),
        Reliability(low=0.7, high=0.8, confidence=0.75, accuracy=proportion(9, 10)),
    ),
)


def results() -> tuple[Results, dict[str, dict[str, Measured]]]:
    several = (scored(Single(1), 3, 20), scored(Majority(8), 6, 600), scored(BestOf(4, 2), 9, 300))
    solved = DatasetResult(
        name="sums",
        tasks=12,
        strategies=tuple(results_of(several)),
        judge={"own": JUDGE, "fixed": JUDGE},
        too_long=2,
    )
    ranking = Ranking(accuracy=proportion(3, 4), consistency=proportion(1, 2), unread=0.25)
    ranked = DatasetResult(name="bench", tasks=4, rankings={"pairwise": (ranking,)})
    model = ModelResult(
        name="runs/mine",
        style="terse",
        show="answer",
        temperature=1.0,
        max_tokens=48,
        datasets=(solved, ranked),
    )
    comparison = Comparison(
        dataset="sums",
        label="single pass",
        first="tiny",
        second="runs/mine",
        difference=Difference(0.25, 0.1, 0.4, 0.0004, 12),
    )
    found = Results(
        command="coevolve eval", seed=0, seconds=1.0, models=(model,), comparisons=(comparison,)
    )
    bank = tuple(
        BankEntry(
            task,
            Candidate(task, f"{task.id}/0", task.gold, rf"so \boxed{{{task.gold}}}", True),
            Candidate(task, f"{task.id}/1", "0", r"so \boxed{0}", False),
        )
        for task in TASKS
    )
    return found, {"runs/mine": {"sums": Measured(solved, several, bank)}}


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    found, measured = results()
    write(found, measured, tmp_path)
    assert Results.model_validate_json((tmp_path / RESULTS).read_text()) == found
    lines = [json.loads(line) for line in (tmp_path / ANSWERS).read_text().splitlines()]
    assert len(lines) == 3 * len(TASKS)
    assert lines[0] == {
        "model": "runs/mine",
        "dataset": "sums",
        "strategy": "single pass",
        "task": "t0",
        "gold": "1",
        "answers": ["1"],
        "correct": [True],
        "accepted": None,
        "rounds": 1,
        "prompt_tokens": 10,
        "generated_tokens": 20,
    }


def test_candidates_can_be_judged_by_another_model(tmp_path: Path) -> None:
    found, measured = results()
    write(found, measured, tmp_path)
    lines = (tmp_path / CANDIDATES).read_text().splitlines()
    with GraderProcesses(workers=1, deadline=5.0) as graders:
        groups = read_groups(lines, "candidates", "terse", graders)
    bank = measured["runs/mine"]["sums"].bank
    assert tuple(bank_entry(group, 0, 64) for group in groups) == bank
    worded = tuple(Task(task.id, f"What is {task.question}?", task.gold) for task in TASKS[3:])
    again = of_tasks(bank, Dataset("sums", worded))
    assert [entry.task for entry in again] == list(worded)
    assert again[0].right is not None
    assert again[0].right.task == worded[0]


def test_pictures_are_drawn_of_what_was_measured(tmp_path: Path) -> None:
    found, measured = results()
    write(found, measured, tmp_path)
    pictures = {path.name: Image.open(path) for path in tmp_path.glob("*.png")}
    assert set(pictures) == {"accuracy-sums.png", "reliability-sums.png"}
    for picture in pictures.values():
        colours = picture.convert("RGB").getcolors(2**24)
        assert colours is not None
        assert len(colours) > 20


def test_the_table_leaves_nothing_out() -> None:
    found, _ = results()
    console = Console(width=140, record=True, file=io.StringIO())
    show(found, console)
    text = console.export_text()
    for words in (
        *("single pass", "25.0 % (", "+50.0*", "+25.0  (8)", "2 prompts left no room"),
        *("balanced accuracy", "83.3 % (64.1–93.3)", "12.3 %"),
        *("bench, 4 tasks, pairwise", "75.0 %", "50.0 %"),
        *("runs/mine against tiny", "+25.0*", "+10.0 to +40.0", "<0.001"),
    ):
        assert words in text.replace("\N{NO-BREAK SPACE}", " "), words


def test_names_of_data_become_names_of_files() -> None:
    assert safe("a/b c.1") == "a_b_c.1"
