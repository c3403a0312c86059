"""The order in which tasks are trained: seeded, every task once per epoch, resumable."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from contracts.errors import UserError
from contracts.types import Task
from services.seeds import derive_seed


@dataclass(frozen=True)
class StreamState:
    """Where a stream is. ``tasks`` is a fingerprint of the tasks, in their order."""

    epoch: int
    position: int
    seed: int
    tasks: str


class TaskStream:
    """Endless batches of tasks: each epoch is a new permutation, every task in it once.

    Args:
        tasks: the tasks to train on, at least one.
        seed: of the permutations. Epoch e's depends on the seed and e alone.
    """

    def __init__(self, tasks: Sequence[Task], seed: int) -> None:
        if not tasks:
            raise UserError("there is no task to train on", remedy="lower tasks.held_out")
        self._tasks = tasks
        self._seed = seed
        self._epoch = 0
        self._position = 0
        self._order = permutation(len(tasks), seed, 0)

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self._epoch

    @property
    def position(self) -> int:
        """Tasks taken in the epoch under way, below the number of tasks."""
        return self._position

    def take(self, n: int) -> list[Task]:
        """The next ``n`` tasks, going on into the next epoch where this one ends."""
        taken: list[Task] = []
        while len(taken) < n:
            stop = min(self._position + n - len(taken), len(self._tasks))
            taken += [self._tasks[i] for i in self._order[self._position : stop]]
            self._position = stop
            if stop == len(self._tasks):
                self._start_epoch(self._epoch + 1, 0)
        return taken

    def state(self) -> StreamState:
        """Where the stream is. Belongs into a checkpoint."""
        return StreamState(self._epoch, self._position, self._seed, self._fingerprint())

    def restore(self, state: StreamState) -> None:
        """Go on where ``state`` was taken.

        Raises:
            UserError: the state is of other tasks or of another seed; going on would train
                some tasks twice and others never.
        """
        if state.seed != self._seed or state.tasks != self._fingerprint():
            raise UserError(
                "the checkpoint was made with other tasks or another tasks.seed",
                remedy="resume with the configuration and data of the run, or start a new run",
            )
        self._start_epoch(state.epoch, state.position)

    def _start_epoch(self, epoch: int, position: int) -> None:
        self._epoch, self._position = epoch, position
        self._order = permutation(len(self._tasks), self._seed, epoch)

    def _fingerprint(self) -> str:
        digest = hashlib.blake2b(digest_size=8)
        for task in self._tasks:
            digest.update(f"{task.id}\0{task.question}\0{task.gold}\0".encode())
        return digest.hexdigest()


def permutation(tasks: int, seed: int, epoch: int) -> list[int]:
    """The order of ``tasks`` tasks in an epoch; depends on nothing else."""
    generator = np.random.default_rng(derive_seed(seed, "task order", epoch))
    return [int(i) for i in generator.permutation(tasks)]


def order_of_tasks(ids: Sequence[str], seed: int) -> Iterator[str]:
    """Ids of tasks in the order in which a stream gives them, without end."""
    for epoch in count():
        yield from (ids[index] for index in permutation(len(ids), seed, epoch))
