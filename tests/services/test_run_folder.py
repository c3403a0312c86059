import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import UserError
from contracts.types import (
    Completion,
    Grade,
    Message,
    Objective,
    ObjectiveReport,
    Prompt,
    Reason,
    Rollout,
    Task,
    UpdateReport,
    VersionSpan,
)
from services.records import Recycled, Staleness, Update
from services.run_folder import (
    EvaluationRecord,
    ExampleRecord,
    ModelSummary,
    RolloutRecord,
    RunFolder,
    StepMetrics,
    StepTiming,
    Summary,
    held,
    read_run,
)
from services.statistics import Score, proportion


def step_metrics(step: int, reward: float = 0.5) -> StepMetrics:
    return StepMetrics(
        step=step,
        version=step,
        epoch=0,
        groups={Objective.SOLVE: 4},
        reward={Objective.SOLVE: reward},
        reasons={Reason.OK: 30, Reason.NO_ANSWER: 2},
        recycled=Recycled(pointwise={"yes": 2, "no": 2}),
        completion_tokens=640,
        staleness=Staleness(mean=0.0, max=0),
        update=Update(updates=1, learning_rate=3e-4, gradient_norm=0.7, tokens=640),
    )


def rollout() -> Rollout:
    task = Task("12+3", "12+3", "15")
    prompt = Prompt(
        "p1", (Message("user", "Solve 12+3"),), Objective.SOLVE, "15", "math", task, "terse-solve-1"
    )
    completion = Completion(
        id="p1/0",
        tokens=np.arange(5, dtype=np.int32),
        logprobs=np.zeros(5, dtype=np.float32),
        finish="stop",
        spans=(VersionSpan(0, 2, 3), VersionSpan(2, 5, 4)),
        text="\\boxed{15}",
    )
    return Rollout(prompt, completion, Grade(1.0, True, "15", Reason.OK))


def summary() -> Summary:
    before = {"policy_accuracy": proportion(1, 2), "judge_accuracy": Score.nothing()}
    return Summary(
        status="interrupted",
        steps=3,
        seconds=12.5,
        seed=0,
        model=ModelSummary(name="tiny", parameters=300_160, warm_start="Taught by 850 updates."),
        before=before,
        versions={"torch": "2.13.0"},
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "runs" / "demo", "name: demo\n")
    metrics, timing = step_metrics(1), StepTiming(step=1, seconds=0.1, tokens_per_second=99.5)
    evaluation = EvaluationRecord(
        step=0, mode="greedy", tasks=2, scores={"policy_accuracy": proportion(1, 2)}
    )
    read, example = RolloutRecord.of(1, rollout()), ExampleRecord.of("before", rollout())
    folder.append_metrics(metrics)
    folder.append_timing(timing)
    folder.append_evaluation(evaluation)
    folder.append_rollouts([read])
    folder.append_examples([example])
    folder.write_summary(summary())

    run = read_run(folder.path)
    assert run.name == "demo"
    assert run.config_text == "name: demo\n"
    assert run.metrics == (metrics,)
    assert run.timing == (timing,)
    assert run.evaluations == (evaluation,)
    assert run.rollouts == (read,)
    assert run.examples == (example,)
    assert run.summary == summary()
    assert run.notes == ()
    assert folder.logs.is_dir()


def test_a_rollout_record_keeps_what_was_graded_and_the_oldest_version() -> None:
    record = RolloutRecord.of(7, rollout())
    assert (record.step, record.prompt, record.extracted, record.version) == (
        7,
        "Solve 12+3",
        "15",
        3,
    )


def test_lines_are_the_same_for_the_same_values_whatever_the_order(tmp_path: Path) -> None:
    one = step_metrics(1).model_copy(
        update={"reward": {Objective.SOLVE: 0.1, Objective.POINTWISE: 1 / 3}}
    )
    two = step_metrics(1).model_copy(
        update={"reward": {Objective.POINTWISE: 1 / 3, Objective.SOLVE: 0.1}}
    )
    assert one.line() == two.line()
    assert json.loads(one.line())["reward"]["pointwise"] == 1 / 3
    assert list(json.loads(one.line())) == sorted(json.loads(one.line()))


def test_update_is_written_without_its_clock() -> None:
    part = ObjectiveReport(0.1, 1.0, 0.0, 0.0, 0.001, 0.0, 1.5, 100, 8)
    report = UpdateReport(1, 3e-4, 0.5, 100, seconds=9.75, objectives={Objective.SOLVE: part})
    update = Update.of(report)
    assert update.objectives[Objective.SOLVE].entropy == 1.5
    assert "9.75" not in update.line()
    assert "seconds" not in update.line()


