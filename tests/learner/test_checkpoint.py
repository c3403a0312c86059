"""Truth 9: a checkpoint is whole or it is not there. Files only; the writer is really killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import UserError
from learner.checkpoint import (
    MANIFEST,
    CheckpointError,
    Writer,
    claimed,
    newest,
    prune,
    room_for,
    verified,
)

STAGES = (
    "begun",
    "files written",
    "extras written",
    "hashed",
    "manifest written",
    "flushed",
    "renamed",
    "pointed to",
    "pruning",
)

CHILD = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from test_checkpoint import write
def die(stage):
    if stage == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)
write(Path(sys.argv[1]), int(sys.argv[2]), die)
"""


def write(root: Path, step: int, at=lambda stage: None, keep=2):
    """A checkpoint whose every file says which step it is of."""
    writer = Writer(root, step, at)
    writer.begin()
    (writer.folder / "learner" / "rank-00000.safetensors").write_bytes(b"weights %d" % step)
    at("files written")
    writer.write_extras({"position": b"task %d" % step})
    checkpoint = writer.publish({"updates_done": step})
    prune(root, keep, at)
    return checkpoint


def assert_whole(checkpoint, step):
    assert checkpoint is not None
    assert checkpoint.step == step
    assert checkpoint.facts == {"updates_done": step}
    assert checkpoint.extra("position") == b"task %d" % step
    assert (checkpoint.learner / "rank-00000.safetensors").read_bytes() == b"weights %d" % step


def test_there_is_none_at_first(tmp_path):
    assert newest(tmp_path / "never made") is None
    assert newest(tmp_path) is None


def test_the_latest_is_found_and_older_ones_are_pruned(tmp_path):
    for step in (1, 2, 3, 10):
        write(tmp_path, step)
        assert_whole(newest(tmp_path), step)
    assert sorted(p.name for p in tmp_path.glob("*step*")) == ["step-00000003", "step-00000010"]


def write_and_die(root: Path, step: int, stage: str):
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(root), str(step), stage, str(Path(__file__).parent)],
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert child.returncode == -9


@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_at_any_stage_leaves_a_whole_checkpoint(tmp_path, stage):
    for step in (1, 2):
        write(tmp_path, step)
    write_and_die(tmp_path, 3, stage)
    complained = []
    found = newest(tmp_path, complained.append)
    assert_whole(found, 3 if STAGES.index(stage) >= STAGES.index("pointed to") else 2)
    assert complained == []
    # The next save clears the remains away and is in turn the latest.
    write(tmp_path, 4)
    assert_whole(newest(tmp_path), 4)
    assert not list(tmp_path.glob(".step*"))


def test_a_kill_while_a_checkpoint_is_replaced_leaves_the_old_one(tmp_path):
    for step in (1, 2):
        write(tmp_path, step)
    write_and_die(tmp_path, 2, "old one aside")
    assert_whole(newest(tmp_path, pytest.fail), 2)
    # It is put back by the next save, and counts when old ones are pruned.
    write(tmp_path, 3)
    assert sorted(p.name for p in tmp_path.glob("*step*")) == ["step-00000002", "step-00000003"]
    assert_whole(verified(tmp_path / "step-00000002"), 2)


@pytest.mark.parametrize("harm", ["shortened", "flipped", "removed", "added", "no manifest"])
def test_a_damaged_checkpoint_is_skipped_for_the_one_before(tmp_path, harm):
    write(tmp_path, 1)
    folder = write(tmp_path, 2).folder
    file = folder / "learner" / "rank-00000.safetensors"
    if harm == "shortened":
        file.write_bytes(b"weight")
    elif harm == "flipped":
        file.write_bytes(b"weights 9")
    elif harm == "removed":
        file.unlink()
    elif harm == "added":
        (folder / "learner" / "rank-00001.safetensors").write_bytes(b"")
    else:
        (folder / MANIFEST).unlink()
    with pytest.raises(CheckpointError, match="step-00000002"):
        verified(folder)
    complained = []
    assert_whole(newest(tmp_path, complained.append), 1)
    (message,) = complained
    assert "step-00000002" in message
    assert "the one before" in message


def test_saving_a_step_again_replaces_it(tmp_path):
    write(tmp_path, 5)
    writer = Writer(tmp_path, 5)
    writer.begin()
    writer.write_extras({"position": b"anew"})
    writer.publish({})
    found = newest(tmp_path)
    assert found is not None
    assert found.extra("position") == b"anew"


def test_pruning_spares_the_one_pointed_to(tmp_path):
    for step in (1, 2, 3):
        write(tmp_path, step, keep=5)
    write(tmp_path, 1, keep=5)
    prune(tmp_path, keep=1)
    assert_whole(newest(tmp_path), 1)
    assert sorted(p.name for p in tmp_path.glob("step*")) == ["step-00000001", "step-00000003"]


def test_what_was_not_saved_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="holds no 'pending'"):
        write(tmp_path, 1).extra("pending")


def test_two_writers_on_one_folder_are_refused(tmp_path):
    with (
        claimed(tmp_path),
        pytest.raises(UserError, match="another run writes checkpoints here"),
        claimed(tmp_path),
    ):
        pass
    with claimed(tmp_path):
        pass


def test_too_little_room_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(CheckpointError, match=r"no room for a checkpoint.*MiB needed"):
        room_for(tmp_path, 1 << 60)
    room_for(tmp_path, 1)
