"""What is to be evaluated, and how: checked before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import get_args

from actors.chat import Chat
from contracts.errors import UserError
from services.evaluate.data import Dataset
from services.evaluate.engine import Settings, Show
from services.evaluate.models import Model
from services.evaluate.strategies import (
    BestOf,
    JudgeReflect,
    Kind,
    Majority,
    Single,
    Strategy,
)
from services.models.folder import reads_images
from services.models.tiny_language import Sum

TERSE = "terse"
"""The style of the tiny model, which has words for nothing but sums."""

LETTERS = 60
"""Of a question that is quoted in a message."""

KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class Plan:
    """An evaluation. ``data`` are the data sets of each model, in the order of ``models``.

    ``repeats``: how often every strategy is run from fresh draws.
    ``temperature`` and ``show`` are the model's own where None: the temperature of its run, and
    the whole reply where most of its run's judge prompts showed that.
    """

    models: tuple[Model, ...]
    data: tuple[tuple[Dataset, ...], ...]
    strategies: tuple[Strategy, ...]
    out: Path
    against: Model | None = None
    against_data: tuple[Dataset, ...] = ()
    verdicts: int = 4
    repeats: int = 1
    temperature: float | None = None
    show: Show | None = None
    judge: bool = True
    judge_set: str | None = None
    seed: int = 0

    @property
    def everyone(self) -> list[tuple[Model, tuple[Dataset, ...]]]:
        """All models with their data, the one that they are compared with first."""
        pairs = list(zip(self.models, self.data, strict=True))
        return [(self.against, self.against_data), *pairs] if self.against else pairs

    def temperature_of(self, model: Model) -> float:
        """The temperature that ``model`` is sampled at."""
        given = self.temperature
        return model.config.sampling.temperature if given is None else given

    def show_of(self, model: Model) -> Show:
        """What ``model`` is shown of replies."""
        whole = model.config.recycle.reasoning_share >= 0.5
        return self.show or ("reasoning" if whole else "answer")

    def settings_of(self, model: Model) -> Settings:
        """How ``model`` is asked."""
        chat = Chat(model.folder, trust_remote_code=model.config.model.trust_remote_code)
        return Settings(
            model.config, chat, self.temperature_of(model), self.show_of(model), self.seed
        )


def strategies_of(
    kinds: Sequence[str],
    samples: Sequence[int],
    *,
    rounds: Sequence[int],
    verdicts: int,
    loop_verdicts: int,
    temperature: float | None,
) -> tuple[Strategy, ...]:
    """Every kind at every number of samples; the single pass once, as a mean over the most.

    Args:
        kinds: names, see ``Kind``.
        samples: draws of majority, best-of and weighted.
        rounds: caps of judge-reflect.
        verdicts: on each answer of best-of and weighted.
        loop_verdicts: on each answer of judge-reflect.
        temperature: 0 allows what needs one draw only; None is above 0.

    Raises:
        UserError: there is no such strategy, or a greedy model would draw the same over again.
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise UserError(
            f"there is no strategy {unknown[0]!r}",
            where="--strategy",
            remedy=f"there are {', '.join(KINDS)}",
        )
    greedy = temperature == 0
    several = [kind for kind in kinds if kind in ("majority", "best-of", "weighted")]
    if greedy and (several or loop_verdicts > 1):
        raise UserError(
            "greedy completions of one prompt are all the same: there is nothing to choose from",
            where="--temperature 0",
            remedy="leave it to single and judge-reflect with one verdict, or sample",
        )
    found: list[Strategy] = []
    for kind in dict.fromkeys(kinds):
        if kind == "single":
            found.append(Single(1 if greedy else max(samples)))
        elif kind == "judge-reflect":
            found += [JudgeReflect(each, loop_verdicts) for each in rounds]
        elif kind == "majority":
            found += [Majority(each) for each in samples]
        else:
            found += [BestOf(each, verdicts, kind == "weighted") for each in samples]
    return tuple(found)


def check(plan: Plan) -> None:
    """Refuse what cannot work.

    Raises:
        UserError: two models or two data sets of one name, images for a model without eyes, or
            questions that the tiny model has no words for.
    """
    _distinct([model.name for model, _ in plan.everyone], "MODEL")
    for model, datasets in plan.everyone:
        _distinct([dataset.name for dataset in datasets], "--data")
        shown = next((dataset for dataset in datasets if dataset.images), None)
        if shown is not None and not reads_images(model.folder):
            raise UserError(
                f"{shown.name} shows images, and {model.name} reads text only",
                where=str(model.folder),
                remedy="use a vision model, or data without images",
            )
        if model.config.recycle.style == TERSE:
            _check_words(model, datasets)


def _check_words(model: Model, datasets: Sequence[Dataset]) -> None:
    for dataset in datasets:
        asked = [task.question for task in dataset.tasks]
        asked += [preference.question for preference in dataset.preferences]
        other = next((question for question in asked if Sum.parse(question) is None), None)
        if other is not None:
            raise UserError(
                f"{model.name} knows sums such as 12+34 only, and {dataset.name} asks "
                f"{shorten(other, LETTERS)!r}",
                where="--data",
                remedy="give it --data arithmetic, or evaluate another model",
            )


def _distinct(names: Sequence[str], where: str) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(
            f"{twice!r} is given twice",
            where=where,
            remedy="results are by name: give each once, or rename the file",
        )
