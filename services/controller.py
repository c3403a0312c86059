"""The loop: solve, verify, recycle, judge, learn, broadcast.

Batches are made by generators, verifiers and recycler (``batches``), up to ``max_staleness``
ahead (``ahead``); here they are trained on, and the new weights sent. The controller holds
references and summaries only; completions travel from actor to actor.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

from actors.broadcaster import Broadcaster
from actors.generator_pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.refs import GroupRef
from actors.waiting import wait_for
from contracts.config import RunConfig
from contracts.errors import IntegrityError
from contracts.types import Prompt, UpdateReport
from learner.checkpoint import Checkpoint
from learner.leaning import Leans, leans_of
from services.ahead import Ahead
from services.batches import Batch, BatchMaker
from services.clock import PhaseClock
from services.evaluation import Evaluator
from services.guards import Finding, GuardError, Guards
from services.model_card import model_card
from services.recorder import Recorder
from services.records import StepMetrics
from services.run_state import RunState
from services.seeds import derive_seed
from services.signals import StopRequest
from services.step import Step
from services.weight_checks import WeightChecks

TICK_SECONDS = 0.2
"""How often the controller looks up while it waits for a batch."""

T = TypeVar("T")


@dataclass(frozen=True)
class Actors:
    """The actors of a run, as the controller sees them."""

    generators: GeneratorPool
    learner: LearnerGroup
    broadcaster: Broadcaster


class Controller:
    """Drives a run: one batch of groups in, one new weight version out."""

    def __init__(
        self,
        config: RunConfig,
        *,
        actors: Actors,
        maker: BatchMaker,
        checks: WeightChecks,
        evaluator: Evaluator,
        recorder: Recorder,
        stop: StopRequest,
    ) -> None:
        self.config = config
        self.actors = actors
        self.maker = maker
        self.checks = checks
        self.evaluator = evaluator
        self.recorder = recorder
        self.stop = stop
        self.guards = Guards(config.guards, config.learner)
        self.clock = PhaseClock()
        self.version = 0
        self.saved = 0
        self.last: Step | None = None
        self.owed: dict[str, Prompt] = {}
        last = config.steps * config.batches_per_step
        self.ahead = Ahead(maker.make, staleness=config.max_staleness, last=last)
        self.others = ThreadPoolExecutor(2, thread_name_prefix="others")

    def run(self, checkpoint: Checkpoint | None = None) -> None:
        """All steps of the run, with evaluations at start, in between, and at the end.

        Args:
            checkpoint: to go on from; None: from the start.
        """
        try:
            with self.stop.put_off(self.config.deadlines.grace):
                if checkpoint is None:
                    self.begin()
                else:
                    self.resume(checkpoint)
                while not self.is_over:
                    self.do(Step(self.step + 1))
                self.evaluate("after")
        finally:
            self.ahead.close()
            self.others.shutdown(wait=False, cancel_futures=True)

    @property
    def step(self) -> int:
        """Steps that are done."""
        return self.version // self.config.batches_per_step

    @property
    def is_over(self) -> bool:
        """Whether all steps are done, or what the run may use is used up."""
        return self.recorder.spending.is_all(self.config)

    def begin(self) -> None:
        """Send the initial weights, and see what they can do."""
        self.broadcast()
        self.attend(self.evaluator.prepare)
        self.evaluate("before")

    def do(self, step: Step) -> None:
        """One step: train on its batches, each with the weights that the one before made."""
        while not step.ended:
            self.ahead.fill(self.version)
            self.recorder.phase("generating")
            asked = time.perf_counter()
            batch = self.attended(self.ahead.take())
            step.waited += time.perf_counter() - asked
            queued = self.ahead.ready
            report = self.learn(batch, step)
            step.add(batch, report, queued)
        self.last = step
        metrics = self.record(step)
        every = self.config.evaluation.every
        if every and step.number % every == 0 and not self.is_over:
            self.evaluate("between")
        self.save_when_due(step)
        if not self.is_over:
            self.heed(self.guards.see(metrics), step)

    def learn(self, batch: Batch, step: Step) -> UpdateReport:
        """Train on the groups that are of use, then send the new weights to every generator."""
        self.recorder.phase("training")
        groups = self.fresh(batch, step)
        leans = leans_of([group.summary for group in groups], self.config.learner)
        parts = split_groups(
            self.of_use(groups, leans),
            self.config.learner.updates_per_step,
            derive_seed(self.config.seed, "split", self.version),
        )
        with self.clock.phase("update"):
            self.actors.generators.sleep()
            report = self.actors.learner.update(parts, leans, norms=self.measures(step))
        self.version = batch.number
        self.broadcast()
        return report

    def measures(self, step: Step) -> bool:
        """Whether the gradient of each objective is measured in ``step``."""
        every = self.config.metrics.gradient_norms_every
        return every > 0 and step.number % every == 2 % every

    def of_use(self, groups: Sequence[GroupRef], leans: Leans) -> Sequence[GroupRef]:
        """The groups to train on: those with signal, or all where `learner.silent_groups` says.

        With `learner.verdict_centring` also those whose verdicts are all alike, but not those on
        the other answer to the question: the one has a signal by the other.
        """
        settings = self.config.learner
        if settings.silent_groups == "train":
            return groups
        pushed = {
            name
            for name, own in leans.items()
            if settings.verdict_centring and any(lean.pull for lean in own)
        }
        return [
            group
            for group in groups
            if group.summary.has_signal or group.summary.prompt_id in pushed
        ]

    def fresh(self, batch: Batch, step: Step) -> list[GroupRef]:
        """The groups that are young enough; the others' prompts go back to be asked again.

        Raises:
            IntegrityError: a completion is of weights that are not there yet.
        """
        groups, old = [], []
        for group in batch.groups:
            ages = [self.version - version for version in group.summary.versions]
            if min(ages) < 0:
                raise IntegrityError(
                    f"prompt {group.summary.prompt_id} was answered at version "
                    f"{max(group.summary.versions)}, the learner is at {self.version}"
                )
            if max(ages) > self.config.max_staleness:
                old.append(group)
                self.owed[group.summary.prompt_id] = batch.prompts[group.summary.prompt_id]
            else:
                step.ages += ages
                groups.append(group)
                self.owed.pop(group.summary.prompt_id, None)
        self.maker.give_back(batch.prompts[group.summary.prompt_id] for group in old)
        step.stale += old
        return groups

    def send(self) -> None:
        """Send the learner's weights, as the current version, to every engine that runs."""
        with self.clock.phase("broadcast"), self.maker.gate.held():
            report = self.actors.broadcaster.send(self.version)
        self.recorder.sync(report)

    def broadcast(self) -> None:
        """Send a new version, and check it when that is due."""
        self.recorder.phase("broadcasting")
        self.send()
        with self.clock.phase("check"):
            self.attend(partial(self.checks.when_due, self.version))

    def attend(self, work: Callable[[], T]) -> T:
        """Do ``work`` that needs generators, on another thread; see ``attended``."""
        return self.attended(self.others.submit(work))

    def attended(self, future: Future[T]) -> T:
        """The result of work that needs generators; one that starts anew is sent weights."""
        while not wait([future], timeout=TICK_SECONDS).done:
            self.leave_when_asked()
            if self.actors.generators.lacks_weights:
                self.send()
        return future.result()

    def record(self, step: Step) -> StepMetrics:
        """Write the step's metrics, times and a few rollouts to read."""
        refs = [group.ref for group in step.kept(self.config.rollouts_kept)]
        read = wait_for(refs, seconds=self.config.deadlines.grade, what="rollouts to write down")
        return self.recorder.step(step, self.version, self.clock.take(), read)

    def heed(self, findings: Sequence[Finding], step: Step) -> None:
        """Do what guards ask for after ``step``.

        Raises:
            GuardError: one of them ends the run; it has been saved.
        """
        for finding in findings:
            self.recorder.guard(finding)
        if any(finding.action == "lower_judge_weights" for finding in findings):
            self.weigh()
        for finding in findings:
            if finding.action == "stop":
                if self.config.checkpoints.every and self.saved < step.number:
                    self.save(step)
                raise GuardError(
                    f"{finding.why} (guards.{finding.guard}=stop, after step {step.number})\n"
                    "  docs/runbook.md says what to look at; --resume goes on all the same"
                )

    def weigh(self) -> None:
        """Give the learner the weights of the objectives that guards have come to."""
        self.actors.learner.weigh(self.guards.weights)
        self.recorder.weights(self.guards.weights)

    def evaluate(self, when: Literal["before", "between", "after"]) -> None:
        """Held-out scores; in full, with greedy ones and examples, at start and end."""
        self.recorder.phase("evaluating")
        settings, step = self.config.evaluation, self.step
        tasks = settings.tasks_between if when == "between" else settings.tasks
        for greedy in (False, True) if settings.greedy and when != "between" else (False,):
            evaluate = partial(self.evaluator.evaluate, step, tasks=tasks, greedy=greedy)
            self.recorder.evaluation(self.attend(evaluate))
        if when != "between":
            self.recorder.examples(self.attend(lambda: self.evaluator.examples(when, step)))

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take up where ``checkpoint`` was saved. Weights are sent before the first prompt."""
        self.recorder.phase("resuming")
        state = RunState.of(checkpoint)
        self.version = state.version
        self.saved = state.step
        self.maker.pending = list(state.pending)
        self.maker.tasks.restore(state.tasks)
        self.evaluator.restore(state.bank)
        self.actors.learner.load(checkpoint)
        self.guards.replay(self.recorder.history)
        if self.guards.lowered:
            self.weigh()
        self.broadcast()
        self.clock.take()

    def save_when_due(self, step: Step) -> None:
        """Write a checkpoint every so many steps, and at the last one."""
        every = self.config.checkpoints.every
        if every and (step.number % every == 0 or self.is_over):
            self.save(step)

    def leave_when_asked(self) -> None:
        """After a signal: save what was not saved, and leave. Not between two halves of a step.

        Raises:
            KeyboardInterrupt: the run is to end.
        """
        if not self.stop.requested or self.version % self.config.batches_per_step:
            return
        if self.config.checkpoints.every and self.last and self.saved < self.step:
            self.save(self.last)
        raise KeyboardInterrupt

    def save(self, step: Step) -> None:
        """Write a checkpoint of the run after ``step``. Batches made ahead are made again later.

        Raises:
            CheckpointError: it could not be written; the one before is intact.
        """
        self.recorder.phase("saving")
        batch = step.batches[-1]
        waiting = {prompt.id for prompt in batch.pending}
        owed = [prompt for prompt in self.owed.values() if prompt.id not in waiting]
        state = RunState(
            step=step.number,
            version=self.version,
            tasks=batch.tasks,
            pending=(*batch.pending, *owed),
            bank=self.evaluator.bank,
            evaluations=len(self.recorder.evaluations),
        )
        began = time.perf_counter()
        with self.clock.phase("checkpoint"):
            self.actors.learner.save(
                self.config.checkpoints_folder,
                step.number,
                state.extras(),
                keep=self.config.checkpoints.keep,
                card=self.card(),
            )
        self.saved = step.number
        self.recorder.checkpoint(step.number, time.perf_counter() - began)

    def card(self) -> str:
        """The model card of the weights as they are now."""
        return model_card(self.config, self.step, self.recorder.evaluations)


def split_groups(groups: Sequence[GroupRef], updates: int, seed: int) -> list[list[GroupRef]]:
    """Deal groups over the updates of a step, every objective over all of them."""
    shuffled = list(groups)
    random.Random(seed).shuffle(shuffled)
    by_objective = sorted(shuffled, key=lambda group: group.summary.objective)
    return [by_objective[start::updates] for start in range(updates)]
