"""The learner ranks of a run as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from actors.engine import thread_environment, with_devices
from actors.learner_rank import LearnerRank
from actors.place import HEALTH
from actors.placement import Placement
from actors.refs import GroupRef
from actors.stopping import stop_actors
from actors.waiting import ActorError, NamedActor, silent, wait_for
from contracts.config import RunConfig
from contracts.errors import CoevolveError, DeadlineError, UserError
from contracts.types import Objective, UpdateReport
from learner.checkpoint import Checkpoint, CheckpointError
from learner.leaning import Leans
from learner.packing import balance

if TYPE_CHECKING:
    from ray import ObjectRef

    from actors.gap import Gap
    from actors.transfer.report import TransferReport
    from contracts.types import Generation

SURVIVED = (DeadlineError, ActorError)
"""Errors about a generator, which rank 0 raises of a broadcast and all ranks survive."""
PHASES = 4
"""Of a broadcast, each with a deadline: init (after a failure), start, transfer, finish."""
Survived = tuple[type[CoevolveError], ...]
"""Errors that every rank raises alike, after which all can go on."""
SLACK_SECONDS = 10.0
"""By which rank 0, which can say what phase failed, is to give up before the driver does."""


class LearnerGroup:
    """All ranks of the learner, called together. Made by ``start``.

    Args:
        config: the run, with devices settled.
        actors: the running ranks, in order.
    """

    def __init__(self, config: RunConfig, actors: Sequence[NamedActor]) -> None:
        self._config = config
        self.actors = tuple(actors)
        self._broken = False

    @classmethod
    def start(
        cls,
        config: RunConfig,
        model_folder: Path,
        log_folder: Path,
        placement: Placement | None = None,
    ) -> LearnerGroup:
        """Start all ranks and wait until they have met and loaded the model.

        Args:
            config: the run; ``auto`` devices are settled here.
            model_folder: a Hugging Face model folder, readable where the actors run.
            log_folder: where ``learner-0.log`` and so on go.
            placement: where they go; None: wherever there is room.

        Raises:
            DeadlineError: a rank did not start within ``deadlines.start``.
            CoevolveError: a rank failed to start.
        """
        config = with_devices(config)
        # A sign of life is given by a thread of its own, while the rank is at work.
        environment = {"env_vars": _environment(config)}
        kind = ray.remote(concurrency_groups={HEALTH: 1}, runtime_env=environment)(LearnerRank)
        place = placement or Placement(config)
        actors = []
        for rank in range(config.learner.ranks):
            log = log_folder.resolve() / f"learner-{rank}.log"
            handle = kind.options(**place.of_learner(rank)).remote(
                rank, config, model_folder.resolve(), log
            )
            actors.append(NamedActor(handle, f"learner rank {rank}", log, rank))
        group = cls(config, actors)
        try:
            group._meet()
        except BaseException:
            group.stop()
            raise
        return group

    def _meet(self) -> None:
        seconds = self._config.deadlines.start
        first = self.actors[0]
        address, port = wait_for(
            first.handle.meeting_place.remote(),
            seconds=seconds,
            what=f"{first.name} to start",
            actors=[first],
        )
        self._all("start", address, port, seconds=seconds, what="the learner ranks to start")

    def update(
        self,
        minibatches: Sequence[Sequence[GroupRef]],
        leans: Leans | None = None,
        *,
        norms: bool = False,
    ) -> UpdateReport:
        """One optimiser update per minibatch. Groups go to the ranks by reference.

        Args:
            minibatches: graded groups; each minibatch is spread over the ranks by cost.
            leans: of all verdicts of the update; see ``learner.leaning``.
            norms: measure the gradient of each objective too; see ``Learner.gradient_norms``.

        Raises:
            DeadlineError: the update did not end within ``deadlines.update``.
            CoevolveError: a rank failed.
        """
        per_rank: list[list[list[Any]]] = [[] for _ in self.actors]
        for minibatch in minibatches:
            shares = balance([_cost(group) for group in minibatch], len(self.actors))
            for work, share in zip(per_rank, shares, strict=True):
                work.append([minibatch[index].ref for index in share])
        references = [
            actor.handle.update.remote(work, leans or {}, norms)
            for actor, work in zip(self.actors, per_rank, strict=True)
        ]
        seconds = self._config.deadlines.update
        reports: list[UpdateReport] = self._wait(references, seconds, "an update of the learner")
        return reports[0]

    def weigh(self, weights: Mapping[Objective, float]) -> None:
        """Use other weights of the objectives from the next update on.

        Args:
            weights: of every objective; one that is left out is not trained.
        """
        seconds = self._config.deadlines.update
        self._all("weigh", weights, seconds=seconds, what="the learner to take other weights")

    def connect(self, generators: Sequence[NamedActor]) -> None:
        """Open the way for weights to ``generators``; any way before is given up.

        Rank 0 sends to all of them; where GPUs are shared, each rank to the one on its own.

        Raises:
            DeadlineError: a generator did not join in time; names it.
            CoevolveError: a generator or the rank failed.
        """
        # vLLM is imported on the way, which takes its time on a busy machine.
        seconds = self._config.transfer.deadline + self._config.deadlines.start
        shares = mates(generators, len(self.actors)) if self._is_shared else [list(generators)]
        references = [
            actor.handle.connect.remote(share)
            for actor, share in zip(self.actors, shares, strict=False)
        ]
        self._wait(references, seconds, "the learner to connect to the generators", SURVIVED)

    @property
    def _is_shared(self) -> bool:
        return self._config.placement == "shared"

    def broadcast(self, version: int) -> TransferReport:
        """Send the weights to every connected generator, as ``version``.

        Raises:
            DeadlineError: a phase did not end in time; names phase and generator. The next
                broadcast makes a new transfer group.
            ActorError: a generator or a rank failed.
        """
        seconds = PHASES * (self._config.transfer.deadline + SLACK_SECONDS)
        what = f"the weight broadcast of version {version}"
        references = [actor.handle.broadcast.remote(version) for actor in self.actors]
        reports: list[TransferReport | None] = self._wait(references, seconds, what, SURVIVED)
        # Every rank that sent has one; they did so at the same time.
        return max((r for r in reports if r is not None), key=lambda r: sum(r.seconds.values()))

    def check(self) -> None:
        """See whether all ranks live.

        Raises:
            ActorError: one is dead, or gave no sign of life within ``deadlines.health``.
        """
        for _actor, error in silent(self.actors, self._config.deadlines.health):
            self._broken = True
            raise error

    def gap(self, generations: ObjectRef[list[Generation]]) -> Gap:
        """How far the log-probabilities of generations are from the learner's own."""
        seconds = self._config.deadlines.update
        what = "the learner's log-probabilities of completions"
        gaps: list[Gap] = self._all("gap", [generations], seconds=seconds, what=what)
        return gaps[0]

    def checksums(self) -> dict[str, str]:
        """SHA-256 of each weight as exported, by Hugging Face parameter name."""
        seconds = self._config.deadlines.update
        sums = self._all("checksums", seconds=seconds, what="checksums of the learner's weights")
        return dict(sums[0])

    def export(self, folder: Path, card: str = "") -> None:
        """Write a Hugging Face folder of the current weights; loads in transformers and vLLM.

        Args:
            folder: made if missing.
            card: text of its README.md; empty: none.

        Raises:
            CheckpointError: it could not be written; the learner can go on.
            DeadlineError: it did not end within ``deadlines.update``.
        """
        self._files("export", folder.resolve(), card, what="the export of the model")

    def save(
        self,
        root: Path,
        step: int,
        extras: Mapping[str, bytes],
        *,
        keep: int = 2,
        card: str = "",
    ) -> Path:
        """Write a checkpoint of the learner and of the caller's state, whole or not at all.

        Args:
            root: folder of the run's checkpoints, seen by all ranks.
            step: names it.
            extras: files of the caller's own state, by plain name.
            keep: how many checkpoints to leave.
            card: README of the Hugging Face export beside it.

        Returns:
            The folder of the checkpoint.

        Raises:
            CheckpointError: it could not be written; the one before is intact, and the
                learner can go on.
            UserError: another run writes checkpoints to ``root``; the learner can go on.
            DeadlineError: it did not end within ``deadlines.update``.
        """
        what = f"the checkpoint of step {step}"
        folders = self._files("save", root.resolve(), step, dict(extras), keep, card, what=what)
        folder: Path = folders[0]
        return folder

    def load(self, checkpoint: Checkpoint) -> None:
        """Take up a checkpoint, also one of another number of ranks. Broadcast after it.

        Args:
            checkpoint: from ``learner.checkpoint.newest``.

        Raises:
            CheckpointError: it could not be read, or does not hold what its manifest says.
            DeadlineError: it did not end within ``deadlines.update``.
        """
        what = f"the learner to load {checkpoint.folder}"
        self._files("load", checkpoint.folder.resolve(), what=what)

    def _files(self, method: str, *arguments: Any, what: str) -> list[Any]:
        """``_all``, where what goes wrong with files is the same on every rank, and no end."""
        seconds = self._config.deadlines.update
        survived = (CheckpointError, UserError)
        return self._all(method, *arguments, seconds=seconds, what=what, survived=survived)

    def _all(
        self,
        method: str,
        *arguments: Any,
        seconds: float,
        what: str,
        survived: Survived = (),
    ) -> list[Any]:
        """Call every rank alike and wait for all."""
        references = [getattr(actor.handle, method).remote(*arguments) for actor in self.actors]
        return self._wait(references, seconds, what, survived)

    def _wait(
        self, references: Sequence[Any], seconds: float, what: str, survived: Survived = ()
    ) -> list[Any]:
        """Results of all ranks. After an error, unless it is a ``survived`` one, all are lost."""
        health = self._config.deadlines.health
        actors = self.actors[: len(references)]
        try:
            found = wait_for(references, seconds=seconds, what=what, actors=actors, health=health)
        except BaseException as error:
            # Ranks that wait for a lost one in a collective cannot be stopped in good order.
            lost = isinstance(error, ActorError) and error.actor in {a.name for a in self.actors}
            self._broken = self._broken or lost or not isinstance(error, survived)
            raise
        return list(found)

    def stop(self) -> None:
        """End all ranks: in good order within ``deadlines.stop``, then by force."""
        seconds = 0.0 if self._broken else self._config.deadlines.stop
        stop_actors(self.actors, seconds=seconds)


def mates(generators: Sequence[NamedActor], ranks: int) -> list[list[NamedActor]]:
    """For each learner rank the generator on its GPU, the one of its number; or none."""
    by_number = {generator.number: generator for generator in generators}
    return [[by_number[rank]] if rank in by_number else [] for rank in range(ranks)]


def _cost(group: GroupRef) -> float:
    """Tokens of a group: its prompt once and all its completions."""
    return group.summary.prompt_tokens + sum(group.summary.completion_tokens)


def _environment(config: RunConfig) -> dict[str, str]:
    """Environment of a rank's process."""
    environment = {"DS_ACCELERATOR": config.learner.device, "HF_HUB_OFFLINE": "1"}
    if config.learner.device != "cuda":
        environment |= thread_environment(config.learner.threads)
        # Activations and gradients are allocated anew in every micro-batch; to do so in pages of
        # 4 KiB was a fifth of an update of SmolLM2.
        environment["THP_MEM_ALLOC_ENABLE"] = "1"
    return environment
