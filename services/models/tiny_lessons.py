"""The lessons of the tiny model's warm start: prompts of every objective, with completions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from contracts.config import WarmStartConfig
from contracts.types import FloatArray, IntArray, Message, Objective, Task
from recycler.templates import TERSE
from services.models.tiny_language import FAULTLESS, Faults, Sum, complete, derive

MIX: dict[Objective, float] = {
    Objective.SOLVE: 0.3,
    Objective.POINTWISE: 0.4,
    Objective.PAIRWISE: 0.2,
    Objective.REFLECT: 0.1,
}
"""Share of each objective among the lessons, and its weight in the loss."""

ODD_PROPOSAL = 0.3
"""Share of wrong proposals that are arbitrary edits, not what a careless derivation gives."""

_VERDICT = -3
"""Place of the verdict in a completion: before the closing brace and the end token."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A prompt and the completion to learn. ``right`` says whether its box is right."""

    objective: Objective
    messages: tuple[Message, ...]
    completion: str
    right: bool


@dataclass(frozen=True, slots=True)
class Tokens:
    """A lesson as tokens. ``weights``: float32 [R], of each completion token's loss."""

    objective: Objective
    prompt: IntArray
    completion: IntArray
    weights: FloatArray


class Teacher:
    """Draws lessons about ``questions``.

    Wrong proposals are those that ``proposers`` makes, faults included, and a share of odd
    ones; the completions commit the faults given to ``lesson``.

    Args:
        questions: sums such as ``12+34``; nothing outside of them is ever shown.
        proposers: faults of those whose proposed answers are judged.
        seed: of every random choice.
    """

    def __init__(self, questions: Sequence[str], proposers: Faults, seed: int) -> None:
        self._sums = [(question, _parsed(question)) for question in questions]
        self._proposers = proposers
        self._rng = random.Random(seed)

    def lesson(self, faults: Faults = FAULTLESS) -> Lesson:
        """One lesson, of a random objective on a random question."""
        rng = self._rng
        objective = rng.choices(list(MIX), list(MIX.values()))[0]
        question, sum_ = rng.choice(self._sums)
        task = Task(id=question, question=question, gold=str(sum_.value))
        shown, label = self._shown(objective, sum_)
        names = ("first", "second") if objective is Objective.PAIRWISE else ("candidate",)
        messages = TERSE[objective][0].render(task, **dict(zip(names, shown, strict=False)))
        completion = complete(objective, sum_, shown, faults, rng)
        return Lesson(objective, messages, completion, completion.endswith(f"{{{label}}}"))

    def _shown(self, objective: Objective, sum_: Sum) -> tuple[tuple[str, ...], str]:
        """The answers a prompt shows, and what its box should hold."""
        gold = str(sum_.value)
        if objective is Objective.SOLVE:
            return (), gold
        right_first = self._rng.random() < 0.5
        wrong = self._wrong(sum_)
        if objective is Objective.PAIRWISE:
            return ((gold, wrong), "A") if right_first else ((wrong, gold), "B")
        shown = (gold if right_first else wrong,)
        if objective is Objective.REFLECT:
            return shown, gold
        return shown, "Yes" if right_first else "No"

    def _wrong(self, sum_: Sum) -> str:
        """A wrong answer as a careless model would propose it."""
        rng, gold = self._rng, str(sum_.value)
        for _ in range(8):
            if rng.random() < ODD_PROPOSAL:
                proposal = _edited(gold, rng)
            else:
                proposal = derive(sum_, self._proposers, rng).answer
            if proposal != gold:
                return proposal
        return str(sum_.value + 1)


def _parsed(question: str) -> Sum:
    sum_ = Sum.parse(question)
    if sum_ is None:
        raise ValueError(f"{question!r} is no sum the tiny model's language can express")
    return sum_


def _edited(gold: str, rng: random.Random) -> str:
    """``gold`` with a digit changed, added or dropped, with the sign turned, or a new number."""
    sign, digits = ("-", gold[1:]) if gold.startswith("-") else ("", gold)
    place = rng.randrange(len(digits))
    digit = str(rng.randrange(10))
    edits = (
        sign + digits[:place] + digit + digits[place + 1 :],
        sign + str(rng.randrange(1, 10)) + digits,
        sign + (digits[:place] + digits[place + 1 :] or digit),
        ("" if sign else "-") + digits,
        sign + str(rng.randrange(200)),
    )
    edited = rng.choices(edits, (5, 1, 1, 1, 1))[0]
    return str(int(edited))


def tokenize(lesson: Lesson, tokenizer: PreTrainedTokenizerBase, config: WarmStartConfig) -> Tokens:
    """``lesson`` as tokens, its end token included, with the weights ``config`` gives the loss."""
    prompt = tokenizer.apply_chat_template(
        [{"role": message.role, "content": message.text()} for message in lesson.messages],
        add_generation_prompt=True,
        return_dict=False,
    )
    completion = [
        *tokenizer.encode(lesson.completion, add_special_tokens=False),
        tokenizer.eos_token_id,
    ]
    words = tokenizer.convert_ids_to_tokens(completion)
    weights = np.ones(len(completion), dtype=np.float32)
    weights[_results(words)] = config.result_weight
    if lesson.objective in (Objective.POINTWISE, Objective.PAIRWISE):
        weights[_VERDICT] = config.verdict_weight
    return Tokens(
        lesson.objective,
        np.asarray(prompt, dtype=np.int32),
        np.asarray(completion, dtype=np.int32),
        weights,
    )


def _results(words: Sequence[str]) -> list[int]:
    """Places of the digits between a column's ``=`` and its comma."""
    places, inside = [], False
    for place, word in enumerate(words):
        if word == ",":
            inside = False
        if inside:
            places.append(place)
        if word == "=":
            inside = True
    return places
