"""The verifier pool: generations are graded as they arrive, by reference."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from actors.faults import RestartBudget, Tell
from actors.graders.registry import grader
from actors.place import HEALTH, Place, wait_until_alive
from actors.verifier import Verifier
from actors.waiting import ActorError, LostError, NamedActor, silent, wait_for
from contracts.config import DeadlineConfig, RunConfig
from contracts.errors import DeadlineError
from recycler.outcomes import ReflectionRewards

if TYPE_CHECKING:
    from ray import ObjectRef

    from contracts.types import Generation, Group, GroupSummary

WORKERS_PER_ACTOR = 4
"""Grader processes of one actor; more are spread over more actors."""


@dataclass(frozen=True, slots=True)
class Job:
    """A generation that an actor was asked to grade, and the group that it will become."""

    generation: ObjectRef[Generation]
    group: ObjectRef[Group]
    place: Place
    actor: NamedActor


Jobs = dict["ObjectRef[GroupSummary]", Job]
"""By the reference of the summary, which comes at the same time as the group."""


class VerifierPool:
    """Verifier actors behind one stream. Bulk data stays in the object store.

    An actor that dies or freezes is started anew, on a budget, and asked once more: grading
    has no state. Several threads may grade at once.

    Args:
        places: of the started actors.
        deadlines: without any group for ``grade`` seconds grading has failed.
    """

    def __init__(self, places: list[Place], deadlines: DeadlineConfig) -> None:
        self._places, self._deadlines = places, deadlines
        self._turn = cycle(places)

    @classmethod
    def start(
        cls, config: RunConfig, log_folder: Path, *, tell: Tell = lambda _: None
    ) -> VerifierPool:
        """Start the actors that ``config.verifiers`` asks for.

        ``tell`` is called with each fault that is mended.

        Raises:
            UserError: ``tasks.verifier`` names a grader that does not exist.
            DeadlineError: an actor did not start in time.
        """
        grader(config.tasks.verifier)
        workers = config.verifiers.workers
        remote = ray.remote(num_cpus=0, concurrency_groups={HEALTH: 1})(Verifier)
        count = math.ceil(workers / WORKERS_PER_ACTOR)
        budget = RestartBudget("verifiers", config.faults, tell)
        rewards = ReflectionRewards(**config.verifiers.reflection.model_dump())

        def launch(index: int) -> NamedActor:
            share = workers // count + (index < workers % count)
            log = log_folder.absolute() / f"verifier-{index}.log"
            handle = remote.options(max_concurrency=share + 1).remote(
                share, config.verifiers.deadline, log, rewards
            )
            return NamedActor(handle, f"verifier {index}", log)

        places = [Place(partial(launch, index), budget) for index in range(count)]
        actors = [place.actor for place in places]
        what = "the start of the verifiers"
        wait_until_alive(actors, seconds=config.deadlines.start, what=what)
        return cls(places, config.deadlines)

    def grade(
        self,
        generations: Iterable[ObjectRef[Generation]],
        *,
        lost: Callable[[LostError], object] | None = None,
    ) -> Iterator[tuple[ObjectRef[Group], GroupSummary]]:
        """Grade every generation; groups come back in the order in which they are done.

        A generation is sent to an actor as soon as ``generations`` yields it. Per group this
        costs one actor call; waiting and fetching summaries are shared.

        Args:
            generations: references, as they come.
            lost: called for each generation that is gone, with the machine that it lay on;
                it has no group. None: that is an error.

        Raises:
            LostError: a generation is gone.
            DeadlineError: for ``deadlines.grade`` seconds no group came back.
            BudgetSpentError: actors failed too often.
            UserError: a prompt names a grader that does not exist.
        """
        jobs: Jobs = {}
        lost = lost or _refuse
        for generation in generations:
            self._send(generation, jobs)
            yield from self._done(jobs, lost, seconds=0.0)
        last = time.monotonic()
        while jobs:
            before = len(jobs)
            span = min(self._deadlines.health, self._deadlines.grade)
            yield from self._done(jobs, lost, seconds=span)
            if len(jobs) < before:
                last = time.monotonic()
            elif time.monotonic() - last >= self._deadlines.grade:
                names = ", ".join(place.actor.name for place in self._places)
                raise DeadlineError(
                    f"{before} groups to be graded by {names}", self._deadlines.grade
                )
            else:
                self._check()

    def _send(self, generation: ObjectRef[Generation], jobs: Jobs) -> None:
        place = next(self._turn)
        actor = place.actor
        group, summary = actor.handle.grade.options(num_returns=2).remote(generation)
        jobs[summary] = Job(generation, group, place, actor)

    def _done(
        self, jobs: Jobs, lost: Callable[[LostError], object], *, seconds: float
    ) -> Iterator[tuple[ObjectRef[Group], GroupSummary]]:
        """Take the groups that are done out of ``jobs``, waiting up to ``seconds`` for one.

        Those of an actor that failed are sent again; of ``lost`` generations there are none.
        """
        if not jobs:
            return
        ready, _ = ray.wait(list(jobs), num_returns=1, timeout=seconds)
        if not ready:
            return
        ready, _ = ray.wait(list(jobs), num_returns=len(jobs), timeout=0)
        try:
            summaries = self._fetch(ready)
        except ActorError:
            summaries = [self._fetch_one(ref, jobs) for ref in ready]
        for ref, summary in zip(ready, summaries, strict=True):
            job = jobs.pop(ref)
            if isinstance(summary, LostError):
                lost(summary)
            elif summary is None:
                self._send(job.generation, jobs)
            else:
                yield job.group, summary

    def _fetch(self, refs: list[ObjectRef[GroupSummary]]) -> list[Any]:
        actors = [place.actor for place in self._places]
        what = "summaries of graded groups"
        found: list[Any] = wait_for(refs, seconds=self._deadlines.grade, what=what, actors=actors)
        return found

    def _fetch_one(
        self, ref: ObjectRef[GroupSummary], jobs: Jobs
    ) -> GroupSummary | LostError | None:
        """A summary; None where its actor failed, which is mended; or what was graded is lost."""
        try:
            summary: GroupSummary = self._fetch([ref])[0]
        except LostError as error:
            return error
        except ActorError as error:
            jobs[ref].place.failed(jobs[ref].actor, error)
            return None
        return summary

    def _check(self) -> None:
        """Start actors anew that give no sign of life; what they were asked for fails with them."""
        by_name = {place.actor.name: place for place in self._places}
        actors = [place.actor for place in self._places]
        for actor, error in silent(actors, self._deadlines.health):
            by_name[actor.name].failed(actor, error)

    def stop(self) -> None:
        """End the actors and their grader processes, by force where they do not answer."""
        actors = [place.actor for place in self._places]
        calls = [actor.handle.stop.remote() for actor in actors]
        ray.wait(calls, num_returns=len(calls), timeout=self._deadlines.stop)
        for place in self._places:
            place.close()


def _refuse(error: LostError) -> None:
    """What is done about a lost generation where nobody can make another."""
    raise error
