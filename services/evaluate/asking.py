"""One question to one model, to be watched: its answer, its verdict on it, its second look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from contracts.grammar import NO, YES, last_boxed, read_verdict
from contracts.types import Candidate, Prompt, Task
from recycler.prompts import pointwise_prompt, reflect_prompt, solve_prompt
from services.evaluate.engine import Show

Said = Literal["yes", "no"]

HEADS = {
    "answer": "Answer",
    "again": "Once more, from scratch",
    "judge": "Is it right?",
    "reflect": "A second look",
}


@dataclass(frozen=True, slots=True)
class Utterance:
    """A whole completion. ``ended``: the model came to an end by itself."""

    text: str
    ended: bool
    tokens: int


class Voice(Protocol):
    """A model that can be listened to."""

    def speak(self, prompt: Prompt, hear: Callable[[str], None]) -> Utterance:
        """Complete ``prompt``; ``hear`` is called with each piece of text as it comes."""


class Screen(Protocol):
    """Where a person watches."""

    def head(self, text: str) -> None:
        """Begin a part."""

    def piece(self, text: str) -> None:
        """Show more of it."""

    def note(self, text: str) -> None:
        """Say something about the part that has ended."""


@dataclass(frozen=True, slots=True)
class Turn:
    """An answer and what the model itself said of it; None where nothing could be read."""

    answer: str | None
    text: str
    verdict: Said | None = None


@dataclass
class Conversation:
    """What is said on one question.

    Args:
        task: the question; its gold answer is not known.
        voice: the model.
        screen: where it is watched.
        style: wording of the prompts.
        show: what the judge is shown of an answer.
        rounds: most answers.
        seed: of the choice of wordings.
    """

    task: Task
    voice: Voice
    screen: Screen
    style: str
    show: Show
    rounds: int
    seed: int = 0
    turns: list[Turn] = field(default_factory=list)
    tokens: int = 0

    def hold(self) -> Turn:
        """Answer, judge, and look again, at least once, until an answer is judged right.

        Returns:
            The turn that counts: the latest that was judged right, else the latest with an
            answer.
        """
        self._answer("answer", solve_prompt(self.task, self.style, self.seed))
        self._judge()
        while len(self.turns) < self.rounds and not self._settled():
            before = self.turns[-1]
            if before.answer is None:
                self._answer("again", solve_prompt(self.task, self.style, self.seed))
            else:
                self._answer("reflect", self._about(reflect_prompt))
            self._judge()
        return self._counted()

    def _settled(self) -> bool:
        return len(self.turns) > 1 and self.turns[-1].verdict == YES

    def _counted(self) -> Turn:
        judged_right = [turn for turn in self.turns if turn.verdict == YES]
        answered = [turn for turn in self.turns if turn.answer is not None]
        return (judged_right or answered or self.turns)[-1]

    def _answer(self, head: str, prompt: Prompt) -> None:
        said = self._say(head, prompt)
        answer = last_boxed(said.text) if said.ended else None
        self.turns.append(Turn(answer, said.text))
        if answer is None:
            self.screen.note("no answer: cut off" if not said.ended else "no answer in a box")
        else:
            self.screen.note(f"answers {answer}")

    def _judge(self) -> None:
        turn = self.turns[-1]
        if turn.answer is None:
            return
        said = self._say("judge", self._about(pointwise_prompt))
        read = read_verdict(said.text) if said.ended else None
        verdict: Said | None = "yes" if read == YES else "no" if read == NO else None
        self.turns[-1] = Turn(turn.answer, turn.text, verdict)
        self.screen.note(f"says {verdict} to {turn.answer}" if verdict else "no verdict")

    def _about(self, make: Callable[..., Prompt]) -> Prompt:
        turn = self.turns[-1]
        name = f"{self.task.id}#{len(self.turns)}"
        candidate = Candidate(self.task, name, turn.answer or "", turn.text, correct=False)
        return make(candidate, self.style, self.seed, reasoning=self.show == "reasoning")

    def _say(self, head: str, prompt: Prompt) -> Utterance:
        self.screen.head(HEADS[head])
        said = self.voice.speak(prompt, self.screen.piece)
        self.tokens += said.tokens
        return said
