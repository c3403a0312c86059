"""What stands in the files of a run folder: one frozen pydantic model per kind of line.

A number that is not finite (a diverged loss) is ``null`` in the file, so that every line is
valid JSON. Floats are written with the shortest digits that read back as the same float.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from contracts.types import (
    GroupSummary,
    Message,
    Objective,
    Prompt,
    Reason,
    Rollout,
    UpdateReport,
)
from services.statistics import Score

SCORES = (
    "policy_accuracy",
    "judge_accuracy",
    "pairwise_accuracy",
    "reflection_fix_rate",
    "reflection_keep_rate",
)
"""The five held-out scores of a summary, in the order they are shown."""

MORE_SCORES = ("judge_true_positive_rate", "judge_true_negative_rate", "judge_yes_rate")
"""What an evaluation holds besides: the parts of ``judge_accuracy``, and the share of yes."""


def _from_null(value: Any) -> Any:
    return math.nan if value is None else value


def _to_null(value: float) -> float | None:
    return value if math.isfinite(value) else None


Measured = Annotated[float, BeforeValidator(_from_null), PlainSerializer(_to_null)]
"""A measured number. One that is not finite is ``null`` in the file, and is read as NaN."""


class Record(BaseModel):
    """Base of every record: unknown fields are errors, values cannot change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def line(self) -> str:
        """The record as one line of JSON, keys sorted, without the line end."""
        fields = self.model_dump(mode="json")
        return json.dumps(fields, sort_keys=True, ensure_ascii=False, allow_nan=False)


class Staleness(Record):
    """Versions between sampling and training, over the samples of a step."""

    mean: Measured
    max: int


class ObjectiveUpdate(Record):
    """``contracts.types.ObjectiveReport`` as it is written down."""

    loss: Measured
    ratio: Measured
    clip_fraction: Measured
    kl_sampler: Measured
    gap: Measured
    kl_reference: Measured
    entropy: Measured
    tokens: int
    samples: int


class Update(Record):
    """``contracts.types.UpdateReport`` as it is written down, without its clock."""

    updates: int
    learning_rate: Measured
    gradient_norm: Measured
    tokens: int
    objectives: dict[Objective, ObjectiveUpdate] = {}
    gradient_norms: dict[Objective, Measured] = {}
    """Of each objective's part of the gradient, where `metrics.gradient_norms_every` asked for
    it."""

    @classmethod
    def of(cls, report: UpdateReport) -> Self:
        """Write down what the learner reported."""
        fields = asdict(report)
        del fields["seconds"]
        return cls.model_validate(fields)


class Recycled(Record):
    """Recycled prompts of a step by label; of reflections by the candidate shown."""

    pointwise: dict[Literal["yes", "no"], int] = {}
    pairwise: dict[Literal["A", "B"], int] = {}
    reflect: dict[Literal["wrong", "right"], int] = {}


class JudgeRates(Record):
    """How the judge of single answers did in a step, against the verifier; None: not asked."""

    true_positive_rate: float | None = None
    """Share of yes among the verdicts on right answers."""
    false_positive_rate: float | None = None
    """Share of yes among the verdicts on wrong answers."""
    calibration_error: float | None = None
    """Expected calibration error of the share of yes in each group."""


class ReflectionRates(Record):
    """What reflections did with the answers they were shown; None: none were."""

    fix: float | None = None
    """Share of wrong answers that were made right."""
    keep: float | None = None
    """Share of right answers that were kept."""
    broke: float | None = None
    """Share of right answers that were answered wrongly; the rest went without an answer."""


