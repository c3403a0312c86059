"""One memory of a model's completions, which several strategies read from the start.

So all strategies see the same first answers, the same verdicts on them, and so on: they are
compared on the same draws, each is charged as if it had drawn them itself, and nothing is
sampled twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.types import Task
from services.evaluate.answerer import Answerer, Asked, Reply, Shown, Verdict

Key = tuple[str, str, str]
"""What was asked, of which task, about which face."""


@dataclass
class Draws:
    """Everything that ``source`` has answered so far, by prompt."""

    source: Answerer
    known: dict[Key, Asked[Any]] = field(default_factory=dict)

    def reader(self) -> Reader:
        """An answerer that begins at the first draw of every prompt."""
        return Reader(self)


class Reader:
    """An ``Answerer`` that reads draws in order, and has the source make those that are missing."""

    def __init__(self, draws: Draws) -> None:
        self._draws = draws
        self._source = draws.source
        self._read: Counter[Key] = Counter()

    @property
    def deterministic(self) -> bool:
        """See ``Answerer``."""
        return self._source.deterministic

    def solve(self, tasks: Sequence[Task], times: int) -> list[Asked[Reply]]:
        """See ``Answerer``."""
        keys = [("solve", task.id, "") for task in tasks]
        return self._take(keys, times, lambda places, n: self._source.solve(_at(tasks, places), n))

    def judge(self, shown: Sequence[Shown], times: int) -> list[Asked[Verdict]]:
        """See ``Answerer``."""
        keys = [("judge", one.task.id, self.face(one.reply)) for one in shown]
        return self._take(keys, times, lambda places, n: self._source.judge(_at(shown, places), n))

    def reflect(self, shown: Sequence[Shown], times: int) -> list[Asked[Reply]]:
        """See ``Answerer``."""
        keys = [("reflect", one.task.id, self.face(one.reply)) for one in shown]
        ask = self._source.reflect
        return self._take(keys, times, lambda places, n: ask(_at(shown, places), n))

    def face(self, reply: Reply) -> str:
        """See ``Answerer``."""
        return self._source.face(reply)

    def same(self, task: Task, left: str, right: str) -> bool:
        """See ``Answerer``."""
        return self._source.same(task, left, right)

    def _take(
        self,
        keys: Sequence[Key],
        times: int,
        ask: Callable[[Sequence[int], int], Sequence[Asked[Any]]],
    ) -> list[Asked[Any]]:
        """The next ``times`` draws of each prompt.

        Raises:
            ValueError: one prompt is asked for twice at once.
        """
        if len(set(keys)) != len(keys):
            raise ValueError("one prompt is asked for twice at once")
        self._make(keys, times, ask)
        taken = []
        for key in keys:
            start = self._read[key]
            self._read[key] += times
            known = self._draws.known[key]
            taken.append(Asked(known.prompt_tokens, known.replies[start : start + times]))
        return taken

    def _make(
        self,
        keys: Sequence[Key],
        times: int,
        ask: Callable[[Sequence[int], int], Sequence[Asked[Any]]],
    ) -> None:
        """Have the source draw what is missing, prompts that miss equally many together."""
        known = self._draws.known
        missing: dict[int, list[int]] = {}
        for place, key in enumerate(keys):
            there = len(known[key].replies) if key in known else 0
            short = self._read[key] + times - there
            if short > 0:
                missing.setdefault(short, []).append(place)
        for short, places in missing.items():
            for place, got in zip(places, ask(places, short), strict=True):
                before = known[keys[place]].replies if keys[place] in known else ()
                known[keys[place]] = Asked(got.prompt_tokens, (*before, *got.replies))


def _at(items: Sequence[Any], places: Sequence[int]) -> list[Any]:
    return [items[place] for place in places]
