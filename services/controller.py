"""The loop: solve, verify, recycle, judge, learn, broadcast.

The controller holds references and summaries only; completions travel from actor to actor.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from actors.generator_pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.recycler_actor import Recycler
from actors.refs import GroupRef
from actors.waiting import wait_for
from contracts.config import RunConfig
from contracts.errors import IntegrityError
from contracts.types import Objective, Prompt, UpdateReport
from learner.checkpoint import Checkpoint
from recycler.recycle import solve_prompt
from services.evaluation import Evaluator
from services.model_card import model_card
from services.recorder import Recorder
from services.rollouts import PhaseClock, Rollouts
from services.run_state import RunState
from services.seeds import derive_seed
from services.tasks.stream import TaskStream


@dataclass(frozen=True)
class Actors:
    """The actors of a run, as the controller sees them."""

    generators: GeneratorPool
    rollouts: Rollouts
    recycler: Recycler
    learner: LearnerGroup


class Controller:
    """Drives a run: one batch of groups in, one new weight version out, per step."""

    def __init__(
        self,
        config: RunConfig,
        *,
        tasks: TaskStream,
        actors: Actors,
        evaluator: Evaluator,
        recorder: Recorder,
        clock: PhaseClock,
    ) -> None:
        self.config = config
        self.tasks = tasks
        self.actors = actors
        self.evaluator = evaluator
        self.recorder = recorder
        self.clock = clock
        self.step = 0
        self.version = 0
        self.pending: list[Prompt] = []
        self.ages: list[int] = []

    def run(self, checkpoint: Checkpoint | None = None) -> None:
        """All steps of the run, with evaluations at start, in between, and at the end.

        Args:
            checkpoint: to go on from; None: from the start.
        """
        if checkpoint is None:
            self.broadcast()
            self.evaluator.prepare()
            self.evaluate("before")
        else:
            self.resume(checkpoint)
        step = self.sequential_step if self.config.schedule == "sequential" else self.merged_step
        while self.step < self.config.steps:
            self.step += 1
            step()
            every = self.config.evaluation.every
            if every and self.step % every == 0 and self.step < self.config.steps:
                self.evaluate("between")
            self.save_when_due()
        self.evaluate("after")

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take up where ``checkpoint`` was saved. Weights are sent before the first prompt."""
        self.recorder.phase("resuming")
        state = RunState.of(checkpoint)
        self.step, self.version = state.step, state.version
        self.pending = list(state.pending)
        self.tasks.restore(state.tasks)
        self.evaluator.restore(state.bank)
        self.actors.learner.load(checkpoint)
        self.broadcast()
        self.clock.take()

    def save_when_due(self) -> None:
        """Write a checkpoint every so many steps, and at the last one.

        Raises:
            CheckpointError: it could not be written; the one before is intact.
        """
        settings, last = self.config.checkpoints, self.step == self.config.steps
        if not settings.every or (self.step % settings.every and not last):
            return
        self.recorder.phase("saving")
        state = RunState(
            step=self.step,
            version=self.version,
            tasks=self.tasks.state(),
            pending=tuple(self.pending),
            bank=self.evaluator.bank,
            evaluations=len(self.recorder.evaluations),
        )
        with self.clock.phase("checkpoint"):
            self.actors.learner.save(
                self.config.checkpoints_folder,
                self.step,
                state.extras(),
                keep=settings.keep,
                card=self.card(),
            )

    def card(self) -> str:
        """The model card of the weights as they are now."""
        return model_card(self.config, self.step, self.recorder.evaluations)

    def merged_step(self) -> None:
        """Solve new tasks and answer the last step's judge prompts, in one batch and update."""
        solve = self.solve_prompts(self.config.tasks_per_step)
        groups = self.rollout(solve + self.pending)
        solved, judged = groups[: len(solve)], groups[len(solve) :]
        solved += self.refill(solved)
        self.pending = self.recycle(solved)
        report = self.learn(solved + judged)
        self.record(solved + judged, report)

    def sequential_step(self) -> None:
        """The paper's order: update on solving, then judge with the new weights and update."""
        solved = self.rollout(self.solve_prompts(self.config.tasks_per_step))
        solved += self.refill(solved)
        report = self.learn(solved)
        self.pending = self.recycle(solved)
        judged: list[GroupRef] = []
        if self.pending:
            judged = self.rollout(self.pending)
            report = report.followed_by(self.learn(judged))
        self.record(solved + judged, report)

    def refill(self, solved: Sequence[GroupRef]) -> list[GroupRef]:
        """Groups of further tasks in the place of those without signal, as far as allowed."""
        wanted = self.config.tasks_per_step
        limit = int(self.config.sampling.refill * wanted)
        useful = sum(group.summary.has_signal for group in solved)
        more: list[GroupRef] = []
        while (count := min(wanted - useful, limit - len(solved) - len(more))) > 0:
            prompts = self.solve_prompts(count, first=len(solved) + len(more))
            found = self.rollout(prompts, len(more))
            useful += sum(group.summary.has_signal for group in found)
            more += found
        return more

    def solve_prompts(self, count: int, first: int = 0) -> list[Prompt]:
        """Prompts of the next tasks, numbered from ``first`` within the step.

        The step is part of the id: epochs repeat tasks.
        """
        tasks = self.tasks.take(count)
        prompts = [solve_prompt(task, self.config.recycle.style) for task in tasks]
        return [
            replace(prompt, id=f"{self.step}.{index}/{prompt.id}")
            for index, prompt in enumerate(prompts, first)
        ]

    def rollout(self, prompts: Sequence[Prompt], *again: int) -> list[GroupRef]:
        """Sample and grade groups of the current weights, in the order of ``prompts``.

        Args:
            prompts: to answer.
            again: tells batches of the same step and weights apart; part of the seed.
        """
        self.recorder.phase("generating")
        return self.actors.rollouts.sample(
            prompts,
            completions=self.config.sampling.completions,
            temperature=self.config.sampling.temperature,
            seed=derive_seed(self.config.seed, "generate", self.step, self.version, *again),
        )

    def recycle(self, solved: Sequence[GroupRef]) -> list[Prompt]:
        """Judge and reflection prompts out of verified solve groups."""
        if not self.config.recycle.enabled:
            return []
        with self.clock.phase("recycle"):
            return self.actors.recycler.recycle(
                [group.ref for group in solved], derive_seed(self.config.seed, "recycle", self.step)
            )

    def learn(self, groups: Sequence[GroupRef]) -> UpdateReport:
        """Train on the groups that have signal, then send the new weights to every generator."""
        self.recorder.phase("training")
        self.ages += self.ages_of(groups)
        useful = [group for group in groups if group.summary.has_signal]
        parts = split_groups(
            useful,
            self.config.learner.updates_per_step,
            derive_seed(self.config.seed, "split", self.version),
        )
        with self.clock.phase("update"):
            report = self.actors.learner.update(parts)
        self.version += 1
        self.broadcast()
        return report

    def broadcast(self) -> None:
        """Send the learner's weights as the current version; compare checksums when due."""
        self.recorder.phase("broadcasting")
        with self.clock.phase("broadcast"):
            self.actors.learner.broadcast(self.version)
        every = self.config.transfer.checksum_every
        if every and self.version % every == 0:
            with self.clock.phase("checksum"):
                self.check_weights()

    def check_weights(self) -> None:
        """Compare every engine's weights with the learner's export.

        Raises:
            IntegrityError: they differ; the message names engine and parameter.
        """
        expected = self.actors.learner.checksums()
        for index, found in enumerate(self.actors.generators.checksums()):
            wrong = sorted(name for name in expected if found.get(name) != expected[name])
            if wrong:
                raise IntegrityError(
                    f"generator {index} at version {self.version}: {len(wrong)} of "
                    f"{len(expected)} parameters differ from the learner's export, "
                    f"the first is {wrong[0]}"
                )

    def ages_of(self, groups: Sequence[GroupRef]) -> list[int]:
        """Versions that each completion lies behind the weights it is about to train.

        Raises:
            IntegrityError: one is not of the current weights (every run is synchronous).
        """
        ages = []
        for group in groups:
            for version in group.summary.versions:
                if version != self.version:
                    raise IntegrityError(
                        f"prompt {group.summary.prompt_id} was answered at version {version}, "
                        f"the learner is at {self.version}"
                    )
                ages.append(self.version - version)
        return ages

    def record(self, groups: Sequence[GroupRef], report: UpdateReport) -> None:
        """Write the step's metrics, times and a few rollouts to read."""
        kept = self.kept_rollouts(groups)
        refs = [group.ref for group in kept]
        read = wait_for(refs, seconds=self.config.deadlines.grade, what="rollouts to write down")
        self.recorder.step(
            step=self.step,
            version=self.version,
            epoch=self.tasks.epoch,
            summaries=[group.summary for group in groups],
            ages=self.ages,
            recycled=self.pending,
            report=report,
            phases=self.clock.take(),
            read=read,
        )
        self.ages = []

    def kept_rollouts(self, groups: Sequence[GroupRef]) -> list[GroupRef]:
        """A few groups of each objective, the first of the step."""
        kept: list[GroupRef] = []
        for objective in Objective:
            ours = [group for group in groups if group.summary.objective is objective]
            kept += ours[: self.config.rollouts_kept]
        return kept

    def evaluate(self, when: Literal["before", "between", "after"]) -> None:
        """Held-out scores; in full, with greedy ones and examples, at start and end."""
        self.recorder.phase("evaluating")
        settings = self.config.evaluation
        tasks = settings.tasks_between if when == "between" else settings.tasks
        self.recorder.evaluation(self.evaluator.evaluate(self.step, tasks=tasks, greedy=False))
        if when != "between":
            if settings.greedy:
                scores = self.evaluator.evaluate(self.step, tasks=tasks, greedy=True)
                self.recorder.evaluation(scores)
            self.recorder.examples(self.evaluator.examples(when, self.step))
        self.clock.take()


def split_groups(groups: Sequence[GroupRef], updates: int, seed: int) -> list[list[GroupRef]]:
    """Deal groups over the updates of a step, every objective over all of them."""
    shuffled = list(groups)
    random.Random(seed).shuffle(shuffled)
    by_objective = sorted(shuffled, key=lambda group: group.summary.objective)
    return [by_objective[start::updates] for start in range(updates)]
