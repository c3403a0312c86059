"""Ways to spend tokens on one question: pure functions of what a model answers.

The judge-reflect loop is that of SPARK (arXiv 2509.22624, section 3.3): answer, judge the own
answer, accept it if judged correct, else reflect and judge again. The paper names no end of it;
here it ends after a number of rounds, in a majority of all that was answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from contracts.types import Task
from services.evaluate.answerer import Answerer, Asked, Cost, Reply, Shown, Verdict

Kind = Literal["single", "majority", "best-of", "weighted", "judge-reflect"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a strategy came to on one task.

    ``chosen``: its answer, None where it has none; of several passes, one each. ``cost``: of
    all passes together. ``accepted``: whether a judge accepted the answer, None where there was
    none to ask. ``rounds``: answers that were looked at one after another.
    """

    task: Task
    chosen: tuple[Reply | None, ...]
    cost: Cost
    accepted: bool | None = None
    rounds: int = 1


class Strategy(Protocol):
    """A way to answer. ``samples`` is its main setting: draws, or rounds at most."""

    @property
    def kind(self) -> Kind:
        """Its name."""

    @property
    def samples(self) -> int:
        """Draws, or rounds at most: what more tokens are spent on."""

    @property
    def draws(self) -> int:
        """Answers from scratch that it takes from every task."""

    @property
    def label(self) -> str:
        """Name and settings, short."""

    def run(self, tasks: Sequence[Task], answerer: Answerer) -> list[Outcome]:
        """Answer every task; outcomes are in their order."""


