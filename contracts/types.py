"""The words of the system as types: task, prompt, completion, grade, group, sample.

Everything here is immutable. Arrays are numpy, so that they travel through Ray's object
store without a copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float32]


class Objective(StrEnum):
    """What a prompt trains: solving, judging one or two answers, or reflecting on one."""

    SOLVE = "solve"
    POINTWISE = "pointwise"
    PAIRWISE = "pairwise"
    REFLECT = "reflect"


class Reason(StrEnum):
    """Why a grade came out as it did."""

    OK = "ok"
    NO_ANSWER = "no_answer"
    TRUNCATED = "truncated"
    TIMEOUT = "timeout"
    ERROR = "error"


Finish = Literal["stop", "length", "abort"]


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of text in a message."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image in a message, by path. The generator reads it; the learner never does."""

    path: str


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message. ``content`` is plain text, or parts where images are among it."""

    role: Literal["system", "user", "assistant"]
    content: str | tuple[TextPart | ImagePart, ...]

    def text(self) -> str:
        """The message's text, images left out."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


@dataclass(frozen=True, slots=True)
class Task:
    """A question with a gold answer and the name of its verifier.

    ``id`` is unique within a data source and the same in every run over that source.
    ``verifier`` is ``math``, ``choice``, ``verdict``, ``exact`` or ``module:function``.
    """

    id: str
    question: str
    gold: str
    verifier: str = "math"
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """Chat messages sent to the model, with all that is needed to grade what comes back.

    ``label`` is what ``verifier`` compares with: the task's gold answer for ``solve`` and
    ``reflect``, ``yes``/``no`` for ``pointwise``, ``A``/``B`` for ``pairwise``.
    ``parents`` are ids of the completions shown in the prompt; ``shown`` the very strings
    that are judged; ``shown_correct`` the verifier's verdict on each of them.
    """

    id: str
    messages: tuple[Message, ...]
    objective: Objective
    label: str
    verifier: str
    task: Task
    template: str
    parents: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    shown_correct: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class VersionSpan:
    """Tokens ``start`` to ``stop`` (exclusive) of a completion were sampled at ``version``."""

    start: int
    stop: int
    version: int


@dataclass(frozen=True, slots=True)
class Completion:
    """Sampled tokens, exactly as the engine gave them.

    ``tokens``: int32 [R], the end token included where the model wrote one.
    ``logprobs``: float32 [R], natural logarithm, under the distribution sampled from.
    ``spans``: contiguous, in order, covering 0..R.
    """

    id: str
    tokens: IntArray
    logprobs: FloatArray
    finish: Finish
    spans: tuple[VersionSpan, ...]
    text: str

    @property
    def oldest_version(self) -> int:
        """The oldest weight version among the tokens."""
        return min(span.version for span in self.spans)


@dataclass(frozen=True, slots=True)
class Grade:
    """A verifier's word on one completion. ``extracted`` is the string that was graded."""

    reward: float
    correct: bool
    extracted: str | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class Generation:
    """A prompt and its n completions, not graded yet. ``prompt_tokens``: int32 [P]."""

    prompt: Prompt
    prompt_tokens: IntArray
    completions: tuple[Completion, ...]


@dataclass(frozen=True, slots=True)
class Rollout:
    """One completion of a prompt, with its grade."""

    prompt: Prompt
    completion: Completion
    grade: Grade


@dataclass(frozen=True, slots=True)
class Candidate:
    """A graded answer that a judge or reflection prompt may show.

    ``answer`` is the string that was graded, ``reasoning`` the whole completion around it,
    ``correct`` the verifier's verdict.
    """

    task: Task
    completion_id: str
    answer: str
    reasoning: str
    correct: bool

    @classmethod
    def of(cls, rollout: Rollout) -> Candidate:
        """The answer that a rollout gave.

        Raises:
            ValueError: it gave none.
        """
        if not rollout.grade.extracted:
            raise ValueError(f"completion {rollout.completion.id} has no answer to show")
        return cls(
            task=rollout.prompt.task,
            completion_id=rollout.completion.id,
            answer=rollout.grade.extracted,
            reasoning=rollout.completion.text,
            correct=rollout.grade.correct,
        )


