"""Two real ranks behind the learner group: updates, export, and the death of one of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray
from safetensors.torch import load_file
from small_runs import prompt, small_config

from actors.learner_group import LearnerGroup
from actors.refs import GroupRef
from actors.waiting import ActorError, wait_for
from contracts.errors import UserError
from contracts.types import Completion, Grade, Group, GroupSummary, Objective, Reason, VersionSpan
from learner.checkpoint import CheckpointError, claimed, described, newest
from learner.digests import digests_of

pytestmark = pytest.mark.e2e


def group(number: int, length: int, size: int = 4) -> GroupRef:
    """A graded group, every second completion right."""
    draw = np.random.default_rng(number)
    completions = tuple(
        Completion(
            id=f"{number}/{index}",
            tokens=draw.integers(5, 100, length).astype(np.int32),
            logprobs=np.full(length, -4.8, dtype=np.float32),
            finish="stop",
            spans=(VersionSpan(0, length, 0),),
            text="",
        )
        for index in range(size)
    )
    grades = tuple(Grade(float(i % 2), i % 2 == 1, None, Reason.OK) for i in range(size))
    tokens = draw.integers(5, 100, 9).astype(np.int32)
    whole = Group(prompt("1 + 1", number), tokens, completions, grades)
    return GroupRef(ray.put(whole), GroupSummary.of(whole))


def test_two_ranks_from_start_to_the_death_of_one(
    session: Path, random_model_folder: Path, tmp_path: Path
) -> None:
    learner = LearnerGroup.start(small_config(ranks=2), random_model_folder, session)
    try:
        before = learner.checksums()
        saved = load_file(random_model_folder / "model.safetensors")
        assert before == digests_of(saved.items())
        # The second minibatch has one group: one of the ranks has none.
        report = learner.update([[group(1, 20), group(2, 5), group(3, 5)], [group(4, 7)]])
        assert report.updates == 2
        # The last token's log-probability counts too: each completion token is trained.
        assert report.tokens == 4 * (20 + 5 + 5 + 7)
        after = learner.checksums()
        assert after.keys() == before.keys()
        assert all(after[name] != before[name] for name in before)
        learner.export(tmp_path / "model", card="# By two ranks")
        exported = load_file(tmp_path / "model" / "model.safetensors")
        assert digests_of(exported.items()) == after
        assert (tmp_path / "model" / "README.md").read_text() == "# By two ranks"

        # Every rank takes other weights: with none at all, nothing is trained.
        learner.weigh(dict.fromkeys(Objective, 0.0))
        assert learner.update([[group(8, 6), group(9, 6)]]).updates == 0
        learner.weigh(dict.fromkeys(Objective, 0.5))
        assert learner.update([[group(8, 6), group(9, 6)]]).updates == 1

        pids = [
            wait_for(a.handle.__ray_call__.remote(lambda _: os.getpid()), seconds=60, what="a pid")
            for a in learner.actors
        ]
        processes = [psutil.Process(pid) for pid in pids]
        processes[1].kill()
        with pytest.raises(ActorError) as caught:
            learner.update([[group(5, 6), group(6, 6)]])
        assert str(caught.value).startswith("learner rank ")
        assert "learner-" in str(caught.value)
    finally:
        learner.stop()
    assert not psutil.wait_procs(processes, timeout=60)[1]


def test_checkpoints_of_a_group_travel_between_numbers_of_ranks(
    session: Path, random_model_folder: Path, tmp_path: Path
) -> None:
    root = tmp_path / "checkpoints"
    with started(2, random_model_folder, session) as pair:
        pair.update([[group(1, 9), group(2, 5)]])
        at_one = pair.checksums()
        folder = pair.save(root, 1, {"position": b"task 2"}, card="# Made by a test")
        # What goes wrong with files is said as it is, and the run may go on.
        elsewhere = tmp_path / "of another run"
        with claimed(elsewhere), pytest.raises(UserError, match="another run writes checkpoints"):
            pair.save(elsewhere, 2, {})
        with pytest.raises(UserError, match="another run writes checkpoints"), claimed(root):
            pass
        (tmp_path / "file").touch()
        with pytest.raises(CheckpointError, match=r"could not be written.*Not a directory"):
            pair.save(tmp_path / "file" / "checkpoints", 2, {})
        with pytest.raises(CheckpointError, match=r"could not be written.*Not a directory"):
            pair.export(tmp_path / "file" / "model")
        assert newest(root, pytest.fail).folder == folder
        pair.update([[group(3, 6), group(4, 7)]])
        pair.save(root, 2, {})
        at_two = pair.checksums()
    checkpoint = newest(root, pytest.fail)
    assert checkpoint is not None
    assert checkpoint.step == 2
    first = described(folder)
    assert first.extra("position") == b"task 2"
    assert (first.model / "README.md").read_text() == "# Made by a test"
    own = "own_advantage:of_four"
    with started(1, random_model_folder, session, advantage=own) as alone:
        alone.load(checkpoint)
        assert alone.checksums() == at_two
        weights = checkpoint.learner / "rank-00001.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1])
        with pytest.raises(CheckpointError, match=r"rank-00001\.safetensors is damaged"):
            alone.load(checkpoint)
        alone.load(first)
        assert alone.checksums() == at_one
        report = alone.update([[group(3, 6), group(4, 7)]])
        assert report.updates == 1
        with pytest.raises(UserError, match=f"'{own}' gave shape .* for 5 rewards"):
            alone.update([[group(5, 6, size=5)]])


@contextmanager
def started(ranks: int, folder: Path, logs: Path, **changes: str) -> Iterator[LearnerGroup]:
    config = small_config(ranks=ranks)
    learner_config = config.learner.model_copy(update=changes)
    config = config.model_copy(update={"learner": learner_config})
    learner = LearnerGroup.start(config, folder, logs)
    try:
        yield learner
    finally:
        learner.stop()
