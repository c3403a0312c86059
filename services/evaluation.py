"""Held-out evaluation: does the model solve, judge and reflect better than before?

Judging and reflecting are measured on a fixed bank of candidate answers, sampled once from
the initial model, so that a better judge is told from an easier question set.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from actors.refs import GroupRef
from actors.waiting import wait_for
from contracts.config import RunConfig
from contracts.grammar import NO, YES, verdict_of
from contracts.types import Candidate, Group, GroupSummary, Objective, Prompt, Task
from recycler.candidates import may_be_shown
from recycler.recycle import pairwise_prompt, pointwise_prompt, reflect_prompt, solve_prompt
from services.evaluate.judging import judge_record
from services.records import EvaluationRecord, ExampleRecord
from services.rollouts import Rollouts
from services.seeds import derive_seed
from services.statistics import Score, balanced_accuracy, proportion


@dataclass(frozen=True)
class BankEntry:
    """A held-out task with a right and a wrong answer of the initial model, where it gave one."""

    task: Task
    right: Candidate | None
    wrong: Candidate | None


class Evaluator:
    """Measures a model on held-out tasks, through the generators and verifiers of the run."""

    def __init__(self, rollouts: Rollouts, held_out: Sequence[Task], config: RunConfig) -> None:
        self._rollouts = rollouts
        self._tasks = tuple(held_out[: config.evaluation.tasks])
        self._config = config
        self._bank: tuple[BankEntry, ...] = ()

    def prepare(self) -> None:
        """Sample the bank of candidates from the initial model. Once, before the first step."""
        prompts = [solve_prompt(task, self._config.recycle.style) for task in self._tasks]
        groups = self._rollouts.sample(
            prompts,
            completions=self._config.evaluation.candidates,
            temperature=self._config.sampling.temperature,
            seed=derive_seed(self._config.seed, "bank"),
        )
        seed = derive_seed(self._config.seed, "bank", "choice")
        self._bank = tuple(
            bank_entry(group, seed, self._config.recycle.longest_answer)
            for group in self._fetch(groups)
        )

    @property
    def bank(self) -> tuple[BankEntry, ...]:
        """The candidates judging is measured on; empty before ``prepare``."""
        return self._bank

    def restore(self, bank: Sequence[BankEntry]) -> None:
        """Go on with the bank of an earlier part of the run."""
        self._bank = tuple(bank)

    def evaluate(self, step: int, *, tasks: int, greedy: bool) -> EvaluationRecord:
        """Scores on the first ``tasks`` held-out tasks, with 95 % intervals.

        Sampled at the run's temperature, or greedily. Where all tasks are asked and sampled,
        verdicts are repeated too.
        """
        prompts = self._prompts(tasks)
        turned = self._judge_prompts(tasks, turned=True)
        asked = self._sample([*prompts, *turned], step, greedy)
        summaries = [group.summary for group in asked]
        more = self._more_verdicts(step) if self._whole(tasks, greedy) else []
        own = self._sample(self._own(asked[: len(prompts)]), step, greedy, "own")
        return EvaluationRecord(
            step=step,
            mode="greedy" if greedy else "sampled",
            tasks=min(tasks, len(self._tasks)),
            scores=scores_of(summaries[: len(prompts)]),
            judge={
                "fixed": judge_record(joined([*summaries, *more])),
                "own": judge_record(group.summary for group in own),
            },
        )

    def examples(
        self, when: Literal["before", "after"], step: int, each: int = 6
    ) -> list[ExampleRecord]:
        """Completions of the first prompts of each objective, to be read in the report."""
        prompts: list[Prompt] = []
        for objective in Objective:
            ours = [p for p in self._prompts(len(self._tasks)) if p.objective is objective]
            prompts += ours[:: max(1, len(ours) // each)][:each]
        groups = self._fetch(self._sample(prompts, step, greedy=False))
        return [ExampleRecord.of(when, group.rollouts[0]) for group in groups]

    def _whole(self, tasks: int, greedy: bool) -> bool:
        return not greedy and tasks >= len(self._tasks) and self._config.evaluation.verdicts > 1

    def _sample(
        self,
        prompts: Sequence[Prompt],
        step: int,
        greedy: bool,
        *purpose: str,
        completions: int = 1,
    ) -> list[GroupRef]:
        return self._rollouts.sample(
            prompts,
            completions=completions,
            temperature=0.0 if greedy else self._config.sampling.temperature,
            seed=derive_seed(self._config.seed, "evaluate", *purpose, step),
        )

    def _more_verdicts(self, step: int) -> list[GroupSummary]:
        """What the model says when it is asked again about some of the candidates."""
        prompts = self._judge_prompts(self._config.evaluation.tasks_between)
        again = self._sample(
            [prompt for prompt in prompts if prompt.objective is Objective.POINTWISE],
            step,
            False,
            "again",
            completions=self._config.evaluation.verdicts - 1,
        )
        return [group.summary for group in again]

    def _own(self, groups: Sequence[GroupRef]) -> list[Prompt]:
        """Pointwise prompts on what the model has just answered, as right or wrong as it was."""
        solved = [group for group in groups if group.summary.objective is Objective.SOLVE]
        style, seed = self._config.recycle.style, derive_seed(self._config.seed, "judge")
        longest = self._config.recycle.longest_answer
        return [
            pointwise_prompt(Candidate.of(group.rollouts[0]), style, seed)
            for group in self._fetch(solved)
            if may_be_shown(group.rollouts[0], longest)
        ]

    def _prompts(self, tasks: int) -> list[Prompt]:
        style = self._config.recycle.style
        solve = [solve_prompt(entry.task, style) for entry in self._bank[:tasks]]
        return solve + self._judge_prompts(tasks)

    def _judge_prompts(self, tasks: int, *, turned: bool = False) -> list[Prompt]:
        """Prompts on the bank; ``turned``: the pairs alone, each in its other order."""
        style, seed = self._config.recycle.style, derive_seed(self._config.seed, "judge")
        entries = self._bank[:tasks]
        return (
            pair_prompts(entries, style, seed, 1) if turned else judge_prompts(entries, style, seed)
        )

    def _fetch(self, groups: Sequence[GroupRef]) -> list[Group]:
        refs = [group.ref for group in groups]
        return list(wait_for(refs, seconds=self._config.deadlines.grade, what="graded groups"))


def bank_entry(group: Group, seed: int, longest_answer: int) -> BankEntry:
    """Choose one right and one wrong answer of a group, at random but the same for a seed."""
    shown = [rollout for rollout in group.rollouts if may_be_shown(rollout, longest_answer)]
    return entry_of(group.prompt.task, [Candidate.of(rollout) for rollout in shown], seed)


def entry_of(task: Task, candidates: Sequence[Candidate], seed: int) -> BankEntry:
    """One right and one wrong of the candidates to ``task``, at random but the same for a seed."""
    draw = random.Random(f"{seed}/{task.id}")
    right = [candidate for candidate in candidates if candidate.correct]
    wrong = [candidate for candidate in candidates if not candidate.correct]
    return BankEntry(
        task=task,
        right=draw.choice(right) if right else None,
        wrong=draw.choice(wrong) if wrong else None,
    )


def judge_prompts(
    entries: Sequence[BankEntry], style: str, seed: int, *, reasoning: bool = False
) -> list[Prompt]:
    """Pointwise prompts in balance, pairwise prompts with positions balanced, reflections.

    ``reasoning``: candidates are shown whole, not their answers alone.
    """
    right = [entry.right for entry in entries if entry.right]
    wrong = [entry.wrong for entry in entries if entry.wrong]
    pairs = min(len(right), len(wrong))
    balanced = (*right[:pairs], *wrong[:pairs])
    prompts = [pointwise_prompt(c, style, seed, reasoning=reasoning) for c in balanced]
    prompts += pair_prompts(entries, style, seed, 0, reasoning=reasoning)
    prompts += [reflect_prompt(c, style, seed, reasoning=reasoning) for c in (*wrong, *right)]
    return prompts


def pair_prompts(
    entries: Sequence[BankEntry],
    style: str,
    seed: int,
    parity: int,
    *,
    reasoning: bool = False,
) -> list[Prompt]:
    """The pairs of a bank, positions in turn; ``parity`` 0 and 1 are each other's swap."""
    both = [(entry.right, entry.wrong) for entry in entries if entry.right and entry.wrong]
    return [
        pairwise_prompt(
            good, bad, style, seed, right_first=index % 2 == parity, reasoning=reasoning
        )
        for index, (good, bad) in enumerate(both)
    ]


