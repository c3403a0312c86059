"""A plan file: the model, the machines, the work, and the configuration of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from contracts.config import Count, OptionalCount, RunConfig, Section
from contracts.errors import UserError
from contracts.loading import find_config, load_config
from contracts.nested import flat, merged
from contracts.problems import problems_of, together
from contracts.shipped import DEPLOY, find_shipped
from contracts.yaml_lines import parse_value, read_document
from services.plan.datasheet import ACCELERATORS, Accelerator, Assumptions, Cluster
from services.plan.shape import VOCABULARY, ModelShape, shape_named, shape_of_size
from services.plan.workload import Workload


class ModelSpec(Section):
    """The model: a name or a file, or its size."""

    name: str | None = None
    """`tiny`, `smollm2`, or a Hugging Face folder or `config.json`."""
    parameters: Annotated[float, Field(gt=0)] | None = None
    """All weights, where there is no file."""
    layers: Count | None = None
    """Layers, where there is no file."""
    hidden: Count | None = None
    """Width; null: from parameters and layers."""
    kv_heads: Count | None = None
    """Heads of keys and values; null: a quarter of the heads, of dimension 128."""
    intermediate: Count | None = None
    """Width of the feed-forward part; null: what makes the size come out right."""
    vocabulary: Count = VOCABULARY
    """Words."""

    def shape(self) -> ModelShape:
        """What costs need to know of it.

        Raises:
            UserError: it is neither named nor described.
        """
        if self.name is not None:
            return shape_named(self.name)
        if self.parameters is None or self.layers is None:
            raise UserError(
                "which model?",
                where="--model",
                remedy="Give --model, or --parameters and --layers.",
            )
        return shape_of_size(
            self.parameters,
            self.layers,
            hidden=self.hidden,
            kv_heads=self.kv_heads,
            intermediate=self.intermediate,
            vocabulary=self.vocabulary,
        )


class LearnerSpec(Section):
    """How a learner is laid out that is not ours. As it is, it is ours."""

    unit: Literal["group", "completion"] = "group"
    """What is dealt out to ranks: ours get whole groups, whose prompt is forwarded once."""
    sequence_parallel: Count = 1
    """GPUs that share each sequence: so many times fewer and faster ranks to deal to."""
    shard: Count | None = None
    """GPUs over which weights are spread, and gathered; gradients are then summed over the others.
    null: all, as ZeRO-3 does."""


OURS = LearnerSpec()
"""The learner of this project."""


class SearchSpec(Section):
    """What may be varied to find the best."""

    staleness: OptionalCount | None = None
    """Up to so many versions; null: the run's `max_staleness` only."""
    batches: tuple[Count, ...] = ()
    """Numbers of tasks a step to try; none: the run's `tasks_per_step` only."""
    tensor_parallel: tuple[Count, ...] = ()
    """GPUs of a generator to try; none: the run's only."""
    steps: Count = 3
    """Steps to simulate of each layout that is tried; of the one that is proposed, all."""
    slack: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Within this share of the best, what is less stale and has fewer tasks a step is proposed."""


class PlanFile(Section):
    """All that a plan is made of."""

    title: str = ""
    """What it is about."""
    model: ModelSpec = ModelSpec()
    """The model."""
    gpus: Count | None = None
    """GPUs in all."""
    learner_gpus: Count | None = None
    """Of these, the learner's; null: the best number is looked for."""
    cluster: Cluster = Cluster()
    """The machines."""
    assume: Assumptions = Assumptions()
    """What no datasheet says."""
    workload: Workload = Workload()
    """Groups, prompts and completions."""
    preset: str | None = None
    """A preset, or a file, that the run starts from."""
    run: dict[str, Any] = Field(default_factory=dict)
    """The configuration of the run, as in its file. Counts of generators and ranks are replaced."""
    learner: LearnerSpec = OURS
    """Another's learner, in order to compare with what it published."""
    search: SearchSpec = SearchSpec()
    """What may be varied."""
    steps: Count = 12
    """Steps to simulate; the first ones, before batches are ahead, do not count."""
    seed: int = 0
    """Of lengths and signal."""

    def config(self) -> RunConfig:
        """The run, in bfloat16 where nothing else is said.

        Raises:
            UserError: it does not go together.
        """
        base: Mapping[str, Any] = {"model": {"dtype": "bfloat16"}, "evaluation": {"every": 0}}
        if self.preset is None:
            return load_config(None, base=merged(base, self.run))
        # Tasks are not read.
        base = {"tasks": {"path": "."}}
        changes = [f"{key}={json.dumps(value)}" for key, value in flat(self.run).items()]
        return load_config(find_config(self.preset), changes, base=base)

    def gpu(self) -> Accelerator:
        """The accelerator, with the price that was given.

        Raises:
            UserError: there is none of this name.
        """
        found = self.cluster.gpu or ACCELERATORS.get(self.cluster.accelerator)
        if found is None:
            raise UserError(
                f"{self.cluster.accelerator!r} is not known",
                where="cluster.accelerator",
                remedy=f"Use {', '.join(ACCELERATORS)}, or describe it in cluster.gpu.",
            )
        price = self.cluster.price
        return found if price is None else found.model_copy(update={"price": price})


PLANS = DEPLOY / "plans"
"""Where plans are that come with the project."""


def find_plan(argument: str) -> Path:
    """The file meant by a PLAN argument: the name of one that comes with the project, or a path.

    Raises:
        UserError: it is neither.
    """
    return find_shipped(argument, PLANS, "plan")


def load_plan(path: Path | None, overrides: Sequence[str], given: Mapping[str, Any]) -> PlanFile:
    """A plan: its file, then ``given`` by options, then ``dotted.key=value`` overrides.

    Raises:
        UserError: the file is missing or malformed, or values are wrong.
    """
    data: dict[str, Any] = {}
    origins: dict[tuple[Any, ...], str] = {}
    if path is not None:
        document = read_document(path)
        data = dict(document.data or {})
        origins = {key: f"{path}:{line}" for key, line in document.lines.items()}
    data = merged(data, given)
    for text in overrides:
        keys, value = _override(text)
        data = merged(data, _nested(keys, value))
        origins[keys] = f"override {text}"
    try:
        return PlanFile.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        found = problems_of(error, PlanFile, lambda key: origins.get(tuple(key), ""))
        raise together(found, "problems in the plan") from error


def _override(text: str) -> tuple[tuple[str, ...], Any]:
    """``dotted.key=value`` as keys and value."""
    dotted, equals, value = text.partition("=")
    keys = tuple(dotted.strip().split("."))
    if not equals or not all(keys):
        raise UserError(
            "an override must have the form key=value",
            where=text,
            remedy="For example: run.max_staleness=1",
        )
    return keys, parse_value(value, f"override {text}")


def _nested(keys: Sequence[str], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return dict(value)
