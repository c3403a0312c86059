"""Weights from the learner to every generator, again and again, whatever befalls a generator."""

from __future__ import annotations

import time
from dataclasses import replace

from actors.faults import RestartBudget, Tell
from actors.generator_pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.transfer.report import TransferReport
from actors.waiting import ActorError
from contracts.config import RunConfig
from contracts.errors import DeadlineError, IntegrityError

BACKOFF_SECONDS = 1.0
BLAME_SECONDS = 10.0
"""Added to the deadline of a sign of life after a failed broadcast: a sound engine may still be
held by its end of the transport, which gives up a few seconds after the sender."""


class Broadcaster:
    """Keeps learner and generators connected. A failed broadcast is done again.

    A generator at fault is started anew; the others get the weights meanwhile, through a new
    transfer group.

    Args:
        config: deadlines, and how many failures are put up with.
        learner: sends.
        generators: receive, and serve with the weights from then on.
        tell: called with each failure that was mended.
    """

    def __init__(
        self, config: RunConfig, learner: LearnerGroup, generators: GeneratorPool, tell: Tell
    ) -> None:
        self._learner, self._generators = learner, generators
        self._health = config.deadlines.health + BLAME_SECONDS
        self._budget = RestartBudget("broadcast", config.faults, tell)
        self._connected: list[str] = []

    def send(self, version: int) -> TransferReport:
        """Send the learner's weights, as ``version``, to every generator whose engine runs.

        Raises:
            ActorError: a learner rank failed.
            BudgetSpentError: broadcasts, or generators, failed too often.
            IntegrityError: a generator has another version afterwards.
        """
        while True:
            try:
                return self._try(version)
            except (DeadlineError, ActorError) as error:
                self._connected = []
                self._learner.check()
                self._generators.check(self._health)
                self._budget.spend(f"version {version}", error)
                time.sleep(BACKOFF_SECONDS)

    def _try(self, version: int) -> TransferReport:
        self._generators.wait_for_one()
        actors = self._generators.actors
        ids = [actor.id for actor in actors]
        if ids != self._connected:
            self._learner.connect(actors)
            self._connected = ids
        report = self._learner.broadcast(version)
        found = self._generators.versions_of(actors)
        if found != [version] * len(found):
            raise IntegrityError(
                f"after the broadcast of version {version} the generators have versions {found}"
            )
        self._generators.serve(actors)
        return replace(report, generators=len(actors))
