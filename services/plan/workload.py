"""What there is to sample and to train on: prompts, lengths of completions, groups with signal."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

import numpy as np
from numpy.random import Generator
from pydantic import Field, model_validator

from contracts.config import Count, OptionalCount, Section, Share
from contracts.types import Objective

Name = Literal["solve", "pointwise", "pairwise", "reflect"]
SPREAD = 0.6
"""Standard deviation of the lengths of completions over their mean, where nobody says."""


class Lengths(Section):
    """Tokens of completions: log-normal, or as given by quantiles; never above ``longest``."""

    mean: Annotated[float, Field(ge=1)] = 32.0
    """Mean tokens of a completion, before those above `longest` are cut."""
    spread: Annotated[float, Field(ge=0)] = SPREAD
    """Standard deviation over mean; 0: all are equally long."""
    longest: Count = 1_000_000
    """Longest completion; `sampling.max_tokens` holds besides."""
    quantiles: tuple[float, ...] = ()
    """Evenly spaced quantiles, from least to most, of measured lengths; used instead of a
    log-normal distribution."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [*self.quantiles]
        if given and (len(given) < 2 or sorted(given) != given):
            raise ValueError("quantiles must be at least two, ascending")
        return self

    @property
    def average(self) -> float:
        """Mean length, as far as it can be said beforehand."""
        return float(np.mean(self.quantiles)) if self.quantiles else min(self.mean, self.longest)

    def draw(self, random: Generator, count: int, most: int) -> list[int]:
        """``count`` lengths, at least 1 and at most ``most``."""
        if self.quantiles:
            places = np.linspace(0, 1, len(self.quantiles))
            drawn = np.interp(random.random(count), places, self.quantiles)
        elif self.spread == 0:
            drawn = np.full(count, self.mean)
        else:
            # Mean and variance of a log-normal are exp(m + s^2/2) and (exp(s^2) - 1) mean^2.
            variance = math.log1p(self.spread**2)
            drawn = random.lognormal(math.log(self.mean) - variance / 2, math.sqrt(variance), count)
        cut = np.clip(np.rint(drawn), 1, min(self.longest, most))
        return [int(length) for length in cut]


class ObjectiveWork(Section):
    """Groups of one objective."""

    prompt: Annotated[float, Field(ge=1)] = 128.0
    """Mean tokens of a prompt."""
    completion: Lengths = Lengths()
    """Tokens of its completions."""
    signal: Share = 0.7
    """Share of groups whose rewards differ, so that they are trained on."""
    groups: OptionalCount | None = None
    """Groups a step; null: `tasks_per_step`, or the cap of `recycle`. Given where fewer were
    measured than the cap allows."""


class Workload(Section):
    """Groups by objective. A judge's prompt shows question and answer, its verdict is short."""

    solve: ObjectiveWork = ObjectiveWork(completion=Lengths(mean=128))
    """Answers to tasks."""
    pointwise: ObjectiveWork = ObjectiveWork(prompt=256, completion=Lengths(mean=64))
    """Verdicts on one answer."""
    pairwise: ObjectiveWork = ObjectiveWork(prompt=320, completion=Lengths(mean=64))
    """Verdicts on two answers."""
    reflect: ObjectiveWork = ObjectiveWork(prompt=256, completion=Lengths(mean=128))
    """Answers given anew."""

    def of(self, objective: Objective) -> ObjectiveWork:
        """The groups of ``objective``."""
        found: ObjectiveWork = getattr(self, objective.value)
        return found
