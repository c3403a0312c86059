from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import UserError
from contracts.types import Task
from services.tasks import TaskStream


def tasks_for(count: int) -> list[Task]:
    return [Task(id=str(i), question=f"q{i}", gold="1") for i in range(count)]


@settings(max_examples=150, deadline=None)
@given(
    size=st.integers(1, 12),
    takes=st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=12),
    seed=st.integers(-3, 2**40),
)
def test_every_task_once_per_epoch_across_restarts(
    size: int, takes: list[tuple[int, bool]], seed: int
) -> None:
    tasks = tasks_for(size)
    stream = TaskStream(tasks, seed)
    taken: list[Task] = []
    for count, restart in takes:
        taken += stream.take(count)
        if restart:
            state = stream.state()
            stream = TaskStream(tasks, seed)
            stream.restore(state)
    assert len(taken) == sum(count for count, _ in takes)
    assert (stream.epoch, stream.position) == divmod(len(taken), size)
    for start in range(0, len(taken), size):
        epoch = Counter(task.id for task in taken[start : start + size])
        assert max(epoch.values()) == 1
    # Restarts change nothing.
    assert taken == TaskStream(tasks, seed).take(len(taken))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    stream = TaskStream(tasks_for(50), 0)
    first, second = stream.take(50), stream.take(50)
    assert first != second
    assert set(first) == set(second)
    assert first != TaskStream(tasks_for(50), 1).take(50)


def test_a_state_of_other_tasks_or_another_seed_is_refused() -> None:
    state = TaskStream(tasks_for(5), 0).state()
    with pytest.raises(UserError, match="other tasks"):
        TaskStream(tasks_for(6), 0).restore(state)
    with pytest.raises(UserError, match=r"another tasks\.seed"):
        TaskStream(tasks_for(5), 1).restore(state)


def test_a_stream_needs_tasks() -> None:
    with pytest.raises(UserError, match="no task to train on"):
        TaskStream([], 0)
