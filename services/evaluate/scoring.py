"""From outcomes of strategies to figures: accuracy with intervals, cost, one beside another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.evaluate.answerer import Reply
from services.evaluate.records import Comparison, StrategyResult, Versus
from services.evaluate.strategies import Outcome, Strategy
from services.statistics import mean_by_task, paired_difference

PLAIN = ("single", "majority")
"""Strategies that ask no judge."""

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
    """The figures of every strategy, each beside what needs no judge."""
    plain = [one for one in scored if one.strategy.kind in PLAIN]
    return [_result(one, plain, seed) for one in scored]


def _result(scored: Scored, plain: Sequence[Scored], seed: int) -> StrategyResult:
    outcomes, strategy = scored.outcomes, scored.strategy
    accepted = [float(o.accepted) for o in outcomes if o.accepted is not None]
    single = next((one for one in plain if one.strategy.kind == "single"), None)
    judged = strategy.kind not in PLAIN
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
        against_single=_versus(single, scored, seed) if strategy.kind != "single" else None,
        against_majority=_versus(_as_dear(scored, plain), scored, seed) if judged else None,
        against_mixture=_beside_mixture(scored, plain, seed) if judged else None,
    )


def _versus(other: Scored | None, this: Scored, seed: int) -> Versus | None:
    if other is None:
        return None
    difference = paired_difference(other.earned, this.earned, seed=seed)
    return Versus(label=other.strategy.label, difference=difference)


def _as_dear(this: Scored, plain: Sequence[Scored]) -> Scored | None:
    """The cheapest majority that takes at least as many tokens."""
    majorities = [one for one in plain if one.strategy.kind == "majority"]
    dear = [one for one in majorities if one.tokens >= this.tokens]
    return min(dear, key=lambda one: one.tokens, default=None)


def _beside_mixture(this: Scored, plain: Sequence[Scored], seed: int) -> Versus | None:
    """Beside the best mixture of a cheaper and a dearer strategy at the same mean of tokens."""
    mixtures = [
        _mixture(low, high, this.tokens)
        for low in plain
        for high in plain
        if low.tokens <= this.tokens <= high.tokens and low.tokens < high.tokens
    ]
    if not mixtures:
        return None
    label, earned = max(mixtures, key=lambda mixture: sum(map(sum, mixture[1])))
    return Versus(label=label, difference=paired_difference(earned, this.earned, seed=seed))


def _mixture(low: Scored, high: Scored, tokens: float) -> tuple[str, Earned]:
    """What a lot between two strategies earns on each task, on average, for ``tokens``."""
    share = (tokens - low.tokens) / (high.tokens - low.tokens)
    earned = [
        [(1 - share) * _mean(cheap) + share * _mean(dear)]
        for cheap, dear in zip(low.earned, high.earned, strict=True)
    ]
    return f"{1 - share:.0%} {low.strategy.label}, {share:.0%} {high.strategy.label}", earned


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
