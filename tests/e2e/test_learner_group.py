"""Two real ranks behind the learner group: updates, export, and the death of one of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray
from safetensors.torch import load_file
from small_runs import prompt, small_config

from actors.learner_group import LearnerGroup
from actors.refs import GroupRef
from actors.transfer.digests import digests_of
from actors.waiting import ActorError, wait_for
from contracts.types import Completion, Grade, Group, GroupSummary, Reason, VersionSpan

pytestmark = pytest.mark.e2e


def group(number: int, length: int) -> GroupRef:
    """A graded group of four completions, two of them right."""
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
        for index in range(4)
    )
    grades = tuple(Grade(float(i % 2), i % 2 == 1, None, Reason.OK) for i in range(4))
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
        learner.export(tmp_path / "model")
        exported = load_file(tmp_path / "model" / "model.safetensors")
        assert digests_of(exported.items()) == after

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
