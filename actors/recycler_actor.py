"""The recycler as a Ray actor: groups come from the object store, prompts go to the controller."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ray

from actors.logs import redirect_output
from actors.waiting import NamedActor, wait_for
from contracts.config import RecycleConfig, RunConfig
from contracts.types import Prompt
from recycler.recycle import recycle

if TYPE_CHECKING:
    from ray import ObjectRef

    from contracts.types import Group


class RecyclerActor:
    """Runs in a process of its own and fetches groups there, past the driver.

    Args:
        config: what is made of groups.
        deadline: seconds that fetching a batch of groups may take.
        log: file of the process's output.
    """

    def __init__(self, config: RecycleConfig, deadline: float, log: Path) -> None:
        redirect_output(log)
        self._config = config
        self._deadline = deadline

    def ready(self) -> bool:
        """Answers once the actor is up."""
        return True

    def recycle(self, refs: Sequence[ObjectRef[Group]], seed: int) -> list[Prompt]:
        """Judge and reflection prompts of the groups behind ``refs``."""
        groups = wait_for(refs, seconds=self._deadline, what="groups to recycle")
        return recycle(groups, self._config, seed)


class Recycler:
    """The recycler as the controller sees it: every call has a deadline.

    Args:
        actor: the started actor, with its name and log.
        deadline: seconds that recycling a batch may take.
    """

    def __init__(self, actor: NamedActor, *, deadline: float) -> None:
        self._actor, self._deadline = actor, deadline

    @classmethod
    def start(cls, config: RunConfig, log_folder: Path) -> Recycler:
        """Start the actor.

        It holds nothing between calls, so Ray may start it anew and ask it once more.

        Raises:
            DeadlineError: it did not start in time.
        """
        remote = ray.remote(num_cpus=0, max_restarts=3, max_task_retries=3)(RecyclerActor)
        log = log_folder.absolute() / "recycler.log"
        handle = remote.remote(config.recycle, config.deadlines.grade, log)
        actor = NamedActor(handle, "recycler", log)
        wait_for(
            handle.ready.remote(),
            seconds=config.deadlines.start,
            what="the start of the recycler",
            actors=[actor],
        )
        return cls(actor, deadline=config.deadlines.grade)

    def recycle(self, refs: Sequence[ObjectRef[Group]], seed: int) -> list[Prompt]:
        """Judge and reflection prompts of the groups behind ``refs``, which stay where they are.

        Raises:
            DeadlineError: a group, or the prompts, did not come in time.
            ActorError: the actor died more often than it is restarted.
        """
        # References inside a list reach the actor as references: the driver fetches nothing.
        prompts: list[Prompt] = wait_for(
            self._actor.handle.recycle.remote(list(refs), seed),
            seconds=self._deadline,
            what="recycled prompts",
            actors=[self._actor],
        )
        return prompts

    def stop(self) -> None:
        """End the actor. It has nothing to put in order."""
        ray.kill(self._actor.handle)