def test_a_diverged_number_is_null_in_the_file_and_nan_when_read(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "")
    folder.append_metrics(step_metrics(1, reward=float("nan")))
    text = (folder.path / "metrics.jsonl").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["reward"]["solve"] is None
    assert math.isnan(read_run(folder.path).metrics[0].reward[Objective.SOLVE])


@pytest.mark.parametrize("torn", [b'{"step": 2, "ver', b"\x00\x00\x00", b'{"step": 2}'])
def test_a_torn_last_line_is_left_out_with_a_note(tmp_path: Path, torn: bytes) -> None:
    folder = RunFolder.create(tmp_path / "run", "")
    folder.append_metrics(step_metrics(1))
    with (folder.path / "metrics.jsonl").open("ab") as file:
        file.write(torn)
    run = read_run(folder.path)
    assert [m.step for m in run.metrics] == [1]
    assert len(run.notes) == 1
    assert "metrics.jsonl" in run.notes[0]


def test_a_bad_line_in_the_middle_is_named(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "")
    with (folder.path / "timing.jsonl").open("a") as file:
        file.write('{"step": 1, "seconds": "fast", "tokens_per_second": 1}\n{}\n')
    with pytest.raises(UserError, match=r"timing\.jsonl, line 1: seconds") as caught:
        read_run(folder.path)
    assert caught.value.exit_code == 2


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.yaml"):
        read_run(tmp_path)


def test_an_existing_run_is_replaced_only_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "run"
    folder = RunFolder.create(path, "old")
    folder.append_metrics(step_metrics(1))
    folder.write_summary(summary())
    (folder.logs / "engine.log").write_text("chatter")
    with pytest.raises(UserError, match="already"):
        RunFolder.create(path, "new")
    assert read_run(path).config_text == "old"

    RunFolder.create(path, "new", overwrite=True)
    run = read_run(path)
    assert (run.config_text, run.metrics, run.summary) == ("new", (), None)
    assert not (path / "logs" / "engine.log").exists()


def test_a_folder_of_something_else_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds no run"):
        RunFolder.create(tmp_path, "", overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_resume_takes_back_what_came_after_the_step(tmp_path: Path) -> None:
    whole = RunFolder.create(tmp_path / "whole", "")
    cut = RunFolder.create(tmp_path / "cut", "")
    for step in (1, 2, 3):
        for folder in (whole, cut):
            folder.append_metrics(step_metrics(step, reward=step / 7))
            folder.append_timing(StepTiming(step=step, seconds=1.0, tokens_per_second=5.0))
    with (cut.path / "metrics.jsonl").open("a") as file:
        file.write('{"torn')
    cut.write_summary(summary())

    resumed = RunFolder.resume(cut.path, "steps: 9\n", step=2, evaluations=0)
    assert read_run(cut.path).summary is None
    assert read_run(cut.path).config_text == "steps: 9\n"
    resumed.append_metrics(step_metrics(3, reward=3 / 7))
    assert (cut.path / "metrics.jsonl").read_bytes() == (whole.path / "metrics.jsonl").read_bytes()
    assert [t.step for t in read_run(cut.path).timing] == [1, 2]


def test_a_killed_writer_leaves_whole_lines(tmp_path: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        from services.run_folder import RunFolder, StepTiming

        folder = RunFolder.create(Path(sys.argv[1]), "")
        for step in range(1_000_000):
            folder.append_timing(StepTiming(step=step, seconds=1 / 3, tokens_per_second=2 / 3))
            if step == 50:
                print("going", flush=True)
    """
    path = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"going\n"
        process.send_signal(signal.SIGKILL)
    steps = [timing.step for timing in read_run(path).timing]
    assert len(steps) > 50
    assert steps == list(range(len(steps)))


def test_summary_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder.create(tmp_path / "run", "")
    folder.write_summary(summary())

    def no_space(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="no space"):
        folder.write_summary(summary().model_copy(update={"status": "finished"}))
    assert read_run(folder.path).summary == summary()


def test_a_folder_is_held_by_one_run_at_a_time(tmp_path: Path) -> None:
    with held(tmp_path / "run"):
        with (
            pytest.raises(UserError, match="a run is writing to this folder now"),
            held(tmp_path / "run"),
        ):
            pass
        with held(tmp_path / "another"):
            pass
    with held(tmp_path / "run"):
        pass


def test_replacing_a_run_takes_its_checkpoints_and_its_model_away(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "old").path
    for name in ("checkpoints", "model"):
        (folder / name).mkdir()
        (folder / name / "file").touch()
    RunFolder.create(folder, "new", overwrite=True)
    assert not (folder / "checkpoints").exists()
    assert not (folder / "model").exists()
