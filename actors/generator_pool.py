"""The generators of a run as one: start, deal prompts out, gather, mend, stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import ObjectRef

from actors.engine import WORKER_EXTENSION, engine_environment, with_devices
from actors.faults import Fault, RestartBudget, Tell
from actors.generation import Streams, expected_tokens
from actors.generator import Generator, Sampling
from actors.generator_member import Member
from actors.place import kill
from actors.placement import Placement
from actors.stopping import stop_actors
from actors.waiting import ActorError, NamedActor, silent, wait_for
from contracts.config import RunConfig
from contracts.errors import CoevolveError, DeadlineError
from contracts.types import Generation, Prompt

POLL_SECONDS = 0.2


class GeneratorPool:
    """All generators of a run. Made by ``start`` or ``launch``.

    One that dies or freezes is started anew, on a budget; the prompts it had go to others. A
    new one samples nothing before it was sent the run's weights (``serve``). Where no machine has
    room for it the others go on, and it joins them when there is room. Several threads may
    generate at once.

    Args:
        config: the run, with devices settled.
        members: the generators, launched.
        budget: of restarts.
        tell: called where no machine has room for one.
    """

    def __init__(
        self,
        config: RunConfig,
        members: Sequence[Member],
        budget: RestartBudget,
        tell: Tell = lambda _: None,
    ) -> None:
        self._config = config
        self._members = tuple(members)
        self._budget = budget
        self._tell = tell
        self._lock = threading.RLock()
        self._stopped = False

    @classmethod
    def start(
        cls,
        config: RunConfig,
        model_folder: Path,
        log_folder: Path,
        *,
        tell: Tell = lambda _: None,
        worker_extension: str = WORKER_EXTENSION,
    ) -> GeneratorPool:
        """Start all engines at once, and wait until each can sample from the initial model.

        Args:
            config: the run; ``auto`` devices are settled here.
            model_folder: a Hugging Face model folder, readable where the actors run.
            log_folder: where ``generator-0.log`` and so on go.
            tell: called with each fault that is mended.
            worker_extension: qualified name of the class added to vLLM's worker.

        Raises:
            DeadlineError: an engine did not start within ``deadlines.start``.
            CoevolveError: an engine failed to start.
        """
        pool = cls.launch(
            config, model_folder, log_folder, tell=tell, worker_extension=worker_extension
        )
        pool.wait_until_started()
        pool.serve(pool.actors)
        return pool

    @classmethod
    def launch(
        cls,
        config: RunConfig,
        model_folder: Path,
        log_folder: Path,
        *,
        tell: Tell = lambda _: None,
        worker_extension: str = WORKER_EXTENSION,
        placement: Placement | None = None,
    ) -> GeneratorPool:
        """Like ``start``, without waiting: other actors can start meanwhile.

        ``wait_until_started`` must be called before anything else, and ``serve`` before
        ``generate``. ``placement``: where they go; None: wherever there is room.
        """
        config = with_devices(config)
        place = placement or Placement(config)
        environment = {"env_vars": engine_environment(config.generators)}
        kind = ray.remote(runtime_env=environment)(Generator)

        def launch(index: int) -> NamedActor:
            name = f"generator {index}"
            log = log_folder.resolve() / f"generator-{index}.log"
            handle = kind.options(**place.of_generator(index)).remote(
                name, config, model_folder.resolve(), log, worker_extension
            )
            return NamedActor(handle, name, log, index)

        members = [Member(index, launch) for index in range(config.generators.count)]
        return cls(config, members, RestartBudget("generators", config.faults, tell), tell)

    def wait_until_started(self, *, fewer: bool = False) -> None:
        """Wait until each engine runs; on failure stop them all.

        Args:
            fewer: go on without those that no machine has room for, if another one runs. They
                join when there is room.

        Raises:
            DeadlineError: one does not run within ``deadlines.start``; with ``fewer``, none does.
            CoevolveError: an engine failed to start.
        """
        end = time.monotonic() + self._config.deadlines.start
        try:
            if fewer:
                self._wait_for_machines(end)
            for member in self._members:
                if not member.missed:
                    member.wait_until_started(max(1.0, end - time.monotonic()))
        except BaseException:
            self.stop()
            raise

    def _wait_for_machines(self, end: float) -> None:
        """Wait until each engine has room on a machine, or is known not to, and one of them has."""
        while True:
            with self._lock:
                self._look()
                placed = [member.is_placed for member in self._members]
                known = [member.is_placed or member.missed for member in self._members]
            if any(placed) and all(known):
                return
            if time.monotonic() > end:
                seconds = self._config.deadlines.start
                raise DeadlineError("a machine with room for a generator", seconds)
            time.sleep(POLL_SECONDS)

    @property
    def actors(self) -> tuple[NamedActor, ...]:
        """Those whose engine runs, with whatever weights."""
        with self._lock:
            self._look()
            return tuple(m.actor for m in self._members if m.state != "starting")

    @property
    def serving(self) -> tuple[NamedActor, ...]:
        """Those that have the run's weights."""
        with self._lock:
            return tuple(m.actor for m in self._members if m.state == "serving")

    @property
    def lacks_weights(self) -> bool:
        """Whether an engine runs that was not sent the run's weights yet."""
        with self._lock:
            self._look()
            return any(member.state == "started" for member in self._members)

    def serve(self, actors: Sequence[NamedActor]) -> None:
        """Let prompts go to ``actors`` from now on: they have the run's weights."""
        with self._lock:
            known = {actor.id for actor in actors}
            for member in self._members:
                if member.actor.id in known and member.state == "started":
                    member.state = "serving"

    def _look(self) -> None:
        for member in self._members:
            if (error := member.look() or self._overdue(member)) is not None:
                self.failed(member.actor, error)

    def _overdue(self, member: Member) -> CoevolveError | None:
        """What a start that takes too long is to be ended for. One that waits for a machine waits
        on, and that is told once.
        """
        deadlines = self._config.deadlines
        if member.state != "starting":
            return None
        if member.is_placed:
            late = member.waited > deadlines.start
            return DeadlineError(f"{member.name} to start", deadlines.start) if late else None
        if not member.missed and member.waited > deadlines.health:
            member.missed = True
            there = sum(other.is_placed for other in self._members)
            text = (
                f"no machine has had room for {member.name} for {deadlines.health:g} s; {there} of "
                f"{len(self._members)} generators go on, and it joins them when there is room"
            )
            self._tell(Fault("machines", member.name, CoevolveError(text)))
        return None

    def failed(self, actor: NamedActor, error: CoevolveError) -> None:
        """Start a generator anew, unless that was done already.

        Raises:
            BudgetSpentError: generators failed too often.
            CoevolveError: ``error``, where the pool was stopped.
        """
        with self._lock:
            if self._stopped:
                raise error
            for member in self._members:
                if member.actor is actor:
                    kill(member.actor)
                    self._budget.spend(member.name, error)
                    member.launch()

    def check(self, seconds: float) -> list[NamedActor]:
        """Start those anew that are dead, or give no sign of life for ``seconds``; who they were.

        Raises:
            BudgetSpentError: generators failed too often.
        """
        found = silent(self.actors, seconds)
        for actor, error in found:
            self.failed(actor, error)
        return [actor for actor, _ in found]

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        completions: int,
        max_tokens: int,
        temperature: float,
        seed: int,
        done: Container[str] = (),
    ) -> Iterator[ObjectRef[Generation]]:
        """Sample ``completions`` completions of each prompt.

        The work is handed out at once; references to ``Generation`` come as prompts end,
        in no fixed order: sort by prompt where order matters. The same prompts, seed and
        weights give the same tokens and log-probabilities (CPU, while no generator fails).

        Args:
            prompts: the batch; each goes to the generator with the least to do.
            completions: completions per prompt.
            max_tokens: longest completion; less where the context has less room.
            temperature: 0 is greedy, with one completion per prompt.
            seed: fixes all that is drawn.
            done: ids of prompts that need not be asked again when their generator fails. A
                prompt may come twice where its end was not known in time.

        Raises:
            DeadlineError: the batch was not done within ``deadlines.generate``.
            BudgetSpentError: generators failed too often.
            CoevolveError: raised by a generator about a prompt.
        """
        streams = Streams(self, self._config.deadlines, len(prompts))
        sampling = Sampling(completions, max_tokens, temperature, seed)
        return streams.run(list(prompts), sampling, done)

    def deal(self, prompts: Sequence[Prompt], sampling: Sampling) -> dict[Member, list[Prompt]]:
        """Each prompt to the serving generator with the fewest tokens outstanding, long ones first.

        Empty where none is serving.
        """
        cost = {p.id: expected_tokens(p, sampling) for p in prompts}
        with self._lock:
            serving = [member for member in self._members if member.state == "serving"]
            shares: dict[Member, list[Prompt]] = {}
            if not serving:
                return shares
            for prompt in sorted(prompts, key=lambda p: -cost[p.id]):
                member = min(serving, key=lambda m: m.outstanding)
                member.outstanding += cost[prompt.id]
                shares.setdefault(member, []).append(prompt)
        order = {prompt.id: place for place, prompt in enumerate(prompts)}
        return {m: sorted(share, key=lambda p: order[p.id]) for m, share in shares.items()}

    def relieve(self, member: Member, actor: NamedActor, tokens: float) -> None:
        """Take ``tokens`` off what ``actor`` has to do, if it still holds the place."""
        with self._lock:
            if member.actor is actor:
                member.outstanding = max(0.0, member.outstanding - tokens)

    def sample_each(
        self, prompts: Sequence[Prompt], sampling: Sampling
    ) -> list[tuple[NamedActor, ObjectRef[list[Generation]]]]:
        """Ask every serving engine for the same prompts. References come at once."""
        return [(a, a.handle.sample.remote(list(prompts), sampling)) for a in self.serving]

    def checksums(self) -> dict[str, dict[str, str]]:
        """By name of each serving engine: SHA-256 of what it computes with, by parameter name."""
        actors = self.serving
        found = self._ask(actors, "checksums", "checksums of the generators' weights")
        return {actor.name: sums for actor, sums in zip(actors, found, strict=True)}

    def versions_of(self, actors: Sequence[NamedActor]) -> list[int]:
        """Version of the weights of each of ``actors``."""
        return self._ask(actors, "version", "the generators' weight versions")

    def _ask(self, actors: Sequence[NamedActor], method: str, what: str) -> list[Any]:
        references = [getattr(actor.handle, method).remote() for actor in actors]
        seconds = self._config.transfer.deadline
        return list(wait_for(references, seconds=seconds, what=what, actors=actors))

    def wait_for_one(self) -> None:
        """Wait until at least one engine runs.

        Raises:
            DeadlineError: none does, after ``deadlines.start``.
        """
        seconds = self._config.deadlines.start
        end = time.monotonic() + seconds
        while not self.actors:
            if time.monotonic() > end:
                raise DeadlineError("a generator to start anew", seconds)
            time.sleep(POLL_SECONDS)

    def sleep(self) -> None:
        """Lend the generators' GPUs to the learner, until weights are sent; nothing else may come
        in between. Where they share none, nothing is done.

        One that is starting is waited for: it would take the memory that the learner needs.

        Raises:
            DeadlineError: one did not start within ``deadlines.start``.
            BudgetSpentError: generators failed too often.
        """
        if self._config.placement != "shared":
            return
        well = False
        while not well:
            self._wait_for_all()
            well = self._lend()

    def _wait_for_all(self) -> None:
        seconds = self._config.deadlines.start
        end = time.monotonic() + seconds
        while starting := self._starting():
            if time.monotonic() > end:
                raise DeadlineError(f"{', '.join(starting)} to start anew", seconds)
            time.sleep(POLL_SECONDS)

    def _starting(self) -> list[str]:
        with self._lock:
            self._look()
            return [member.name for member in self._members if member.state == "starting"]

    def _lend(self) -> bool:
        """Send all to sleep; False where one could not, and is started anew."""
        actors, well = self.actors, True
        references = [actor.handle.sleep.remote() for actor in actors]
        for actor, reference in zip(actors, references, strict=True):
            try:
                wait_for(
                    reference,
                    seconds=self._config.transfer.deadline,
                    what=f"{actor.name} to lend its GPU to the learner",
                    actors=[actor],
                )
            except (DeadlineError, ActorError) as error:
                self.failed(actor, error)
                well = False
        return well

    def stop(self) -> None:
        """End all engines: in good order within ``deadlines.stop``, then by force."""
        with self._lock:
            self._stopped = True
            # One that waits for a machine would be waited for.
            for member in self._members:
                if member.missed and not member.is_placed:
                    kill(member.actor)
            actors = [m.actor for m in self._members if not m.missed or m.is_placed]
        stop_actors(actors, seconds=self._config.deadlines.stop)
