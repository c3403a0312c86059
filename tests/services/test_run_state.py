"""The run's part of a checkpoint: nothing is lost on the way to a file and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from contracts.types import Candidate, Message, Objective, Prompt, Task, TextPart
from contracts.types import ImagePart as Image
from learner.checkpoint import Checkpoint, CheckpointError, Writer, newest
from services.evaluation import BankEntry
from services.run_state import FILE, RunState
from services.tasks.stream import StreamState

TASK = Task("t/1", "1 + 1 = ?", "2", images=("a.png",))
SHOWN = Candidate(TASK, "c", "2", "so 2 \\boxed{2}", correct=True)
PROMPT = Prompt(
    id="3.0/t/1",
    messages=(Message("system", "Be ü."), Message("user", (TextPart("look"), Image("a.png")))),
    objective=Objective.PAIRWISE,
    label="A",
    verifier="verdict",
    task=TASK,
    template="terse",
    parents=("c", "d"),
    shown=("2", "3"),
    shown_correct=(True, False),
)
STATE = RunState(
    step=7,
    version=14,
    tasks=StreamState(epoch=1, position=3, seed=0, tasks="ab"),
    pending=(PROMPT,),
    bank=(BankEntry(TASK, SHOWN, None),),
    evaluations=3,
)


def saved(root: Path, extras: dict[str, bytes]) -> Checkpoint:
    writer = Writer(root, 7)
    writer.begin()
    writer.write_extras(extras)
    writer.publish({})
    found = newest(root)
    assert found is not None
    return found


def test_what_comes_out_of_a_checkpoint_is_what_went_in(tmp_path: Path) -> None:
    assert RunState.of(saved(tmp_path, STATE.extras())) == STATE


def test_a_checkpoint_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"run\.json"):
        RunState.of(saved(tmp_path, {}))


def test_a_state_of_another_form_is_refused(tmp_path: Path) -> None:
    torn = STATE.extras()[FILE].replace(b'"version":14', b'"versions":14')
    with pytest.raises(ValidationError, match="versions"):
        RunState.of(saved(tmp_path, {FILE: torn}))
