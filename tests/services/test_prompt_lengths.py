"""A prompt that does not fit the context is found before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.types import Task
from services.prompt_lengths import check_prompts
from services.tasks import TaskSplit

SHORT = [Task(f"{i}+1", f"{i} + 1", str(i + 1)) for i in range(4)]
LONG = Task("long", " + ".join(["1"] * 120), "120")


def config(context: int, *, recycle: bool = True) -> RunConfig:
    return RunConfig.model_validate(
        {
            "model": {"max_context": context},
            "sampling": {"max_tokens": 16},
            "recycle": {"enabled": recycle, "longest_answer": 8},
        }
    )


def test_what_fits_is_accepted(random_model_folder: Path) -> None:
    check_prompts(config(128), TaskSplit(SHORT[:3], SHORT[3:]), random_model_folder)


def test_the_longest_question_is_named(random_model_folder: Path) -> None:
    with pytest.raises(UserError, match=r"task long: its solve prompt takes up to 2\d\d tokens"):
        check_prompts(config(128), TaskSplit(SHORT, [LONG]), random_model_folder)


def test_room_for_candidates_counts_only_where_they_are_shown(random_model_folder: Path) -> None:
    split = TaskSplit(SHORT[:3], SHORT[3:])
    with pytest.raises(UserError, match="pairwise prompt"):
        check_prompts(config(36), split, random_model_folder)
    check_prompts(config(36, recycle=False), split, random_model_folder)
