"""A learner and engines that are sent its weights, round by round, beside a bare broadcast."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import ray

from actors.generator_pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.refs import GroupRef
from actors.runtime import ray_session
from actors.waiting import NamedActor, wait_for
from contracts.config import Dtype, RunConfig
from contracts.errors import IntegrityError
from contracts.types import (
    Completion,
    Grade,
    Group,
    GroupSummary,
    Message,
    Objective,
    Prompt,
    Reason,
    Task,
    VersionSpan,
)
from services.bench.broadcast_bare import Bare, bare_broadcast
from services.bench.broadcast_records import Measured
from services.bench.models import BenchModel

LEARNING_RATE = 0.01
"""So large that weights of any size move at every update, in bfloat16 too."""
TOKENS = 8
"""Of the prompt and of each completion that the learner is updated with."""
WORDS = 16
"""Token ids that they are drawn from: those that every model has."""
DEADLINE = 300.0
WARM_UP = 1
"""Broadcasts over a new group that are not counted."""

Say = Callable[[str], None]


TYPES: tuple[Dtype, ...] = ("bfloat16", "float32")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. ``receivers`` are numbers of engines, ``rounds`` those that count;
    ``threads`` of each engine.
    """

    models: tuple[str, ...] = ("tiny", "smollm2")
    dtypes: tuple[Dtype, ...] = TYPES
    receivers: tuple[int, ...] = (1, 2, 4)
    rounds: int = 10
    threads: int = 2


@dataclass(slots=True)
class Session:
    """The real parts, started once for all numbers of receivers.

    Args:
        model: what the weights are of.
        generators, learner: running.
        scratch: for the bare broadcast's files.
    """

    model: BenchModel
    generators: GeneratorPool
    learner: LearnerGroup
    scratch: Path
    version: int = 0
    sums: dict[str, str] = field(default_factory=dict)

    def measure(self, receivers: int, rounds: int, say: Say) -> Measured:
        """Send to the first ``receivers`` engines, in turns with a bare broadcast.

        Raises:
            IntegrityError: an engine has not the learner's weights, or an update left one of
                these as it was.
        """
        actors = self.generators.actors[:receivers]
        self.learner.connect(actors)
        folder = self.scratch / f"bare-{receivers}"
        folder.mkdir()
        nbytes = self._broadcast(actors, None)
        found = Measured(receivers, nbytes)
        with bare_broadcast(receivers, nbytes, folder) as bare:
            for number in range(WARM_UP + rounds):
                say(f"{self.model.name} {self.model.dtype}: {found.mix}, round {number}")
                self._round(actors, bare, found, ours_first=number % 2 == 0)
        for values in (found.ours, found.bare, found.phases):
            del values[:WARM_UP]
        return found

    def _round(
        self, actors: Sequence[NamedActor], bare: Bare, found: Measured, *, ours_first: bool
    ) -> None:
        """One broadcast of either kind. Whoever is first in one round is second in the next."""
        self._renew()
        if not ours_first:
            found.bare.append(bare.turn())
        self._broadcast(actors, found)
        if ours_first:
            found.bare.append(bare.turn())
        self._compare(actors, found)

    def _broadcast(self, actors: Sequence[NamedActor], found: Measured | None) -> int:
        """Send the weights; their bytes."""
        self.version += 1
        started = time.perf_counter()
        report = self.learner.broadcast(self.version)
        seconds = time.perf_counter() - started
        if found is not None:
            found.ours.append(seconds)
            found.phases.append(report.seconds)
        versions = self.generators.versions_of(actors)
        if versions != [self.version] * len(actors):
            raise IntegrityError(f"version {self.version} was sent, and engines have {versions}")
        return report.bytes

    def _renew(self) -> None:
        """Make other weights, by an update of the learner on random tokens."""
        group = _group(self.version)
        ref = GroupRef(ray.put(group), GroupSummary.of(group))
        self.learner.update([[ref]])

    def _compare(self, actors: Sequence[NamedActor], found: Measured) -> None:
        """Hold every engine's weights against the learner's export.

        Raises:
            IntegrityError: they differ, or the learner's own are those of the round before.
        """
        expected = self.learner.checksums()
        changed = sum(sums != self.sums.get(name) for name, sums in expected.items())
        if changed < len(expected):
            raise IntegrityError(
                f"version {self.version}: {len(expected) - changed} of {len(expected)} weights "
                "were not changed by an update, so that a broadcast of them would show nothing"
            )
        self.sums, found.weights = expected, len(expected)
        found.changed = min(found.changed or changed, changed)
        references = [actor.handle.checksums.remote() for actor in actors]
        all_sums = wait_for(
            references, seconds=DEADLINE, what="checksums of the engines", actors=actors
        )
        for actor, sums in zip(actors, all_sums, strict=True):
            wrong = sorted(name for name in expected if sums.get(name) != expected[name])
            if wrong:
                raise IntegrityError(
                    f"{actor.name} at version {self.version}: {len(wrong)} of {len(expected)} "
                    f"weights are not those of the learner's export, the first is {wrong[0]}"
                )
            found.compared += len(expected)


def measure(model: BenchModel, plan: Plan, scratch: Path, say: Say) -> list[Measured]:
    """Start learner and engines, and measure every number of receivers.

    Raises:
        IntegrityError: weights differ.
    """
    most = max(plan.receivers)
    config = _config(model, most, plan.threads)
    with ExitStack() as stack:
        stack.enter_context(ray_session(scratch / "logs"))
        say(f"{model.name} {model.dtype}: starting {most} engines and the learner")
        generators = GeneratorPool.launch(config, model.folder, scratch / "logs")
        stack.callback(generators.stop)
        learner = LearnerGroup.start(config, model.folder, scratch / "logs")
        stack.callback(learner.stop)
        generators.wait_until_started()
        session = Session(model, generators, learner, scratch)
        return [session.measure(count, plan.rounds, say) for count in plan.receivers]


def _config(model: BenchModel, engines: int, threads: int) -> RunConfig:
    """A run's defaults, but for caches so small that four engines fit on a small machine."""
    values: dict[str, Any] = {
        "model": {"name": str(model.folder), "dtype": model.dtype},
        "recycle": {"style": "natural"},
        "generators": {
            "count": engines,
            "threads": threads,
            "kv_cache_gib": 0.1,
            "max_sequences": 16,
        },
        "learner": {
            "learning_rate": LEARNING_RATE,
            "schedule": "constant",
            "warmup_updates": 0,
            "recompute_old": True,
            "sampling_cap": None,
        },
        "deadlines": {"start": 900.0},
        "transfer": {"deadline": DEADLINE},
    }
    return RunConfig.model_validate(values)


def _group(seed: int) -> Group:
    """Two completions of random tokens, one right and one wrong."""
    draw = np.random.default_rng(seed)

    def tokens() -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        return draw.integers(0, WORDS, TOKENS).astype(np.int32)

    task = Task("0", "0+0", "0")
    prompt = Prompt(
        id="0",
        messages=(Message("user", task.question),),
        objective=Objective.SOLVE,
        label=task.gold,
        verifier="math",
        task=task,
        template="bench",
    )
    completions = tuple(
        Completion(
            id=f"0/{index}",
            tokens=tokens(),
            logprobs=np.zeros(TOKENS, np.float32),
            finish="length",
            spans=(VersionSpan(0, TOKENS, 0),),
            text="",
        )
        for index in range(2)
    )
    grades = tuple(Grade(reward, reward == 1.0, None, Reason.OK) for reward in (1.0, 0.0))
    return Group(prompt, tokens(), completions, grades)
