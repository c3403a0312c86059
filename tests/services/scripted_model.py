"""A model that answers by a script: a whole answerer, the same every time it is asked the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count

from contracts.types import Task
from services.evaluate.answerer import Asked, Reply, Shown, Verdict

PROMPT_TOKENS = 10
REPLY_TOKENS = 5
VERDICT_TOKENS = 3


@dataclass
class Scripted:
    """Answers by functions of the task and of how often it was asked the same before.

    ``solves(task, n)`` and ``reflects(task, shown, n)`` give answers, None for no answer;
    ``judges(task, shown, n)`` yes, no, or None for neither. Answers that are the same number are
    the same answer.
    """

    solves: Callable[[Task, int], str | None]
    judges: Callable[[Task, str, int], bool | None] = lambda _t, _a, _n: True
    reflects: Callable[[Task, str, int], str | None] = lambda _t, answer, _n: answer
    deterministic: bool = False
    asked: Counter[str] = field(default_factory=Counter)
    spent: int = 0

    def __post_init__(self) -> None:
        self._before: Counter[tuple[str, str, str]] = Counter()
        self._ids = count()

    def solve(self, tasks: Sequence[Task], times: int) -> list[Asked[Reply]]:
        return [
            self._replies([self.solves(task, self._count("solve", task)) for _ in range(times)])
            for task in tasks
        ]

    def judge(self, shown: Sequence[Shown], times: int) -> list[Asked[Verdict]]:
        found = []
        for one in shown:
            face = self.face(one.reply)
            said = [
                self.judges(one.task, face, self._count("judge", one.task, face))
                for _ in range(times)
            ]
            self.spent += PROMPT_TOKENS + times * VERDICT_TOKENS
            found.append(Asked(PROMPT_TOKENS, tuple(Verdict(s, VERDICT_TOKENS) for s in said)))
        return found

    def reflect(self, shown: Sequence[Shown], times: int) -> list[Asked[Reply]]:
        return [
            self._replies(
                [
                    self.reflects(one.task, face, self._count("reflect", one.task, face))
                    for _ in range(times)
                ]
            )
            for one in shown
            for face in [self.face(one.reply)]
        ]

    def face(self, reply: Reply) -> str:
        return reply.answer or ""

    def same(self, task: Task, left: str, right: str) -> bool:
        return Fraction(left) == Fraction(right)

    def _count(self, kind: str, task: Task, face: str = "") -> int:
        key = (kind, task.id, face)
        self._before[key] += 1
        self.asked[kind] += 1
        return self._before[key] - 1

    def _replies(self, answers: Sequence[str | None]) -> Asked[Reply]:
        self.spent += PROMPT_TOKENS + len(answers) * REPLY_TOKENS
        return Asked(
            PROMPT_TOKENS,
            tuple(Reply(f"r{next(self._ids)}", str(a), a, REPLY_TOKENS) for a in answers),
        )
