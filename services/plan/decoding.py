"""Continuous batching in one engine: who is sampled when, and what that takes.

An engine step gives every running sequence one token. Between two ends or beginnings of
sequences nothing but the context grows, so time is counted in stretches of engine steps, not in
tokens. A sequence begins as soon as there is a place for it, in the order of asking.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Protocol


class EngineCosts(Protocol):
    """What an engine's work takes, in seconds of an engine that is alone."""

    @property
    def block(self) -> int:
        """Tokens of a block of the cache: whole blocks of a prompt are computed once a group."""
        ...

    def prefill(self, sequences: int, tokens: int, pairs: float) -> float:
        """Take up ``sequences`` whose prompts have ``tokens`` that are not in the cache.

        ``pairs``: of a token and one that it attends to.
        """
        ...

    def decode(self, running: int, context: float) -> float:
        """One engine step of ``running`` sequences that have ``context`` tokens together."""
        ...


@dataclass(slots=True)
class Sampled:
    """One completion on its way: ``left`` tokens to sample after ``done`` ones.

    ``version``: of the weights that its first token was sampled with; None before.
    """

    group: int
    prompt: int
    left: int
    done: int = 0
    version: int | None = None


class Schedule:
    """How an engine works ``sequences`` off when nothing comes in between.

    The prompt of a group is computed once, for its first sequence, but for what does not fill
    a block of the cache; what was sampled of a sequence before is computed again (its cache was
    dropped with the old weights).

    Args:
        sequences: in the order of asking.
        slots: sequences an engine runs at once.
        costs: of the engine.
    """

    def __init__(self, sequences: Many[Sampled], slots: int, costs: EngineCosts) -> None:
        self.sequences = list(sequences)
        self._begin = [0] * len(self.sequences)
        self._steps: list[int] = [0]
        self._seconds: list[float] = [0.0]
        self._run(max(1, slots), costs)

    @property
    def seconds(self) -> float:
        """Of the whole."""
        return self._seconds[-1]

    def _run(self, slots: int, costs: EngineCosts) -> None:
        ends: list[tuple[int, int]] = []
        step, seconds, context, upto = 0, 0.0, 0, 0
        prompts: set[int] = set()
        while ends or upto < len(self.sequences):
            first = upto
            upto = min(len(self.sequences), first + slots - len(ends))
            tokens, pairs = 0, 0.0
            for index in range(first, upto):
                one = self.sequences[index]
                self._begin[index] = step
                heapq.heappush(ends, (step + one.left, index))
                context += one.prompt + one.done
                new = one.done + one.prompt
                if one.group in prompts:
                    new -= one.prompt // costs.block * costs.block
                prompts.add(one.group)
                tokens += new
                pairs += new * (one.prompt + one.done - (new - 1) / 2)
            if upto > first:
                seconds += costs.prefill(upto - first, tokens, pairs)
            running, until = len(ends), ends[0][0]
            count = until - step
            if count:
                each = costs.decode(running, context + running * (count - 1) / 2)
                seconds += count * each
                context += running * count
            step = until
            while ends and ends[0][0] == step:
                _, index = heapq.heappop(ends)
                one = self.sequences[index]
                context -= one.prompt + one.done + one.left
            self._steps.append(step)
            self._seconds.append(seconds)

    def stamp(self, seconds: float, version: int) -> None:
        """Those that have begun ``seconds`` into it began with ``version``, if not before."""
        step = self._step_at(seconds)
        for begin, one in zip(self._begin, self.sequences, strict=True):
            if one.version is None and begin <= step:
                one.version = version

    def rest(self, seconds: float) -> list[Sampled]:
        """What is left ``seconds`` into it: first the running sequences, then the waiting ones."""
        step = self._step_at(seconds)
        running, waiting = [], []
        for begin, one in zip(self._begin, self.sequences, strict=True):
            if begin > step:
                waiting.append(one)
            elif begin + one.left > step:
                sampled = step - begin
                one.left -= sampled
                one.done += sampled
                running.append(one)
        return running + waiting

    def under_way(self, seconds: float) -> float:
        """Seconds that the engine step has taken that is under way ``seconds`` into it."""
        if seconds >= self.seconds:
            return 0.0
        after = bisect_right(self._seconds, seconds)
        steps = self._steps[after] - self._steps[after - 1]
        past, whole = seconds - self._seconds[after - 1], self._span(after)
        return past - int(steps * past / whole) * whole / steps if steps else past

    def _span(self, after: int) -> float:
        return self._seconds[after] - self._seconds[after - 1]

    def _step_at(self, seconds: float) -> int:
        """Engine steps that are done after ``seconds``."""
        if seconds >= self.seconds:
            return self._steps[-1]
        after = bisect_right(self._seconds, seconds)
        steps = self._steps[after] - self._steps[after - 1]
        past = seconds - self._seconds[after - 1]
        return self._steps[after - 1] + int(steps * past / self._span(after))
