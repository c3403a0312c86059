"""What ``coevolve eval`` writes: ``results.json``, and a line per task in ``answers.jsonl``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from services.evaluate.strategies import Kind
from services.records import JudgedSet, JudgeRecord
from services.statistics import Difference, Score


class Record(BaseModel):
    """Base of what is written: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Versus(Record):
    """A strategy beside another one, on the same tasks. Positive: this one is better."""

    label: str
    difference: Difference


class StrategyResult(Record):
    """One strategy at one setting on one data set. Tokens and calls are means over the tasks."""

    kind: Kind
    label: str
    samples: int
    verdicts: int = 0
    accuracy: Score
    """Bootstrapped over tasks."""
    prompt_tokens: float
    generated_tokens: float
    calls: float
    """Prompts asked."""
    accepted: float | None = None
    """Share of tasks of which the own judge accepted the answer; None where none was asked."""
    rounds: float = 1.0
    unanswered: float = 0.0
    """Share of answers that were none."""
    against_single: Versus | None = None
    against_majority: Versus | None = None
    """Beside the cheapest majority that takes at least as many tokens; None: none was run."""
    against_mixture: Versus | None = None
    """At equal tokens: beside the best mixture of single pass and majorities, drawn by lot task by
    task, that takes as many tokens on average; None: nothing that was run takes as many."""

    @property
    def tokens(self) -> float:
        """All tokens of a task, read and sampled."""
        return self.prompt_tokens + self.generated_tokens


class Ranking(Record):
    """How often the model prefers what people prefer."""

    part: str = ""
    """A part of the benchmark; empty: all of it."""
    accuracy: Score
    """The better response first; among equals, the share of a draw by lot."""
    consistency: Score | None = None
    """Pairwise: the same response chosen in both orders."""
    unread: float = 0.0
    """Share of verdicts that could not be read."""


class DatasetResult(Record):
    """One data set. Of reward benchmarks there are ``rankings``, by how the judge was asked."""

    name: str
    tasks: int
    strategies: tuple[StrategyResult, ...] = ()
    judge: dict[JudgedSet, JudgeRecord] = {}
    rankings: dict[str, tuple[Ranking, ...]] = {}
    too_long: int = 0
    """Prompts that left no room in the context, and count as unanswered."""


class ModelResult(Record):
    """One model on all data sets, and how it was asked."""

    name: str
    style: str
    show: str
    temperature: float
    max_tokens: int
    datasets: tuple[DatasetResult, ...]


class Comparison(Record):
    """Two models with the same strategy on the same tasks. Positive: ``second`` is better."""

    dataset: str
    label: str
    first: str
    second: str
    difference: Difference


class Results(Record):
    """``results.json``."""

    command: str
    seed: int
    seconds: float
    models: tuple[ModelResult, ...]
    comparisons: tuple[Comparison, ...] = ()
    versions: dict[str, str] = {}
