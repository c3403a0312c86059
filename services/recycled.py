"""Recycled prompts of one run that another one answers: a judge that is trained apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from contracts.config import BudgetConfig, RunConfig
from contracts.errors import UserError
from contracts.types import Prompt
from services.run_folder import RECYCLED, read_recycled

PromptsByStep = Mapping[int, list[Prompt]]


def recycled_by(config: RunConfig) -> PromptsByStep | None:
    """The prompts of the run that ``config`` names in ``recycle.prompts_of``; None: it names none.

    Raises:
        UserError: that run has kept none, or has fewer steps, and no budget may end this one
            before.
    """
    folder = config.recycle.prompts_of
    if folder is None:
        return None
    prompts: dict[int, list[Prompt]] = {}
    for line in read_recycled(folder):
        prompts.setdefault(line.step, []).append(line.prompt)
    _check(folder, config, last=max(prompts, default=0))
    return prompts


def _check(folder: Path, config: RunConfig, *, last: int) -> None:
    if last == 0:
        raise UserError(
            "the run has kept no recycled prompts",
            where=str(folder / RECYCLED),
            remedy="recycle.prompts_of names a run that went with recycle.answered=false.",
        )
    # A budget may end the run before the prompts do.
    steps = config.steps
    if last < steps and config.budget == BudgetConfig():
        raise UserError(
            f"the run has recycled prompts up to step {last}, and {steps} steps are asked for",
            where=str(folder / RECYCLED),
            remedy=f"Set steps={last}, or go on with that run.",
        )
