"""The verifier pool: generations are graded as they arrive, by reference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from actors.graders.registry import grader
from actors.verifier import Verifier
from actors.waiting import NamedActor, wait_for
from contracts.config import RunConfig
from contracts.errors import DeadlineError

if TYPE_CHECKING:
    from ray import ObjectRef

    from contracts.types import Generation, Group, GroupSummary

WORKERS_PER_ACTOR = 4
"""Grader processes of one actor; more are spread over more actors."""


class VerifierPool:
    """Verifier actors behind one stream. Bulk data stays in the object store.

    Args:
        actors: the started actors, with their names and logs.
        deadline: seconds without any group coming back after which grading has failed.
        stop_seconds: seconds for an orderly end.
    """

    def __init__(self, actors: list[NamedActor], *, deadline: float, stop_seconds: float) -> None:
        self._actors = actors
        self._deadline, self._stop_seconds = deadline, stop_seconds
        self._turn = cycle(actors)

    @classmethod
    def start(cls, config: RunConfig, log_folder: Path) -> VerifierPool:
        """Start the actors that ``config.verifiers`` asks for.

        Raises:
            UserError: ``tasks.verifier`` names a grader that does not exist.
            DeadlineError: an actor did not start in time.
        """
        grader(config.tasks.verifier)
        workers = config.verifiers.workers
        remote = ray.remote(num_cpus=0, max_restarts=3, max_task_retries=3)(Verifier)
        count = math.ceil(workers / WORKERS_PER_ACTOR)
        actors = []
        for index in range(count):
            share = workers // count + (index < workers % count)
            log = log_folder.absolute() / f"verifier-{index}.log"
            handle = remote.options(max_concurrency=share + 1).remote(
                share, config.verifiers.deadline, log
            )
            actors.append(NamedActor(handle, f"verifier {index}", log))
        wait_for(
            [actor.handle.ready.remote() for actor in actors],
            seconds=config.deadlines.start,
            what="the start of the verifiers",
            actors=actors,
        )
        return cls(actors, deadline=config.deadlines.grade, stop_seconds=config.deadlines.stop)

    def grade(
        self, generations: Iterable[ObjectRef[Generation]]
    ) -> Iterator[tuple[ObjectRef[Group], GroupSummary]]:
        """Grade every generation; groups come back in the order in which they are done.

        A generation is sent to an actor as soon as ``generations`` yields it. Per group this
        costs one actor call; waiting and fetching summaries are shared.

        Raises:
            DeadlineError: for ``deadlines.grade`` seconds no group came back.
            ActorError: an actor died more often than it is restarted.
            UserError: a prompt names a grader that does not exist.
        """
        groups: dict[ObjectRef[GroupSummary], ObjectRef[Group]] = {}
        for generation in generations:
            group, summary = next(self._turn).handle.grade.options(num_returns=2).remote(generation)
            groups[summary] = group
            yield from self._done(groups, seconds=0.0)
        while groups:
            before = len(groups)
            yield from self._done(groups, seconds=self._deadline)
            if len(groups) == before:
                names = ", ".join(actor.name for actor in self._actors)
                raise DeadlineError(f"{before} groups to be graded by {names}", self._deadline)

    def _done(
        self, groups: dict[ObjectRef[GroupSummary], ObjectRef[Group]], *, seconds: float
    ) -> Iterator[tuple[ObjectRef[Group], GroupSummary]]:
        """Take the groups that are done out of ``groups``, waiting up to ``seconds`` for one."""
        ready, _ = ray.wait(list(groups), num_returns=1, timeout=seconds)
        if not ready:
            return
        ready, _ = ray.wait(list(groups), num_returns=len(groups), timeout=0)
        summaries: list[Any] = wait_for(
            ready, seconds=self._deadline, what="summaries of graded groups", actors=self._actors
        )
        for ref, summary in zip(ready, summaries, strict=True):
            yield groups.pop(ref), summary

    def stop(self) -> None:
        """End the actors and their grader processes, by force where they do not answer."""
        calls = [actor.handle.stop.remote() for actor in self._actors]
        ray.wait(calls, num_returns=len(calls), timeout=self._stop_seconds)
        for actor in self._actors:
            ray.kill(actor.handle)
