"""The tiny model's first competence: supervised tokens, through the learner that RL uses.

Run as a module, in a process of its own, so that ``torch.distributed`` and the learner's
threads stay out of the caller.
"""

from __future__ import annotations

import inspect
import json
import logging
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from contracts.config import LearnerConfig, WarmStartConfig
from contracts.errors import UserError
from contracts.types import Sample
from learner.samples import supervised_sample
from recycler import templates
from services.models import tiny_language, tiny_lessons, tiny_model
from services.models.cache import PROGRESS, Build, digest, end_with_parent, write_record
from services.models.tiny_language import FAULTLESS, Faults, Sum
from services.models.tiny_lessons import MIX, Teacher, Tokens, tokenize

if TYPE_CHECKING:
    from learner.engine import Learner

THREADS = 2
"""CPU threads of the learner; nothing else of the run is up at that time."""


def warm_start_build(config: WarmStartConfig, questions: Sequence[str]) -> Build:
    """How the cached folder of the tiny model comes to be.

    Args:
        questions: sums of the training part; the warm start shows these and no others.

    Raises:
        UserError: there are none, or one is no sum the tiny model has words for.
    """
    for question in questions:
        if Sum.parse(question) is None:
            raise _no_words(f"asks {question!r}")
    if not questions:
        raise _no_words("has no training questions")
    recipe = [inspect.getsource(module) for module in _recipe()]
    settings = config.model_dump(mode="json")
    shown = sorted(questions)
    return Build(
        key=f"tiny-{digest(settings, shown, recipe)}",
        module="services.models.warm_start",
        request={"config": settings, "questions": shown},
        what="the warm start of the tiny model",
        # The model is so small that a GPU would only cost its start. Passive waits: threads
        # that spin at barriers starve whatever else runs on the same cores.
        environment={
            "DS_ACCELERATOR": "cpu",
            "OMP_NUM_THREADS": str(THREADS),
            "OMP_WAIT_POLICY": "PASSIVE",
        },
    )


def _no_words(what: str) -> UserError:
    return UserError(
        f"model 'tiny' knows sums such as 12+34 and 56-78 only; the task source {what}",
        where="model.name",
        remedy="train it on tasks.source=arithmetic with tasks.operators '+-', "
        "or take model.name=smollm2 or a model folder",
    )


def _recipe() -> tuple[ModuleType, ...]:
    """The code that decides what the tiny model is; a change of it is another cache entry."""
    return (tiny_language, tiny_lessons, tiny_model, templates, sys.modules[__name__])


def describe(config: WarmStartConfig) -> str:
    """What the warm start injects, in plain words for a reader of the report."""
    return (
        f"The tiny model was first taught by {config.clean_steps} supervised updates on faultless "
        "derivations (solving, judging one or two answers, reflecting; digit by digit), on "
        f"training questions only. Then {config.sloppy_steps} updates made it sloppy on purpose: "
        f"carries forgotten ({config.forgotten_carry:.0%}), columns off by 1 to 3 "
        f"({config.wrong_column:.0%}), marks of the check turned over ({config.wrong_mark:.0%}), "
        f"verdicts by coin ({config.coin_verdict:.0%}), reflections that keep the proposed answer "
        f"unchecked ({config.unchecked_reflection:.0%}). Much of what it gains here is the removal "
        "of this injected sloppiness, not new ability; a real model such as SmolLM2 is the better "
        "witness."
    )


def learner_config(config: WarmStartConfig) -> LearnerConfig:
    """The learner's settings for a warm start."""
    return LearnerConfig(
        ranks=1,
        device="cpu",
        threads=THREADS,
        learning_rate=config.learning_rate,
        schedule="linear",
        warmup_updates=20,
        final_ratio=0.1,
        weights={objective.value: share for objective, share in MIX.items()},
        shared_prefix="off",
    )


def run(config: WarmStartConfig, questions: Sequence[str], folder: Path) -> None:
    """Build the tiny model, teach it, write it to ``folder`` as a Hugging Face folder."""
    from learner.engine import Learner

    with tempfile.TemporaryDirectory() as place:
        untaught = Path(place) / "untaught"
        parameters = tiny_model.build_tiny_model(untaught, config.seed)
        total = config.clean_steps + config.sloppy_steps
        learner = Learner(
            untaught,
            learner_config(config),
            dtype="float32",
            total_updates=max(total, 1),
            seed=config.seed,
            rank=0,
            world_size=1,
            master="127.0.0.1",
            port=_free_port(),
            trust_remote_code=False,
        )
        try:
            _teach(learner, config, questions, folder / PROGRESS)
            learner.export(folder)
        finally:
            learner.close()
    tiny_language.build_tokenizer(tiny_model.CONTEXT).save_pretrained(folder)
    write_record(folder, parameters, describe(config), config=config.model_dump(mode="json"))


def _teach(
    learner: Learner, config: WarmStartConfig, questions: Sequence[str], progress: Path
) -> None:
    """Every update of the warm start: the clean ones, then the sloppy ones."""
    faults = Faults.of(config)
    teacher = Teacher(questions, proposers=faults, seed=config.seed)
    tokenizer = tiny_language.build_tokenizer(tiny_model.CONTEXT)
    total = config.clean_steps + config.sloppy_steps
    for update in range(total):
        current = FAULTLESS if update < config.clean_steps else faults
        batch = [
            _sample(update, i, tokenize(teacher.lesson(current), tokenizer, config))
            for i in range(config.batch)
        ]
        report = learner.update([batch])
        if update % 10 == 9 or update == total - 1:
            progress.write_text(f"warm start: {update + 1} of {total} updates\n")
            loss = ", ".join(f"{o.value} {r.loss:.3f}" for o, r in report.objectives.items())
            logging.info("update %d of %d, loss: %s", update + 1, total, loss)


def _sample(update: int, index: int, lesson: Tokens) -> Sample:
    return supervised_sample(
        f"{update}-{index}",
        lesson.objective,
        lesson.prompt.tolist(),
        lesson.completion.tolist(),
        lesson.weights,
    )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def main(request_file: Path, folder: Path) -> None:
    """Carry out the request that ``warm_start_build`` wrote."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    request = json.loads(request_file.read_text())
    run(WarmStartConfig(**request["config"]), request["questions"], folder)


if __name__ == "__main__":
    end_with_parent()
    main(Path(sys.argv[1]), Path(sys.argv[2]))
