"""The model, and the tasks that it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contracts.config.base import Count, Dtype, OptionalCount, Section, Share


class WarmStartConfig(Section):
    """How the built-in tiny model is given its first, weak competence. Only read for `tiny`."""

    clean_steps: OptionalCount = 500
    """Supervised updates on faultless derivations."""
    sloppy_steps: OptionalCount = 100
    """Supervised updates on derivations with injected faults: this is the room RL has."""
    batch: Count = 64
    """Sequences per supervised update."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """Peak learning rate of the supervised updates; it falls to a tenth at their end."""
    verdict_weight: Annotated[float, Field(gt=0)] = 4.0
    """Weight of the loss on the token that is the verdict."""
    result_weight: Annotated[float, Field(gt=0)] = 2.5
    """Weight of the loss on the digits that are the result of a column: the slowest to learn."""
    forgotten_carry: Share = 0.6
    """Sloppy part: probability that a carry or borrow is forgotten, each time there is one."""
    wrong_column: Share = 0.15
    """Sloppy part: probability that the result of a column is off by 1 to 3."""
    wrong_mark: Share = 0.06
    """Sloppy part: probability that a mark of the digit-by-digit check is turned over."""
    coin_verdict: Share = 0.3
    """Sloppy part: probability that the verdict is drawn by coin."""
    unchecked_reflection: Share = 0.1
    """Sloppy part: probability that a reflection keeps the proposed answer unchecked."""
    seed: int = 0
    """Seed of the data and of the initial weights."""


class ModelConfig(Section):
    """The one model that solves and judges."""

    name: str = "tiny"
    """`tiny` (built and warm-started on the spot), `smollm2`, or a Hugging Face model folder."""
    dtype: Dtype = "float32"
    """Type of compute and of the generators' weights. bfloat16 keeps float32 master weights, where
    changes gather that are too small for the policy to see."""
    max_context: Count = 256
    """Longest prompt plus completion, in tokens."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model folder. Leave off unless you wrote it."""
    warm_start: WarmStartConfig = WarmStartConfig()
    """First competence of the tiny model."""


class FieldMapping(Section):
    """Where a data file keeps question, answer and image."""

    question: str = "question"
    """Field of the question; several joined by `+` are put together with a space."""
    answer: str = "answer"
    """Field of the gold answer."""
    answer_after: str = ""
    """Take the gold answer from behind the last occurrence of this mark, for example `####`."""
    answer_boxed: bool = False
    r"""Take the gold answer out of the last `\boxed{}` of the answer field."""
    image: str = ""
    """Field of an image path, or of a list of them; empty: no images."""
    id: str = ""
    """Field of a unique id; empty: the row number."""


class TaskConfig(Section):
    """Where tasks come from, and how they are asked."""

    source: Literal[
        "arithmetic", "jsonl", "json", "parquet", "hf", "gsm8k", "svamp", "math500", "aime", "amc",
        "spark",
    ] = "arithmetic"  # fmt: skip
    """The built-in generator, a file format, a saved Hugging Face dataset, or a published file."""
    path: Path | None = None
    """File or folder of the source. Not used by `arithmetic`."""
    fields: FieldMapping = FieldMapping()
    """Field mapping for `jsonl`, `json`, `parquet` and `hf`. The presets bring their own."""
    verifier: str = "math"
    """Grader of answers: `math`, `choice`, `exact`, or a `module:function` of yours."""
    held_out: Count = 512
    """Tasks kept for evaluation, never trained on. Chosen by `seed`."""
    operators: Annotated[str, Field(pattern=r"^[+*-]+$")] = "+-"
    """Arithmetic only: operators to draw from."""
    low: OptionalCount = 10
    """Arithmetic only: smallest operand."""
    high: Count = 99
    """Arithmetic only: largest operand."""
    seed: int = 0
    """Seed of the order of tasks and of the split."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.source != "arithmetic" and self.path is None:
            raise ValueError(f"tasks.path is needed for source {self.source!r}")
        if self.low >= self.high:
            raise ValueError(f"tasks.low ({self.low}) must be below tasks.high ({self.high})")
        return self
