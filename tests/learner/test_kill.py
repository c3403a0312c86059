"""Truth 9 with the real learner: killed anywhere in a save, it goes on from the last good one."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from children import child, ended
from learner_ranks import free_port, run_ranks
from small_learner import BASE, batch, learner_of

from contracts.errors import UserError
from learner.checkpoint import CheckpointError, described, newest
from learner.engine import Learner

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STAGES = (
    "begun",
    "learner written",
    "model written",
    "extras written",
    "hashed",
    "manifest written",
    "flushed",
    "old one aside",
    "renamed",
    "pointed to",
    "pruning",
)
"""Of a save that replaces a checkpoint of the same step and prunes another one."""


def one_update(learner, number):
    return replace(learner.update([batch(number, supervised=True)]), seconds=0.0)


@pytest.fixture(scope="module")
def uninterrupted(random_model_folder, tmp_path_factory):
    """(checkpoints of updates 1 and 2, reports and checksums after each of four updates)."""
    root = tmp_path_factory.mktemp("uninterrupted")
    reports, sums = {}, {}
    with learner_of(random_model_folder) as learner:
        for number in (1, 2, 3, 4):
            reports[number], sums[number] = one_update(learner, number), learner.checksums()
            if number < 3:
                learner.save(root, number, {"position": b"%d" % number})
    return root, reports, sums


@pytest.fixture
def root(uninterrupted, tmp_path):
    """Checkpoints of updates 1 and 2, and one of 3 that nothing points to."""
    copy = tmp_path / "checkpoints"
    shutil.copytree(uninterrupted[0], copy)
    shutil.copytree(copy / "step-00000002", copy / "step-00000003")
    return copy


def resumed(folder, root, ranks, rank, port):
    """A rank that has taken up the newest checkpoint."""
    learner = Learner(
        folder,
        BASE,
        dtype="float32",
        total_updates=12,
        seed=0,
        rank=rank,
        world_size=ranks,
        port=port,
    )
    learner.load(newest(root).folder)
    return learner


def update_and_save(folder, root, at, ranks=1, rank=0, port=0):
    """From the newest checkpoint, update 3 and its checkpoint; ``at(stage)`` is told all."""
    learner = resumed(folder, root, ranks, rank, port)
    learner.update([batch(3, supervised=True) if rank == 0 else []])
    learner.save(root, 3, {"position": b"3"}, keep=2, at=at)
    learner.close()


def die_at(stage, folder, root, ranks=1, rank=0, port=0, victim=0):
    def at(reached):
        if reached == stage and rank == victim:
            os.kill(os.getpid(), signal.SIGKILL)

    update_and_save(folder, root, at, ranks, rank, port)


def assert_goes_on(folder, root, uninterrupted, *, saved):
    """A new learner takes up ``saved`` and does what the uninterrupted one did after it."""
    _, reports, sums = uninterrupted
    checkpoint = newest(root, pytest.fail)
    assert checkpoint.extra("position") == b"%d" % saved
    with learner_of(folder) as learner:
        learner.load(checkpoint.folder)
        assert learner.updates_done == saved
        assert learner.checksums() == sums[saved]
        for number in range(saved + 1, 5):
            assert one_update(learner, number) == reports[number]
            assert learner.checksums() == sums[number]
            learner.save(root, number, {"position": b"%d" % number})
    # What the killed one left lying about is gone, and it is in nobody's way.
    assert not list(root.glob(".step*"))
    assert newest(root, pytest.fail).step == 4


def test_these_are_all_stages_of_a_save(random_model_folder, root):
    reached = []
    update_and_save(random_model_folder, root, reached.append)
    assert tuple(reached) == STAGES
    assert newest(root, pytest.fail).step == 3


@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_at_any_stage_of_a_save(random_model_folder, root, uninterrupted, stage):
    assert ended([child(die_at, stage, random_model_folder, root)]) == [-signal.SIGKILL]
    saved = 3 if STAGES.index(stage) >= STAGES.index("pointed to") else 2
    assert_goes_on(random_model_folder, root, uninterrupted, saved=saved)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_kill_of_one_of_two_ranks(random_model_folder, root, uninterrupted, victim):
    port = free_port()
    ranks = [
        child(die_at, "learner written", random_model_folder, root, 2, rank, port, victim)
        for rank in (0, 1)
    ]
    codes = ended(ranks)
    assert codes[victim] == -signal.SIGKILL
    # The other one does not take half a checkpoint for a whole one: it fails too.
    assert codes[1 - victim] == 1
    assert_goes_on(random_model_folder, root, uninterrupted, saved=2)


@contextmanager
def no_longer_files():
    """Within it, after the call of what it yields, no file can grow: as with a quota used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fail_after(stage, folder, root):
    with learner_of(folder) as learner:
        learner.load(newest(root).folder)
        one_update(learner, 3)
        sums = learner.checksums()
        with no_longer_files() as from_here, pytest.raises(CheckpointError) as caught:
            learner.save(root, 3, {"position": b"3"}, at=lambda s: s == stage and from_here())
        assert "the checkpoint could not be written: " in str(caught.value)
        assert "File too large" in str(caught.value)
        assert newest(root, pytest.fail).step == 2
        assert not list(root.glob(".step*"))
        assert learner.checksums() == sums
        one_update(learner, 4)
        learner.save(root, 4, {"position": b"4"})


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("begun", "weights and optimiser"),
        ("learner written", "model"),
        ("model written", "extra"),
        ("hashed", "manifest"),
        ("renamed", "pointer"),
    ],
)
def test_a_file_that_cannot_grow_is_an_error_and_the_run_goes_on(
    random_model_folder, root, uninterrupted, stage, file
):
    assert ended([child(fail_after, stage, random_model_folder, root)]) == [0], file
    checkpoint = newest(root, pytest.fail)
    assert checkpoint.step == 4
    with learner_of(random_model_folder) as learner:
        learner.load(checkpoint.folder)
        assert learner.checksums() == uninterrupted[2][4]