def joined(summaries: Sequence[GroupSummary]) -> list[GroupSummary]:
    """Groups of one prompt as one group: what was answered first, and what was answered later."""
    found: dict[str, GroupSummary] = {}
    for summary in summaries:
        before = found.get(summary.prompt_id)
        found[summary.prompt_id] = summary if before is None else before.with_more(summary)
    return list(found.values())


def scores_of(summaries: Sequence[GroupSummary]) -> dict[str, Score]:
    """Every score of an evaluation from groups of one completion each."""

    def correct(objective: Objective, shown: tuple[bool, ...] | None = None) -> list[bool]:
        return [
            summary.correct[0]
            for summary in summaries
            if summary.objective is objective and shown in (None, summary.shown_correct)
        ]

    def share(hits: Sequence[bool]) -> Score:
        return proportion(sum(hits), len(hits))

    on_right = correct(Objective.POINTWISE, (True,))
    on_wrong = correct(Objective.POINTWISE, (False,))
    return {
        "policy_accuracy": share(correct(Objective.SOLVE)),
        "judge_accuracy": balanced_accuracy(
            sum(on_right), len(on_right), sum(on_wrong), len(on_wrong)
        ),
        "judge_true_positive_rate": share(on_right),
        "judge_true_negative_rate": share(on_wrong),
        "judge_yes_rate": share(verdicts(summaries)),
        "pairwise_accuracy": share(correct(Objective.PAIRWISE)),
        "reflection_fix_rate": share(correct(Objective.REFLECT, (False,))),
        "reflection_keep_rate": share(correct(Objective.REFLECT, (True,))),
    }


def verdicts(summaries: Sequence[GroupSummary]) -> list[bool]:
    """For each pointwise completion with a verdict: whether it said yes."""
    return [
        read == YES
        for summary in summaries
        if summary.objective is Objective.POINTWISE
        for answer in summary.extracted
        if answer is not None and (read := verdict_of(answer)) in (YES, NO)
    ]
