"""From outcomes of strategies to figures: accuracy with intervals, cost, one beside another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.evaluate.answerer import Reply
from services.evaluate.records import Comparison, StrategyResult, Versus
from services.evaluate.strategies import Outcome, Strategy
from services.statistics import mean_by_task, paired_difference

Earned = list[list[float]]
"""For each task, what its answers earned: 1 for a right one, 0 for a wrong one or none."""


@dataclass(frozen=True)
class Scored:
    """A strategy, what it came to on each task, and what that was worth.

    ``runs``: for each time that it was run, from fresh draws, its outcomes by task.
    """

    strategy: Strategy
    runs: Sequence[Sequence[Outcome]]
    correct: Callable[[Reply | None], bool]

    @property
    def outcomes(self) -> list[Outcome]:
        """Those of all runs, one run after another."""
        return [outcome for run in self.runs for outcome in run]

    @property
    def earned(self) -> Earned:
        """By task, what its answers earned in all runs."""
        return [
            [value for outcome in outcomes for value in self.worth(outcome)]
            for outcomes in zip(*self.runs, strict=True)
        ]

    @property
    def by_task(self) -> dict[str, list[float]]:
        """The same by the id of the task."""
        ids = [outcome.task.id for outcome in self.runs[0]]
        return dict(zip(ids, self.earned, strict=True))

    @property
    def tokens(self) -> float:
        """Tokens of a task, read and sampled, mean over tasks and runs."""
        return _mean([o.cost.tokens / len(o.chosen) for o in self.outcomes])

    def worth(self, outcome: Outcome) -> list[float]:
        """1 for each right answer, 0 for a wrong one or none."""
        return [float(self.correct(reply)) for reply in outcome.chosen]


def results_of(scored: Sequence[Scored], seed: int = 0) -> list[StrategyResult]:
    """The figures of every strategy, each beside the single pass and a majority as dear."""
    single = next((one for one in scored if one.strategy.kind == "single"), None)
    majorities = [one for one in scored if one.strategy.kind == "majority"]
    majorities.sort(key=lambda one: one.tokens)
    return [_result(one, single, majorities, seed) for one in scored]


def _result(
    scored: Scored, single: Scored | None, majorities: Sequence[Scored], seed: int
) -> StrategyResult:
    outcomes, strategy = scored.outcomes, scored.strategy
    accepted = [float(o.accepted) for o in outcomes if o.accepted is not None]
    dear = next((one for one in majorities if one.tokens >= scored.tokens), None)
    beside_majority = dear if strategy.kind not in ("single", "majority") else None
    beside_single = single if strategy.kind != "single" else None
    return StrategyResult(
        kind=strategy.kind,
        label=strategy.label,
        samples=strategy.samples,
        verdicts=getattr(strategy, "verdicts", 0),
        accuracy=mean_by_task(scored.earned, seed=seed),
        prompt_tokens=_mean([o.cost.prompt / len(o.chosen) for o in outcomes]),
        generated_tokens=_mean([o.cost.generated / len(o.chosen) for o in outcomes]),
        calls=_mean([o.cost.calls / len(o.chosen) for o in outcomes]),
        accepted=_mean(accepted) if accepted else None,
        rounds=_mean([float(o.rounds) for o in outcomes]),
        unanswered=_mean([float(reply is None) for o in outcomes for reply in o.chosen]),
        against_single=_versus(beside_single, scored, seed),
        against_majority=_versus(beside_majority, scored, seed),
    )


def _versus(other: Scored | None, this: Scored, seed: int) -> Versus | None:
    if other is None:
        return None
    difference = paired_difference(other.earned, this.earned, seed=seed)
    return Versus(label=other.strategy.label, difference=difference)


def compare(
    dataset: str, names: tuple[str, str], first: Sequence[Scored], second: Sequence[Scored]
) -> list[Comparison]:
    """Two models, strategy by strategy, on the tasks that both were asked."""
    comparisons = []
    for one, other in zip(first, second, strict=True):
        left, right = one.by_task, other.by_task
        both = [task for task in left if task in right]
        difference = paired_difference([left[t] for t in both], [right[t] for t in both])
        comparisons.append(
            Comparison(
                dataset=dataset,
                label=one.strategy.label,
                first=names[0],
                second=names[1],
                difference=difference,
            )
        )
    return comparisons


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
