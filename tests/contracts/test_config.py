"""The configuration itself: documented, closed, fixed."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from contracts.config import RecycleConfig, RunConfig


def sections(model: type[BaseModel]) -> list[type[BaseModel]]:
    inner = [
        info.annotation
        for info in model.model_fields.values()
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
    ]
    return [model, *(deep for section in inner for deep in sections(section))]


@pytest.mark.parametrize("section", sections(RunConfig), ids=lambda s: s.__name__)
def test_every_field_has_a_description_and_a_default(section):
    for name, info in section.model_fields.items():
        assert info.description and info.description.strip().endswith("."), name
        assert not info.is_required(), name


def test_the_schema_documents_every_field():
    schema = RunConfig.model_json_schema()
    parts: list[dict[str, Any]] = [schema, *schema["$defs"].values()]
    assert len(parts) == len(sections(RunConfig))
    for part in parts:
        assert part["additionalProperties"] is False
        assert all("description" in field for field in part["properties"].values())


def test_values_cannot_change_afterwards():
    with pytest.raises(ValidationError):
        RunConfig().steps = 3


@pytest.mark.parametrize(
    ("schedule", "recycle", "updates"),
    [("merged", True, 20), ("sequential", True, 40), ("sequential", False, 20)],
)
def test_total_updates_counts_what_the_schedule_does(schedule, recycle, updates):
    config = RunConfig(
        steps=10,
        schedule=schedule,
        recycle=RecycleConfig(enabled=recycle),
        learner={"updates_per_step": 2},
    )
    assert config.total_updates == updates


def test_more_updates_than_groups_are_refused():
    with pytest.raises(ValidationError, match="an update would have no group"):
        RunConfig(tasks_per_step=2, learner={"updates_per_step": 3})


def test_more_evaluation_tasks_than_are_held_out_are_refused():
    with pytest.raises(ValidationError, match="is above tasks"):
        RunConfig(tasks={"held_out": 10}, evaluation={"tasks": 11})


SHARED = {"placement": "shared", "generators": {"device": "cuda"}, "learner": {"device": "auto"}}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"learner": {"device": "cpu"}}, "is for generators and learner on GPUs"),
        ({"generators": {"device": "cpu"}}, "is for generators and learner on GPUs"),
        ({"generators": {"count": 2}}, "count .2. is above learner.ranks .1."),
        ({"generators": {"tensor_parallel": 2}}, "tensor_parallel .2. must be 1"),
        ({"max_staleness": 1}, "max_staleness .1. must be 0"),
        ({"transfer": {"backend": "nccl"}}, "backend .nccl. must be auto or ipc"),
        ({"learner": {"node_group": "learner"}}, "must be the same"),
    ],
)
def test_what_cannot_share_gpus_is_refused(changes, what):
    RunConfig.model_validate(SHARED)
    with pytest.raises(ValidationError, match=what):
        RunConfig.model_validate(SHARED | changes)


def test_cuda_ipc_is_for_shared_gpus():
    RunConfig.model_validate(SHARED | {"transfer": {"backend": "ipc"}})
    with pytest.raises(ValidationError, match="for placement 'shared' alone"):
        RunConfig.model_validate({"transfer": {"backend": "ipc"}})
