"""The answerer that is a real model: prompts by the recycler, generators, and verifiers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Literal, Protocol

from actors.graders.processes import GraderProcesses
from contracts.config import RunConfig
from contracts.grammar import BOX, NO, YES, verdict_of
from contracts.types import Candidate, Group, Prompt, Reason, Task
from recycler.prompts import pointwise_prompt, reflect_prompt, solve_prompt
from services.evaluate.answerer import Asked, Reply, Shown, Verdict
from services.seeds import derive_seed

if TYPE_CHECKING:
    from actors.chat import Chat

Show = Literal["answer", "reasoning"]
"""What judge and reflection prompts show of a reply: its final answer, or all of it."""

AT_ONCE = 4096
"""Completions asked for in one batch: progress is shown, and deadlines hold, for each batch."""


class Sampler(Protocol):
    """Where completions come from."""

    def __call__(
        self, prompts: Sequence[Prompt], *, completions: int, temperature: float, seed: int
    ) -> Sequence[Group]:
        """Graded groups of ``prompts``, which have different ids, in their order."""


@dataclass(frozen=True)
class Settings:
    """How a model is asked. ``temperature`` 0 is greedy.

    ``chat``: template and tokenizer of the model, to see what fits its context.
    """

    config: RunConfig
    chat: Chat
    temperature: float
    show: Show
    seed: int


class EngineAnswerer:
    """Asks the generators of one model; remembers how its answers were graded.

    Args:
        sampler: the engines and verifiers.
        settings: how to sample.
        graders: compares answers with each other.
        progress: called with a line on what is being asked.
    """

    def __init__(
        self,
        sampler: Sampler,
        settings: Settings,
        graders: GraderProcesses,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._sampler, self._settings = sampler, settings
        self._graders, self._progress = graders, progress
        self._batches = count()
        self._answered: dict[str, Candidate] = {}
        self._same: dict[tuple[str, str, str], bool] = {}
        self.too_long = 0
        """Prompts that did not fit the context, and count as unanswered."""

    @property
    def deterministic(self) -> bool:
        """See ``Answerer``."""
        return self._settings.temperature == 0

    def solve(self, tasks: Sequence[Task], times: int) -> list[Asked[Reply]]:
        """See ``Answerer``."""
        style = self._settings.config.recycle.style
        prompts = [solve_prompt(task, style, self._settings.seed) for task in tasks]
        return [self._replies(group, times) for group in self.sample(prompts, times)]

    def judge(self, shown: Sequence[Shown], times: int) -> list[Asked[Verdict]]:
        """See ``Answerer``."""
        prompts = [self._about(one, pointwise_prompt) for one in shown]
        return [_verdicts(group, times) for group in self.sample(prompts, times)]

    def reflect(self, shown: Sequence[Shown], times: int) -> list[Asked[Reply]]:
        """See ``Answerer``."""
        prompts = [self._about(one, reflect_prompt) for one in shown]
        return [self._replies(group, times) for group in self.sample(prompts, times)]

    def face(self, reply: Reply) -> str:
        """See ``Answerer``."""
        return reply.text if self._settings.show == "reasoning" else reply.answer or ""

    def same(self, task: Task, left: str, right: str) -> bool:
        """See ``Answerer``: whether the task's grader takes one for the other, either way."""
        key = (task.verifier, min(left, right), max(left, right))
        if key not in self._same:
            self._same[key] = any(
                self._graders.grade(task.verifier, gold, [f"{BOX}{answer}}}"])[0].correct
                for gold, answer in ((left, right), (right, left))
            )
        return self._same[key]

    def correct(self, reply: Reply | None) -> bool:
        """How an answer was graded; no answer is wrong."""
        return reply is not None and reply.answer is not None and self.candidate(reply).correct

    def candidate(self, reply: Reply) -> Candidate:
        """A reply that has an answer as it was graded, to be shown to a judge."""
        return self._answered[reply.id]

    def sample(self, prompts: Sequence[Prompt], times: int) -> list[Group | None]:
        """``times`` graded completions of each prompt; None for one that leaves no room."""
        room = self._settings.config.model.max_context
        fits = [self._length(prompt) < room for prompt in prompts]
        self.too_long += len(fits) - sum(fits)
        fitting = [prompt for prompt, ok in zip(prompts, fits, strict=True) if ok]
        groups = iter(self._in_batches(fitting, times))
        return [next(groups) if ok else None for ok in fits]

    def _in_batches(self, prompts: Sequence[Prompt], times: int) -> Iterator[Group]:
        each = max(1, AT_ONCE // times)
        for start in range(0, len(prompts), each):
            yield from self._batch(prompts[start : start + each], times)

    def _batch(self, prompts: Sequence[Prompt], times: int) -> list[Group]:
        """One batch, under ids of its own: the same prompt may come in several."""
        number = next(self._batches)
        what = prompts[0].objective
        self._progress(f"{what}: {len(prompts)} prompts, {times} each")
        groups = self._sampler(
            [replace(prompt, id=f"{prompt.id}@{number}") for prompt in prompts],
            completions=times,
            temperature=self._settings.temperature,
            seed=derive_seed(self._settings.seed, "evaluate", number),
        )
        return list(groups)

    def _about(self, one: Shown, make: Callable[..., Prompt]) -> Prompt:
        """A prompt about a reply; if it does not fit with its reasoning, about its answer."""
        settings = self._settings
        style, seed = settings.config.recycle.style, settings.seed
        candidate = self.candidate(one.reply)
        prompt = make(candidate, style, seed, reasoning=settings.show == "reasoning")
        if settings.show == "answer" or self._length(prompt) < settings.config.model.max_context:
            return prompt
        return make(candidate, style, seed, reasoning=False)

    def _length(self, prompt: Prompt) -> int:
        """Tokens of a prompt, its images left out: those only the engine can count."""
        return len(self._settings.chat.encode(prompt))

    def _replies(self, group: Group | None, times: int) -> Asked[Reply]:
        if group is None:
            return Asked(0, (Reply("", "", None, 0),) * times)
        replies = []
        for rollout in group.rollouts:
            completion, grade = rollout.completion, rollout.grade
            # Cut off, or too much for its grader: the model has not answered.
            answer = (grade.extracted or None) if grade.reason is Reason.OK else None
            if answer is not None:
                self._answered[completion.id] = Candidate.of(rollout)
            replies.append(Reply(completion.id, completion.text, answer, len(completion.tokens)))
        return Asked(len(group.prompt_tokens), tuple(replies))


def _verdicts(group: Group | None, times: int) -> Asked[Verdict]:
    if group is None:
        return Asked(0, (Verdict(None, 0),) * times)
    verdicts = []
    for rollout in group.rollouts:
        read = said(rollout.grade.extracted) if rollout.completion.finish == "stop" else None
        verdicts.append(Verdict(read, len(rollout.completion.tokens)))
    return Asked(len(group.prompt_tokens), tuple(verdicts))


def said(extracted: str | None) -> bool | None:
    """Yes or no as a truth; None where the box holds neither, or there is none."""
    return {YES: True, NO: False}.get(verdict_of(extracted) or "") if extracted else None