@dataclass(frozen=True, slots=True)
class Group:
    """The n rollouts of one prompt: the unit of advantage. ``grades[i]`` is of completion i."""

    prompt: Prompt
    prompt_tokens: IntArray
    completions: tuple[Completion, ...]
    grades: tuple[Grade, ...]

    @property
    def rewards(self) -> FloatArray:
        """float32 [n]."""
        return np.array([grade.reward for grade in self.grades], dtype=np.float32)

    @property
    def rollouts(self) -> tuple[Rollout, ...]:
        """The group, one rollout at a time."""
        return tuple(
            Rollout(self.prompt, completion, grade)
            for completion, grade in zip(self.completions, self.grades, strict=True)
        )


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """What the controller knows of a group while the group itself stays in the object store."""

    prompt_id: str
    task_id: str
    template: str
    objective: Objective
    label: str
    shown_correct: tuple[bool, ...]
    prompt_tokens: int
    completion_tokens: tuple[int, ...]
    rewards: tuple[float, ...]
    correct: tuple[bool, ...]
    extracted: tuple[str | None, ...]
    reasons: tuple[Reason, ...]
    versions: tuple[int, ...]

    @property
    def has_signal(self) -> bool:
        """Whether rewards differ, so that a group-relative advantage is not all zero."""
        return len(set(self.rewards)) > 1

    def with_more(self, other: GroupSummary) -> GroupSummary:
        """The completions of this group and then those of ``other``, of the same prompt."""
        return replace(
            self,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            rewards=self.rewards + other.rewards,
            correct=self.correct + other.correct,
            extracted=self.extracted + other.extracted,
            reasons=self.reasons + other.reasons,
            versions=self.versions + other.versions,
        )

    @classmethod
    def of(cls, group: Group) -> GroupSummary:
        """Summarise a graded group."""
        return cls(
            prompt_id=group.prompt.id,
            task_id=group.prompt.task.id,
            template=group.prompt.template,
            objective=group.prompt.objective,
            label=group.prompt.label,
            shown_correct=group.prompt.shown_correct,
            prompt_tokens=len(group.prompt_tokens),
            completion_tokens=tuple(len(c.tokens) for c in group.completions),
            rewards=tuple(g.reward for g in group.grades),
            correct=tuple(g.correct for g in group.grades),
            extracted=tuple(g.extracted for g in group.grades),
            reasons=tuple(g.reason for g in group.grades),
            versions=tuple(c.oldest_version for c in group.completions),
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """All the learner knows of a rollout.

    ``prompt_tokens``: int32 [P]; ``tokens``: int32 [R], the completion only.
    ``logprobs``: float32 [R], under the sampler; zeros where there was no sampler.
    ``policy_weights``: float32 [R], the advantage of each token (0: no policy gradient).
    ``supervised_weights``: float32 [R], weight of the token's negative log-likelihood.
    ``kl_weights``: float32 [R], weight of the token's KL to the reference.
    ``group``: samples that share it, share ``prompt_tokens``.
    ``version``: the oldest weight version among the tokens.
    """

    group: str
    objective: Objective
    prompt_tokens: IntArray
    tokens: IntArray
    logprobs: FloatArray
    policy_weights: FloatArray
    supervised_weights: FloatArray
    kl_weights: FloatArray
    version: int


@dataclass(frozen=True, slots=True)
class ObjectiveReport:
    """Token means of one objective over an optimiser batch, and its counts.

    ``kl_sampler`` is the k3 estimate of KL(sampler || learner) before the first update;
    ``gap`` the mean absolute difference of their log-probabilities; ``kl_reference`` the k3
    estimate of KL(learner || reference), 0 without one. All in nats.
    """

    loss: float
    ratio: float
    clip_fraction: float
    kl_sampler: float
    gap: float
    kl_reference: float
    entropy: float
    tokens: int
    samples: int


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What one call of the learner did. ``gradient_norm`` is taken before clipping.

    ``gradient_norms``: of each objective's part of the first update's gradient, its weight in it;
    empty where that was not measured.
    """

    updates: int
    learning_rate: float
    gradient_norm: float
    tokens: int
    seconds: float
    objectives: dict[Objective, ObjectiveReport] = field(default_factory=dict)
    gradient_norms: dict[Objective, float] = field(default_factory=dict)

    def followed_by(self, later: UpdateReport) -> UpdateReport:
        """This report and a later one of the same step as one; objectives do not overlap."""
        return UpdateReport(
            updates=self.updates + later.updates,
            learning_rate=later.learning_rate if later.updates else self.learning_rate,
            gradient_norm=max(self.gradient_norm, later.gradient_norm),
            tokens=self.tokens + later.tokens,
            seconds=self.seconds + later.seconds,
            objectives={**self.objectives, **later.objectives},
            gradient_norms={**self.gradient_norms, **later.gradient_norms},
        )