class StepMetrics(Record):
    """A line of ``metrics.jsonl``: what a step did. Nothing here depends on the clock."""

    step: int
    version: int
    """Weight version after the step."""
    epoch: int
    groups: dict[Objective, int] = {}
    """Groups generated and graded."""
    dropped: dict[Objective, int] = {}
    """Groups without a signal of their own: all rewards alike. As a rule not trained on."""
    all_right: dict[Objective, int] = {}
    """Of these, the ones of which every completion was right."""
    all_wrong: dict[Objective, int] = {}
    """Of these, the ones of which every completion was wrong."""
    stale: dict[Objective, int] = {}
    """Groups that were too old to be trained on, and are asked again. Not among ``groups``."""
    reward: dict[Objective, Measured] = {}
    """Mean reward of all completions."""
    accuracy: dict[Objective, Measured] = {}
    """Share of correct completions."""
    advantage: dict[Objective, Measured] = {}
    """Standard deviation of the advantages of all completions."""
    judge: JudgeRates = JudgeRates()
    reflection: ReflectionRates = ReflectionRates()
    yes_rate: float | None = None
    """Share of yes among the pointwise verdicts; None if there were none."""
    reasons: dict[Reason, int] = {}
    recycled: Recycled
    completion_tokens: int
    prompt_tokens: int = 0
    """Of all prompts, each counted once for its group."""
    staleness: Staleness
    update: Update | None
    """None if no group had signal, so that nothing was trained."""


class StepTiming(Record):
    """A line of ``timing.jsonl``: the clock of a step, in seconds."""

    step: int
    seconds: float
    phases: dict[str, float] = {}
    tokens_per_second: Measured
    """Completion tokens of the step over the seconds of the whole step."""
    idle: dict[Literal["learner", "generators"], Measured] = {}
    """Share of the step in which each had nothing to do."""
    queued: int = 0
    """Most batches that waited for the learner."""


class FaultRecord(Record):
    """A line of ``faults.jsonl``: something failed, and was mended or gone around."""

    at: float
    """Seconds since 1970."""
    step: int
    """Steps that were done."""
    kind: str
    name: str
    cause: str


class RecycledRecord(Record):
    """A line of ``recycled.jsonl``: a prompt that was made in ``step``, for another run."""

    step: int
    prompt: Prompt


class LedgerRecord(Record):
    """A line of ``ledger.jsonl``: a group that was taken into account, once and for all."""

    step: int
    version: int
    """Weight version that it was trained into."""
    prompt: str
    task: str
    objective: Objective
    label: str
    parents: tuple[str, ...]
    """Ids of the completions that are shown: the prompt's of theirs, and a number."""
    shown_correct: tuple[bool, ...]
    sampled: tuple[int, ...]
    """Oldest version among the tokens of each completion."""
    correct: str
    """1 or 0 for each completion, as graded."""
    trained: bool
    """Whether it had a signal of its own: rewards that differ."""

    @classmethod
    def of(cls, step: int, version: int, prompt: Prompt, group: GroupSummary) -> Self:
        """Write down a group of ``prompt`` that was trained into ``version``."""
        return cls(
            step=step,
            version=version,
            prompt=group.prompt_id,
            task=group.task_id,
            objective=group.objective,
            label=group.label,
            parents=prompt.parents,
            shown_correct=group.shown_correct,
            sampled=group.versions,
            correct="".join("1" if right else "0" for right in group.correct),
            trained=group.has_signal,
        )


class Reliability(Record):
    """Candidates whose share of yes is ``low`` to ``high``, and how many of them are right."""

    low: float
    high: float
    confidence: float
    """Mean share of yes."""
    accuracy: Score
    """Share that is right, of so many candidates."""


class JudgeRecord(Record):
    """How well a model judges one set of candidate answers. What was not measured has no value.

    Verdicts that could not be read count as neither yes nor no: against both rates.
    """

    candidates: int = 0
    """Answers judged one by one."""
    verdicts: int = 0
    """Verdicts on them; more than one on each where calibration is measured."""
    unread: int = 0
    """Of these, how many were neither yes nor no."""
    balanced_accuracy: Score = Score.nothing()
    """Mean of the share of yes on right answers and of no on wrong ones: chance is a half."""
    true_positive_rate: Score = Score.nothing()
    """Share of yes on right answers."""
    false_positive_rate: Score = Score.nothing()
    """Share of yes on wrong answers."""
    yes_rate: Score = Score.nothing()
    """Share of yes among the verdicts that could be read."""
    calibration_error: float | None = None
    """Expected calibration error of the share of yes among repeated verdicts."""
    reliability: tuple[Reliability, ...] = ()
    """The bins behind it."""
    pairwise_accuracy: Score = Score.nothing()
    """Share of right choices of one answer of two, over both orders where both were asked."""
    pairwise_consistency: Score = Score.nothing()
    """Share of pairs of which the same answer was chosen in both orders."""
    pairwise_first_rate: Score = Score.nothing()
    """Share of choices that fell on the answer shown first: a half without a preference."""
    reflection_fix: Score = Score.nothing()
    """Share of wrong answers that a reflection made right."""
    reflection_keep: Score = Score.nothing()
    """Share of right answers that it kept right."""
    reflection_break: Score = Score.nothing()
    """Share of right answers that it made wrong, or did not answer."""


