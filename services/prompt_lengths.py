"""Whether every prompt fits the context, known before an actor starts."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.types import Candidate, Prompt, Task
from recycler.recycle import pairwise_prompt, pointwise_prompt, reflect_prompt, solve_prompt
from services.tasks import TaskSplit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST = 256
"""Tasks with the longest questions, by characters, that are tokenised for the check."""


def check_prompts(config: RunConfig, tasks: TaskSplit, folder: Path) -> None:
    """Refuse a run in which a prompt and its completion do not fit ``model.max_context``.

    Raises:
        UserError: names the task with the longest prompt, and the room it needs.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        folder, trust_remote_code=config.model.trust_remote_code
    )
    everything = [*tasks.train, *tasks.held_out]
    longest = heapq.nlargest(LONGEST, everything, key=lambda task: len(task.question))
    room = config.model.max_context - config.sampling.max_tokens
    _check(_solve(longest, config), tokenizer, room, 0)
    if config.recycle.enabled:
        # A token stands for a byte at least, so an answer has no more tokens than bytes.
        shown = config.recycle.longest_answer
        if config.recycle.reasoning_share:
            shown = max(shown, config.sampling.max_tokens)
        _check(_judge_one(longest, config), tokenizer, room, shown)
        _check(_judge_two(longest, config), tokenizer, room, 2 * shown)


def _solve(tasks: Sequence[Task], config: RunConfig) -> list[Prompt]:
    return [solve_prompt(task, config.recycle.style) for task in tasks]


def _judge_one(tasks: Sequence[Task], config: RunConfig) -> list[Prompt]:
    style = config.recycle.style
    empty = [_empty_candidate(task, correct=True) for task in tasks]
    return [make(one, style, 0) for one in empty for make in (pointwise_prompt, reflect_prompt)]


def _judge_two(tasks: Sequence[Task], config: RunConfig) -> list[Prompt]:
    style = config.recycle.style
    return [
        pairwise_prompt(
            _empty_candidate(task, correct=True),
            _empty_candidate(task, correct=False),
            style,
            0,
            right_first=True,
        )
        for task in tasks
    ]


def _empty_candidate(task: Task, *, correct: bool) -> Candidate:
    return Candidate(task=task, completion_id="", answer="", reasoning="", correct=correct)


def _check(
    prompts: Sequence[Prompt], tokenizer: PreTrainedTokenizerBase, room: int, shown: int
) -> None:
    """Refuse prompts of more than ``room`` tokens, ``shown`` tokens of candidates included."""
    for prompt in prompts:
        messages = [{"role": m.role, "content": m.text()} for m in prompt.messages]
        tokens = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )
        needed = len(tokens) + shown
        if needed > room:
            raise UserError(
                f"its {prompt.objective} prompt takes up to {needed} tokens, and only {room} of "
                "model.max_context are left beside sampling.max_tokens",
                where=f"task {prompt.task.id}",
                remedy="Raise model.max_context, lower sampling.max_tokens, or leave the task out.",
            )
