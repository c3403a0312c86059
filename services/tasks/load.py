"""From configuration to tasks: train and held-out parts."""

from __future__ import annotations

from contracts.config import TaskConfig
from services.tasks.arithmetic import Wording, arithmetic_tasks, same_sum
from services.tasks.split import TaskSplit, split_tasks


def load_tasks(config: TaskConfig, style: str) -> TaskSplit:
    """The tasks of a run. The same configuration gives the same parts in every run.

    Args:
        config: source, mapping, size of the held-out part, seed.
        style: wording of the prompts; ``terse`` has sums asked as ``12+34``.

    Raises:
        UserError: the source cannot be read; the message names file, line and field.
    """
    wording: Wording = "terse" if style == "terse" else "sentence"
    tasks = arithmetic_tasks(config, wording)
    return split_tasks(tasks, config.held_out, config.seed, key=same_sum, where="arithmetic tasks")