JUDGE_SCORES = (
    "balanced_accuracy",
    "true_positive_rate",
    "false_positive_rate",
    "yes_rate",
    "pairwise_accuracy",
    "pairwise_consistency",
    "pairwise_first_rate",
    "reflection_fix",
    "reflection_keep",
    "reflection_break",
)
"""The scores of a ``JudgeRecord`` that are shares of trials, in the order they are shown."""

JudgedSet = Literal["fixed", "own"]
"""``fixed``: candidates of the initial model, the same in every evaluation of a run. ``own``: what
the model itself has just answered. A better judge rises on both, a drifting set moves one."""


class EvaluationRecord(Record):
    """A line of ``evaluations.jsonl``: held-out scores after ``step`` steps."""

    step: int
    mode: Literal["sampled", "greedy"]
    tasks: int
    scores: dict[str, Score]
    """By name: ``SCORES`` and ``MORE_SCORES``."""
    judge: dict[JudgedSet, JudgeRecord] = {}
    """Judging in full, by the set of answers it was measured on."""


class RolloutRecord(Record):
    """A line of ``rollouts.jsonl``: a rollout to be read by people."""

    step: int
    objective: Objective
    prompt: str
    completion: str
    label: str
    extracted: str | None
    reward: Measured
    reason: Reason
    version: int
    """The oldest weight version among the tokens."""
    parents: tuple[str, ...] = ()

    @classmethod
    def of(cls, step: int, rollout: Rollout) -> Self:
        """Write down a rollout of ``step``."""
        return cls(
            step=step,
            objective=rollout.prompt.objective,
            prompt=transcript(rollout.prompt.messages),
            completion=rollout.completion.text,
            label=rollout.prompt.label,
            extracted=rollout.grade.extracted,
            reward=rollout.grade.reward,
            reason=rollout.grade.reason,
            version=rollout.completion.oldest_version,
            parents=rollout.prompt.parents,
        )


When = Literal["before", "after"]


class ExampleRecord(Record):
    """A line of ``examples.jsonl``: one held-out prompt, answered before or after training."""

    when: When
    objective: Objective
    prompt_id: str
    prompt: str
    completion: str
    label: str
    extracted: str | None
    correct: bool

    @classmethod
    def of(cls, when: When, rollout: Rollout) -> Self:
        """Write down an example."""
        return cls(
            when=when,
            objective=rollout.prompt.objective,
            prompt_id=rollout.prompt.id,
            prompt=transcript(rollout.prompt.messages),
            completion=rollout.completion.text,
            label=rollout.prompt.label,
            extracted=rollout.grade.extracted,
            correct=rollout.grade.correct,
        )


def transcript(messages: tuple[Message, ...]) -> str:
    """Chat messages as text to be read: a lone user message bare, others under their roles."""
    if len(messages) == 1:
        return messages[0].text()
    return "\n\n".join(f"{message.role}:\n{message.text()}" for message in messages)


class ModelSummary(Record):
    """The model of a run. ``warm_start`` says in plain words what a warm start put into it."""

    name: str
    parameters: int
    warm_start: str = ""
    """Empty if there was none."""


Scores = dict[str, Score]


class Summary(Record):
    """``summary.json``: what came of a run. ``seconds`` is the wall-clock time of the whole run."""

    status: Literal["finished", "interrupted", "failed"]
    steps: int
    """Steps that were completed."""
    seconds: float
    seed: int
    model: ModelSummary
    before: Scores | None = None
    """The five ``SCORES`` at temperature 1 at the start."""
    after: Scores | None = None
    """The same at the end; None if the run did not get there."""
    before_greedy: Scores | None = None
    after_greedy: Scores | None = None
    versions: dict[str, str] = {}
    """Version of each package that matters, by name."""
