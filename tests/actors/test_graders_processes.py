"""Grader processes: whatever a response does, a grade comes back and the next one is graded."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from actors.graders.processes import GraderProcesses
from contracts.errors import UserError
from contracts.types import Grade, Reason
from tests.actors.hostile_graders import RIGHT
from tests.actors.test_graders_properties import PIECES

MISBEHAVE = "tests.actors.hostile_graders:misbehave"
PROCESS_ID = "tests.actors.hostile_graders:process_id"
TOWER = r"\boxed{9^{9^{9^{9}}}}"


@pytest.fixture(scope="module")
def processes() -> Iterator[GraderProcesses]:
    with GraderProcesses(workers=1, deadline=1.0) as made:
        yield made


def eventually(true: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return true()


def test_symbolic_and_plain_answers_come_back_in_order(processes):
    answers = ["1+x", "x", "(x^2+x)/x", "12", "1 + 1x", "x+1 or 2"]
    responses = [rf"\boxed{{{answer}}}" for answer in answers] + ["no box"]
    grades = processes.grade("math", "x+1", responses)
    assert [grade.extracted for grade in grades] == [*answers, None]
    assert [grade.correct for grade in grades] == [True, False, True, False, True, False, False]
    assert grades[-1].reason is Reason.NO_ANSWER


def test_plain_answers_start_no_process():
    with GraderProcesses(workers=1, deadline=1.0) as processes:
        before = set(psutil.Process().children(recursive=True))
        grades = processes.grade("math", "12", [r"\boxed{12}", r"\boxed{9^{9^{9^{9}}}}"])
        assert [grade.correct for grade in grades] == [True, False]
        assert set(psutil.Process().children(recursive=True)) <= before


def test_only_the_culprit_is_graded_timeout(processes, caplog):
    grades = processes.grade("math", "x+1", [r"\boxed{1+x}", TOWER, r"\boxed{x}"])
    assert grades == [
        Grade(1.0, True, "1+x", Reason.OK),
        Grade(0.0, False, "9^{9^{9^{9}}}", Reason.TIMEOUT),
        Grade(0.0, False, "x", Reason.OK),
    ]
    assert "timeout on '9^{9^{9^{9}}}' against 'x+1'" in caplog.text


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("hang", Reason.TIMEOUT),
        ("count", Reason.TIMEOUT),
        ("leave", Reason.TIMEOUT),
        ("crash", Reason.ERROR),
        ("raise", Reason.ERROR),
        ("eat", Reason.ERROR),
        ("recurse", Reason.ERROR),
    ],
)
def test_a_misbehaving_grader_costs_its_own_grade_only(processes, caplog, what, reason):
    grades = processes.grade(MISBEHAVE, "", ["well", what, "well"])
    assert [grade.reason for grade in grades] == [Reason.OK, reason, Reason.OK]
    assert grades[0] == grades[2] == RIGHT
    assert grades[1].reward == 0.0
    assert str(reason) in caplog.text


def test_waiting_for_the_processor_is_not_held_against_a_response(processes):
    # 1.5 s pass, of which the grader computes almost none.
    assert processes.grade(MISBEHAVE, "", ["wait"]) == [RIGHT]


def test_the_traceback_of_a_grader_is_logged(processes, caplog):
    processes.grade(MISBEHAVE, "", ["raise"])
    assert "LookupError: on purpose" in caplog.text


def test_an_unknown_grader_is_a_user_error(processes):
    with pytest.raises(UserError, match="math, choice, verdict, exact"):
        processes.grade("nope", "1", [r"\boxed{1}"])


def test_an_idle_process_that_is_killed_is_replaced(processes):
    for number in (signal.SIGKILL, signal.SIGSEGV):
        (before,) = processes.grade(PROCESS_ID, "", [""])
        os.kill(int(before.extracted), number)
        (after,) = processes.grade(PROCESS_ID, "", [""])
        assert after.reason is Reason.OK
        assert after.extracted != before.extracted


@pytest.mark.parametrize("which", ["all", "the one that forks the others"])
def test_frozen_processes_are_replaced(monkeypatch, which):
    monkeypatch.setattr("actors.graders.processes._STALL_SECONDS", 1.0)
    monkeypatch.setattr("actors.graders.processes._KILL_SECONDS", 0.0)
    before = set(psutil.Process().children(recursive=True))
    with GraderProcesses(workers=1, deadline=0.3) as processes:
        (grade,) = processes.grade(PROCESS_ID, "", [""])
        worker = psutil.Process(int(grade.extracted))
        ours = set(psutil.Process().children(recursive=True)) - before | {worker}
        server = {process for process in [worker.parent()] if process.pid != os.getpid()}
        for process in ours | server if which == "all" else server:
            process.suspend()
        if which == "the one that forks the others":
            worker.kill()
        grades = processes.grade(PROCESS_ID, "", ["", ""])
        assert [grade.reason for grade in grades] == [Reason.OK] * 2
        assert grades[0].extracted != str(worker.pid)


def test_threads_share_the_processes(processes):
    def grade(number: int) -> list[bool]:
        answers = [rf"\boxed{{x+{number}}}", rf"\boxed{{x+{number + 1}}}"]
        return [g.correct for g in processes.grade("math", f"{number}+x", answers)]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(grade, range(40))) == [[True, False]] * 40


def test_closed_processes_refuse_work_and_are_gone():
    processes = GraderProcesses(workers=2, deadline=1.5)
    pid = int(processes.grade(PROCESS_ID, "", [""])[0].extracted)
    assert psutil.pid_exists(pid)
    processes.close()
    assert eventually(lambda: not psutil.pid_exists(pid))
    with pytest.raises(RuntimeError, match="closed"):
        processes.grade(PROCESS_ID, "", [""])


PARENT = f"""
import time
from actors.graders.processes import GraderProcesses
processes = GraderProcesses(workers=2, deadline=600)
print(processes.grade({PROCESS_ID!r}, "", [""])[0].extracted, flush=True)
processes.grade({MISBEHAVE!r}, "", ["count"])
"""


def test_processes_die_with_a_parent_that_is_killed():
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=root, stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        children = psutil.Process(parent.pid).children(recursive=True)
        assert pid in [child.pid for child in children]
    finally:
        parent.kill()
        parent.wait()
    assert eventually(lambda: not any(child.is_running() for child in children)), children


HUGE = [
    TOWER,
    r"\boxed{10^{1000000000}}",
    r"\boxed{1e1000000000}",
    r"\boxed{" + "9" * 1_000_000 + "}",
    r"\boxed{" + "{" * 500_000 + "x" + "}" * 500_000 + "}",
    r"\boxed{" + "(" * 300 + "x+1" + ")" * 300 + "}",
    r"\boxed{" + r"\sqrt{" * 200 + "x" + "}" * 200 + "}",
    r"\boxed{" + r"\frac{1}{" * 100 + "x" + "}" * 100 + "}",
    r"\boxed{" + "+".join(["x"] * 400) + "}",
    r"\boxed{100000000!}",
    r"\boxed{\sum_{n=1}^{1000000000} n^{n}}",
    r"\boxed{" * 100_000,
]


@pytest.mark.parametrize("gold", ["12", "x+1", "(x, y)", "[0, \\infty)"])
def test_huge_answers_come_back_wrong(processes, gold):
    grades = processes.grade("math", gold, HUGE)
    assert len(grades) == len(HUGE)
    assert not any(grade.correct for grade in grades)
    assert processes.grade("math", gold, [rf"\boxed{{{gold}}}"])[0].correct


def test_hostile_expressions_all_get_a_grade(processes):
    draw = random.Random(7)
    responses = [
        "\\boxed{x" + "".join(draw.choices(PIECES, k=draw.randint(1, 12))) + "}" for _ in range(60)
    ]
    grades = processes.grade("math", r"\frac{x}{2} + \sqrt{y}", responses)
    assert len(grades) == len(responses)
    assert processes.grade("math", "x+1", [r"\boxed{1+x}"])[0].correct
