"""``coevolve ask``: watch one model answer, judge its answer, and look at it again."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from contracts.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from actors.waiting import NamedActor
    from contracts.config import RunConfig
    from contracts.types import Prompt, Task
    from services.evaluate.asking import Turn, Utterance
    from services.evaluate.models import Model

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="tiny, smollm2, a run (its trained model), RUN@initial, RUN@STEP, or a model folder.",
    ),
]
QuestionArgument = Annotated[str, typer.Argument(metavar="QUESTION", help="What is asked.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Values that replace those of the model's run."),
]
Rounds = Annotated[int, typer.Option(min=1, help="Most answers.")]
ImageOption = Annotated[
    list[Path] | None,
    typer.Option("--image", metavar="FILE", help="Shown with the question; several times."),
]
Temperature = Annotated[
    float | None, typer.Option(min=0.0, show_default="the run's", help="0 is greedy.")
]
ShowOption = Annotated[
    Literal["answer", "reasoning"] | None,
    typer.Option(
        show_default="as the run's judge prompts", help="What the judge is shown of an answer."
    ),
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config", metavar="CONFIG", help="A YAML file or a preset, in place of the model's own."
    ),
]
Seed = Annotated[int, typer.Option(help="Of all that is drawn.")]

_SUM = re.compile(r"(\d+)\s*([+-])\s*(\d+)")


def ask(  # noqa: PLR0917 (an option each)
    model: ModelArgument,
    question: QuestionArgument,
    overrides: Overrides = None,
    rounds: Rounds = 3,
    image: ImageOption = None,
    temperature: Temperature = None,
    show: ShowOption = None,
    config: ConfigOption = None,
    seed: Seed = 0,
) -> None:
    """Ask a model a question and watch it: answer, own verdict, second look."""
    from rich.console import Console

    from actors.runtime import ray_session
    from services.bench.display import live_line
    from services.evaluate.asking import Conversation
    from services.evaluate.models import resolve
    from services.evaluate.pools import engines
    from services.signals import stop_on_signals

    values = [*(overrides or []), "generators.count=1"]
    with stop_on_signals():
        with live_line(Console(stderr=True)) as say:
            chosen = resolve(model, values, config=config, progress=say)
            task = task_of(question, image or [], chosen)
        screen = Terminal(Console(highlight=False))
        logs = chosen.config.cache_dir / "ask"
        with ray_session(logs), engines(chosen, logs, lambda _: None) as generators:
            settings = chosen.config
            whole = settings.recycle.reasoning_share >= 0.5
            conversation = Conversation(
                task,
                Streamed(generators.serving[0], settings, temperature, seed),
                screen,
                settings.recycle.style,
                show or ("reasoning" if whole else "answer"),
                rounds,
                seed,
            )
            turn = conversation.hold()
    screen.end(turn, conversation.tokens)


def task_of(question: str, images: list[Path], model: Model) -> Task:
    """The question as a task, in words that the model has.

    Raises:
        UserError: it is empty, the tiny model has no words for it, or an image is not there or
            cannot be seen.
    """
    from contracts.types import Task
    from services.models.folder import reads_images

    if not question.strip():
        raise UserError("there is no question", where="QUESTION", remedy='for example "12+34"')
    if model.config.recycle.style == "terse":
        found = _SUM.search(question)
        if found is None:
            raise UserError(
                f"the tiny model knows sums such as 12+34 and 56-78 only, not {question!r}",
                where="QUESTION",
                remedy="ask it one of those, or ask another model",
            )
        question = "".join(found.groups())
    missing = next((path for path in images if not path.is_file()), None)
    if missing is not None:
        raise UserError("no such image", where=str(missing), remedy="check --image")
    if images and not reads_images(model.folder):
        raise UserError("the model reads text only", where=model.name, remedy="ask a vision model")
    return Task("question", question, gold="", images=tuple(str(p.resolve()) for p in images))


@dataclass
class Streamed:
    """A ``Voice``: one generator actor, streaming."""

    actor: NamedActor
    config: RunConfig
    temperature: float | None
    seed: int
    said: int = 0

    def speak(self, prompt: Prompt, hear: Callable[[str], None]) -> Utterance:
        """See ``Voice``."""
        from actors.generator import Sampling
        from actors.streaming import stream
        from contracts.errors import CoevolveError
        from services.evaluate.asking import Utterance
        from services.seeds import derive_seed

        self.said += 1
        settings = self.config.sampling
        temperature = settings.temperature if self.temperature is None else self.temperature
        seed = derive_seed(self.seed, "ask", self.said)
        sampling = Sampling(1, settings.max_tokens, temperature, seed)
        seconds = self.config.deadlines.generate
        for piece in stream(self.actor, prompt, sampling, seconds=seconds):
            hear(piece.text)
            if piece.generation is not None:
                (completion,) = piece.generation.completions
                ended = completion.finish == "stop"
                return Utterance(completion.text, ended, len(completion.tokens))
        raise CoevolveError(f"{self.actor.name} ended without a completion")


@dataclass
class Terminal:
    """A ``Screen``: parts under headings, pieces as they come, notes dimmed."""

    console: Console
    begun: bool = False

    def head(self, text: str) -> None:
        """See ``Screen``."""
        if self.begun:
            self.console.print()
        self.begun = True
        self.console.print(text, style="bold", markup=False)

    def piece(self, text: str) -> None:
        """See ``Screen``. Written at once, and as it is."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """See ``Screen``."""
        self.console.print()
        self.console.print(f"[{text}]", style="dim", markup=False)

    def end(self, turn: Turn, tokens: int) -> None:
        """The answer that counts, and what all of it took."""
        verdict = {"yes": "judged right", "no": "judged wrong", None: "not judged"}[turn.verdict]
        text = f"Answer: {turn.answer or 'none'} ({verdict}; {tokens} tokens in all)"
        self.console.print()
        self.console.print(text, style="bold", markup=False)