def fail_on_rank_one(rank, ranks, port, folder, root):
    learner = resumed(folder, root, ranks, rank, port)
    with no_longer_files() as from_here, pytest.raises(CheckpointError) as caught:
        if rank == 1:
            from_here()
        learner.save(root, 3, {"position": b"3"})
    learner.update([batch(3, supervised=True) if rank == 0 else []])
    learner.save(root, 3, {"position": b"3"})
    learner.close()
    return str(caught.value)


def test_what_one_rank_cannot_write_every_rank_hears_of(
    random_model_folder, root, uninterrupted, tmp_path
):
    said = run_ranks(fail_on_rank_one, 2, tmp_path, random_model_folder, root)
    assert said[0] == said[1]
    assert "the checkpoint could not be written: " in said[0]
    assert "File too large" in said[0]
    assert newest(root, pytest.fail).facts["updates_done"] == 3


FULL = """
import sys
from pathlib import Path
from small_learner import learner_of
from test_kill import one_update
from learner import saving
from learner.checkpoint import CheckpointError, newest
root, folder = Path(sys.argv[1]), Path(sys.argv[2])
with learner_of(folder) as learner:
    learner.load(newest(root).folder)
    one_update(learner, 3)
    for look_first in (True, False):
        if not look_first:
            # As if another program had taken the room meanwhile.
            saving.room_for = lambda *_: None
        try:
            learner.save(root, 3, {"position": b"3"})
        except CheckpointError as error:
            print(error)
        assert newest(root).step == 2
        assert not list(root.glob(".step*"))
    one_update(learner, 4)
    print(learner.checksums())
"""


def test_a_full_disk(random_model_folder, root, uninterrupted, tmp_path):
    """A file system with room for one checkpoint and a half, in a mount namespace of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sum(f.stat().st_size for f in (root / "step-00000002").rglob("*"))
    mount = f"mount -t tmpfs -o size={size * 3 // 2} tmpfs {disk}"
    unshare = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*unshare, mount], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system of his own")
    program = tmp_path / "full.py"
    program.write_text(FULL)
    script = (
        f"{mount} && cp -r {root}/step-00000002 {root}/latest.json {disk} && "
        f"exec {sys.executable} {program} {disk} {random_model_folder}"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path.cwd())])
    done = subprocess.run(
        [*unshare, script],
        check=False,
        timeout=300,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr
    first, second, sums = done.stdout.splitlines()
    assert "no room for a checkpoint" in first
    assert "MiB free" in first
    assert "the checkpoint could not be written: " in second
    assert "No space left on device" in second
    assert sums == str(uninterrupted[2][4])


def test_two_runs_on_one_folder(random_model_folder, root):
    """The second one is refused for as long as the first one lives, not only while it writes."""
    with learner_of(random_model_folder) as learner:
        learner.load(newest(root).folder)
        learner.save(root, 5, {})
        seen = described(root / "step-00000005")
        assert ended([child(be_refused, random_model_folder, root)]) == [0]
        assert newest(root, pytest.fail) == seen
    assert ended([child(update_and_save, random_model_folder, root, str)]) == [0]


def be_refused(folder, root):
    with learner_of(folder) as learner, pytest.raises(UserError, match="another run writes"):
        learner.save(root, 6, {})
