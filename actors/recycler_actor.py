"""The recycler as a Ray actor: groups come from the object store, prompts go to the controller."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ray

from actors.faults import RestartBudget, Tell
from actors.logs import redirect_output
from actors.place import HEALTH, Place, sign_of_life, wait_until_alive
from actors.waiting import ActorError, LostError, NamedActor, wait_for
from contracts.config import DeadlineConfig, RecycleConfig, RunConfig
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

    @sign_of_life
    def ping(self) -> None:
        """A sign of life, also at work."""

    def recycle(self, refs: Sequence[ObjectRef[Group]], seed: int) -> list[Prompt]:
        """Judge and reflection prompts of the groups behind ``refs``."""
        groups = wait_for(refs, seconds=self._deadline, what="groups to recycle")
        return recycle(groups, self._config, seed)


class Recycler:
    """The recycler as the controller sees it: every call has a deadline, and outlives the actor.

    Args:
        place: of the actor.
        deadlines: how long recycling a batch, and a sign of life, may take.
    """

    def __init__(self, place: Place, deadlines: DeadlineConfig) -> None:
        self._place, self._deadlines = place, deadlines

    @classmethod
    def start(cls, config: RunConfig, log_folder: Path, *, tell: Tell = lambda _: None) -> Recycler:
        """Start the actor. ``tell`` is called with each fault that is mended.

        Raises:
            DeadlineError: it did not start in time.
        """
        remote = ray.remote(num_cpus=0, concurrency_groups={HEALTH: 1})(RecyclerActor)
        log = log_folder.absolute() / "recycler.log"

        def launch() -> NamedActor:
            handle = remote.remote(config.recycle, config.deadlines.grade, log)
            return NamedActor(handle, "recycler", log)

        place = Place(launch, RestartBudget("recycler", config.faults, tell))
        what = "the start of the recycler"
        wait_until_alive([place.actor], seconds=config.deadlines.start, what=what)
        return cls(place, config.deadlines)

    def recycle(self, refs: Sequence[ObjectRef[Group]], seed: int) -> list[Prompt]:
        """Judge and reflection prompts of the groups behind ``refs``, which stay where they are.

        It holds nothing between calls, so a new actor is asked once more where one failed.

        Raises:
            DeadlineError: a group, or the prompts, did not come in time.
            LostError: a group is gone.
            BudgetSpentError: the actor failed too often.
        """
        while True:
            actor = self._place.actor
            # References inside a list reach the actor as references: the driver fetches nothing.
            reference = actor.handle.recycle.remote(list(refs), seed)
            try:
                prompts: list[Prompt] = wait_for(
                    reference,
                    seconds=self._deadlines.grade,
                    what="recycled prompts",
                    actors=[actor],
                    health=self._deadlines.health,
                )
            except LostError:
                # No other actor would find the group either.
                raise
            except ActorError as error:
                self._place.failed(actor, error)
            else:
                return prompts

    def stop(self) -> None:
        """End the actor. It has nothing to put in order."""
        self._place.close()