@dataclass(frozen=True, slots=True)
class Single:
    """One answer. ``samples`` passes are averaged, for a narrower interval: each is a pass."""

    samples: int = 1
    kind: Kind = "single"

    @property
    def draws(self) -> int:
        """All samples."""
        return self.samples

    @property
    def label(self) -> str:
        """Name and settings."""
        return "single pass"

    def run(self, tasks: Sequence[Task], answerer: Answerer) -> list[Outcome]:
        """See ``Strategy``. Each pass is charged for its prompt."""
        asked = answerer.solve(tasks, self.samples)
        return [
            Outcome(
                task,
                tuple(reply if reply.answer else None for reply in got.replies),
                Cost(
                    got.prompt_tokens * self.samples,
                    got.cost.generated,
                    self.samples,
                ),
            )
            for task, got in zip(tasks, asked, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Majority:
    """The answer given most often among ``samples``; of equally frequent ones the first."""

    samples: int
    kind: Kind = "majority"

    @property
    def draws(self) -> int:
        """All samples."""
        return self.samples

    @property
    def label(self) -> str:
        """Name and settings."""
        return f"majority of {self.samples}"

    def run(self, tasks: Sequence[Task], answerer: Answerer) -> list[Outcome]:
        """See ``Strategy``."""
        asked = answerer.solve(tasks, self.samples)
        return [
            Outcome(task, (majority(task, got.replies, answerer),), got.cost)
            for task, got in zip(tasks, asked, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class BestOf:
    """The answer that the model's own verdicts like best, among ``samples``.

    Each distinct answer is judged ``verdicts`` times; its share of yes is its worth. Of equally
    liked answers the most frequent one wins, then the first. Where there is no choice, nothing
    is judged. ``weighted``: replies vote with their worth, so that frequency counts as much as
    the judge.
    """

    samples: int
    verdicts: int
    weighted: bool = False

    @property
    def kind(self) -> Kind:
        """Its name."""
        return "weighted" if self.weighted else "best-of"

    @property
    def draws(self) -> int:
        """All samples."""
        return self.samples

    @property
    def label(self) -> str:
        """Name and settings."""
        name = "weighted vote of" if self.weighted else "best of"
        return f"{name} {self.samples} ({_verdicts(self.verdicts)})"

    def run(self, tasks: Sequence[Task], answerer: Answerer) -> list[Outcome]:
        """See ``Strategy``."""
        asked = answerer.solve(tasks, self.samples)
        shown = [
            _to_choose_from(task, got.replies, answerer)
            for task, got in zip(tasks, asked, strict=True)
        ]
        flat = [one for several in shown for one in several]
        verdicts = iter(answerer.judge(flat, self.verdicts) if flat else ())
        outcomes = []
        for task, got, several in zip(tasks, asked, shown, strict=True):
            judged = {answerer.face(one.reply): next(verdicts) for one in several}
            outcomes.append(self._outcome(task, got, judged, answerer))
        return outcomes

    def _outcome(
        self,
        task: Task,
        got: Asked[Reply],
        judged: Mapping[str, Asked[Verdict]],
        answerer: Answerer,
    ) -> Outcome:
        worth = {face: yes_share(asked.replies) for face, asked in judged.items()}
        cost = sum((asked.cost for asked in judged.values()), got.cost)
        classes = alike(task, got.replies, answerer)

        def rank(members: Sequence[Reply]) -> tuple[float, int]:
            shares = [worth[answerer.face(reply)] for reply in members]
            return (sum(shares) if self.weighted else max(shares), len(members))

        if not worth:
            chosen = classes[0][0] if classes else None
            return Outcome(task, (chosen,), cost, accepted=None)
        # `max` keeps the first of equals.
        best = max(classes, key=rank)
        reply = max(best, key=lambda one: worth[answerer.face(one)])
        return Outcome(task, (reply,), cost, accepted=worth[answerer.face(reply)] > 0.5)


@dataclass(frozen=True, slots=True)
class JudgeReflect:
    """Answer, judge, and reflect until the own verdict is yes, at most ``samples`` answers.

    An answer is accepted where more than half of ``verdicts`` verdicts are yes. A reply without
    an answer cannot be shown, so the task is answered from scratch. Where nothing is accepted,
    the majority of all answers counts, the latest of equally frequent ones. A deterministic
    model that comes back to an answer it has rejected would go round for ever, and is stopped.
    """

    samples: int
    verdicts: int = 1
    kind: Kind = "judge-reflect"
    draws: int = 1

    @property
    def label(self) -> str:
        """Name and settings."""
        more = f" ({_verdicts(self.verdicts)})" if self.verdicts > 1 else ""
        return f"judge-reflect, {self.samples} rounds{more}"

    def run(self, tasks: Sequence[Task], answerer: Answerer) -> list[Outcome]:
        """See ``Strategy``."""
        states = [_Loop(task) for task in tasks]
        _take(states, answerer.solve([state.task for state in states], 1))
        for turn in range(1, self.samples + 1):
            self._judge([state for state in states if state.open], answerer)
            still = [state for state in states if state.open]
            if turn == self.samples or not still:
                break
            _again(still, answerer)
        return [state.outcome(answerer) for state in states]

    def _judge(self, states: Sequence[_Loop], answerer: Answerer) -> None:
        if answerer.deterministic:
            for state in states:
                last = state.last
                state.stuck = last.answer is None or answerer.face(last) in state.rejected
        readable = [state for state in states if state.open and state.last.answer is not None]
        if not readable:
            return
        shown = [Shown(state.task, state.last) for state in readable]
        for state, got in zip(readable, answerer.judge(shown, self.verdicts), strict=True):
            state.cost += got.cost
            state.accepted = yes_share(got.replies) > 0.5
            if not state.accepted:
                state.rejected.add(answerer.face(state.last))


@dataclass(slots=True)
class _Loop:
    """One task on its way through the loop."""

    task: Task
    replies: list[Reply] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    accepted: bool = False
    stuck: bool = False
    rejected: set[str] = field(default_factory=set)

    @property
    def open(self) -> bool:
        """Whether there is more to do."""
        return not (self.accepted or self.stuck)

    @property
    def last(self) -> Reply:
        """The latest reply."""
        return self.replies[-1]

    def outcome(self, answerer: Answerer) -> Outcome:
        """The accepted answer, or the majority."""
        chosen = self.last if self.accepted else majority(self.task, self.replies[::-1], answerer)
        return Outcome(self.task, (chosen,), self.cost, self.accepted, len(self.replies))


def _again(states: Sequence[_Loop], answerer: Answerer) -> None:
    """Reflect on what can be shown; answer the rest from scratch."""
    readable = [state for state in states if state.last.answer is not None]
    blank = [state for state in states if state.last.answer is None]
    if readable:
        shown = [Shown(state.task, state.last) for state in readable]
        _take(readable, answerer.reflect(shown, 1))
    if blank:
        _take(blank, answerer.solve([state.task for state in blank], 1))


def _take(states: Sequence[_Loop], asked: Sequence[Asked[Reply]]) -> None:
    for state, got in zip(states, asked, strict=True):
        state.replies += got.replies
        state.cost += got.cost


def alike(task: Task, replies: Iterable[Reply], answerer: Answerer) -> list[list[Reply]]:
    """Replies with an answer, in classes that a grader takes for the same; first come first."""
    classes: list[list[Reply]] = []
    for reply in replies:
        if reply.answer is None:
            continue
        for members in classes:
            first = members[0].answer or ""
            if first == reply.answer or answerer.same(task, first, reply.answer):
                members.append(reply)
                break
        else:
            classes.append([reply])
    return classes


def majority(task: Task, replies: Sequence[Reply], answerer: Answerer) -> Reply | None:
    """The first reply of the largest class; of equally large ones, the one that came first."""
    classes = alike(task, replies, answerer)
    return max(classes, key=len)[0] if classes else None


def _verdicts(count: int) -> str:
    return "1 verdict" if count == 1 else f"{count} verdicts"


def yes_share(verdicts: Sequence[Verdict]) -> float:
    """Share of yes; a verdict that could not be read is none."""
    return sum(verdict.yes is True for verdict in verdicts) / len(verdicts) if verdicts else 0.0


def _to_choose_from(task: Task, replies: Iterable[Reply], answerer: Answerer) -> list[Shown]:
    """One of each face among the replies that have an answer; none where there is no choice."""
    found: dict[str, Shown] = {}
    for reply in replies:
        if reply.answer is not None:
            found.setdefault(answerer.face(reply), Shown(task, reply))
    several = len({one.reply.answer for one in found.values()}) > 1
    return list(found.values()) if several else []
