"""An evaluation from plan to results: one model after another, on real engines in Ray."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from actors.graders.processes import GraderProcesses
from services.commands.lines import opened
from services.commands.rollout_rows import read_groups
from services.evaluate.data import Dataset
from services.evaluate.draws import Draws, Reader
from services.evaluate.engine import EngineAnswerer
from services.evaluate.judging import judge_record, summaries_of
from services.evaluate.models import Model
from services.evaluate.output import write
from services.evaluate.plan import Plan, check
from services.evaluate.pools import Pools, Progress
from services.evaluate.preferring import rank
from services.evaluate.records import Comparison, DatasetResult, ModelResult, Results
from services.evaluate.scoring import Scored, compare, results_of
from services.evaluation import BankEntry, bank_entry, entry_of, judge_prompts, pair_prompts
from services.records import JudgedSet, JudgeRecord
from services.versions import versions

CANDIDATES = 4
"""Answers of each task, at least, that the judge is measured on where no strategy draws more."""


@dataclass
class Measured:
    """A data set of one model as measured: what is written down, and what is compared."""

    result: DatasetResult
    scored: tuple[Scored, ...] = ()
    bank: tuple[BankEntry, ...] = ()


@dataclass
class Evaluation:
    """All that is found out, model by model. ``banks``: fixed candidates by data set."""

    plan: Plan
    progress: Progress
    banks: dict[str, tuple[BankEntry, ...]] = field(default_factory=dict)
    measured: dict[str, dict[str, Measured]] = field(default_factory=dict)

    def run(self, command: str) -> Results:
        """Evaluate every model; see ``evaluate``."""
        started = time.monotonic()
        plan, first = self.plan, self.plan.everyone[0][0]
        check(plan)
        plan.out.mkdir(parents=True, exist_ok=True)
        verifiers = first.config.verifiers
        with GraderProcesses(workers=verifiers.workers, deadline=verifiers.deadline) as graders:
            self._read_judge_set(graders)
            with Pools.started(first.config, plan.out / "logs", self.progress) as pools:
                for model, datasets in plan.everyone:
                    self._evaluate(model, datasets, pools, graders)
        return Results(
            command=command,
            seed=plan.seed,
            seconds=time.monotonic() - started,
            models=tuple(self._model_result(model) for model, _ in plan.everyone),
            comparisons=tuple(self._comparisons()),
            versions=versions(),
        )

    def _evaluate(
        self, model: Model, datasets: Sequence[Dataset], pools: Pools, graders: GraderProcesses
    ) -> None:
        """Measure one model on its data sets, on engines of its own."""
        with pools.of_model(model) as sampler:
            asked = EngineAnswerer(sampler, self.plan.settings_of(model), graders, self.progress)
            self.measured[model.name] = {
                dataset.name: self._measure(model, dataset, asked) for dataset in datasets
            }

    def _measure(self, model: Model, dataset: Dataset, asked: EngineAnswerer) -> Measured:
        plan = self.plan
        self.progress(f"{model.name}, {dataset.name}")
        before = asked.too_long
        if dataset.preferences:
            rankings = rank(
                dataset.preferences,
                asked.sample,
                style=model.config.recycle.style,
                verdicts=1 if asked.deterministic else plan.verdicts,
                seed=plan.seed,
            )
            count = len(dataset.preferences)
            found = Measured(DatasetResult(name=dataset.name, tasks=count, rankings=rankings))
        else:
            found = self._solve(model, dataset, asked)
        late = {"too_long": asked.too_long - before}
        return replace(found, result=found.result.model_copy(update=late))

    def _solve(self, model: Model, dataset: Dataset, asked: EngineAnswerer) -> Measured:
        """Every strategy on the same draws, then the judge on some of them."""
        repeats = [Draws(asked) for _ in range(self.plan.repeats)]
        scored = tuple(
            Scored(
                strategy,
                [strategy.run(dataset.tasks, draws.reader()) for draws in repeats],
                asked.correct,
            )
            for strategy in self.plan.strategies
        )
        result = DatasetResult(
            name=dataset.name,
            tasks=len(dataset.tasks),
            strategies=tuple(results_of(scored, self.plan.seed)),
        )
        if not self.plan.judge:
            return Measured(result, scored)
        bank = self._own_bank(dataset, asked, repeats[0].reader())
        sets: dict[JudgedSet, Sequence[BankEntry]] = {"own": bank}
        if dataset.name in self.banks:
            sets["fixed"] = of_tasks(self.banks[dataset.name], dataset)
        else:
            self.banks[dataset.name] = bank
        judge = {name: self._judge(model, entries, asked) for name, entries in sets.items()}
        return Measured(result.model_copy(update={"judge": judge}), scored, bank)

    def _own_bank(
        self, dataset: Dataset, asked: EngineAnswerer, reader: Reader
    ) -> tuple[BankEntry, ...]:
        """A right and a wrong answer of the model's own to each task, where it gave one."""
        times = max(CANDIDATES, *(strategy.draws for strategy in self.plan.strategies))
        if asked.deterministic:
            times = 1
        entries = []
        for task, got in zip(dataset.tasks, reader.solve(dataset.tasks, times), strict=True):
            readable = [reply for reply in got.replies if reply.answer is not None]
            candidates = [asked.candidate(reply) for reply in readable]
            entries.append(entry_of(task, candidates, self.plan.seed))
        return tuple(entries)

    def _judge(
        self, model: Model, entries: Sequence[BankEntry], asked: EngineAnswerer
    ) -> JudgeRecord:
        style, seed = model.config.recycle.style, self.plan.seed
        whole = self.plan.show_of(model) == "reasoning"
        prompts = judge_prompts(entries, style, seed, reasoning=whole)
        pointwise = [prompt for prompt in prompts if prompt.objective == "pointwise"]
        others = [prompt for prompt in prompts if prompt.objective != "pointwise"]
        others += pair_prompts(entries, style, seed, 1, reasoning=whole)
        verdicts = 1 if asked.deterministic else self.plan.verdicts
        groups = [*asked.sample(pointwise, verdicts), *asked.sample(others, 1)]
        return judge_record(summaries_of(groups))

    def _read_judge_set(self, graders: GraderProcesses) -> None:
        """The fixed candidates of a file, for every data set that has their tasks."""
        if self.plan.judge_set is None:
            return
        model, datasets = self.plan.everyone[0]
        with opened(self.plan.judge_set) as lines:
            groups = read_groups(lines, lines.name, model.config.recycle.style, graders)
        longest = model.config.recycle.longest_answer
        entries = tuple(bank_entry(group, self.plan.seed, longest) for group in groups)
        for dataset in datasets:
            self.banks[dataset.name] = entries

    def _model_result(self, model: Model) -> ModelResult:
        plan = self.plan
        return ModelResult(
            name=model.name,
            style=model.config.recycle.style,
            show=plan.show_of(model),
            temperature=plan.temperature_of(model),
            max_tokens=model.config.sampling.max_tokens,
            datasets=tuple(one.result for one in self.measured[model.name].values()),
        )

    def _comparisons(self) -> Iterator[Comparison]:
        """Every model beside the one of ``--against``, where there is one."""
        other = self.plan.against
        if other is None:
            return
        for model in self.plan.models:
            for name, mine in self.measured[model.name].items():
                theirs = self.measured[other.name].get(name)
                if theirs is not None:
                    yield from compare(name, (other.name, model.name), theirs.scored, mine.scored)


def of_tasks(entries: Sequence[BankEntry], dataset: Dataset) -> list[BankEntry]:
    """The entries on a data set's tasks, in their order, asked in its wording."""
    by_id = {entry.task.id: entry for entry in entries}
    found = []
    for task in dataset.tasks:
        if (entry := by_id.get(task.id)) is not None:
            right = replace(entry.right, task=task) if entry.right else None
            wrong = replace(entry.wrong, task=task) if entry.wrong else None
            found.append(BankEntry(task, right, wrong))
    return found


def evaluate(plan: Plan, *, command: str = "", progress: Progress = lambda _: None) -> Results:
    """Run ``plan``, and write and return what came of it.

    Args:
        plan: what to evaluate.
        command: how it was asked for, to be written down.
        progress: called with lines on what is being done.

    Raises:
        UserError: bad input; nothing was started.
        CoevolveError: an engine failed; its log says more.
    """
    evaluation = Evaluation(plan, progress)
    results = evaluation.run(command)
    write(results, evaluation.measured, plan.out)
    return results
