"""Going on with a run: from which checkpoint, and whether the configuration still fits it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from contracts.config import RunConfig
from contracts.loading import load_config
from contracts.nested import flat
from contracts.problems import Problem, together
from learner.checkpoint import Checkpoint, newest
from services.budget import Spending
from services.run_folder import CONFIG, read_run

MAY_CHANGE = (
    "runs_dir",
    "cache_dir",
    "steps",
    "budget",
    "placement",
    "generators",
    "verifiers.workers",
    "verifiers.deadline",
    "learner.ranks",
    "learner.node_group",
    "learner.device",
    "learner.threads",
    "learner.token_budget",
    "learner.shared_prefix",
    "learner.gradient_checkpointing",
    "learner.offload_optimizer",
    "learner.offload_parameters",
    "transfer",
    "evaluation.every",
    "evaluation.tasks_between",
    "evaluation.greedy",
    "checkpoints",
    "deadlines",
    "faults",
    "metrics",
    "rollouts_kept",
)
"""What a resumed run may have another value of: where and how it runs, not what it learns."""


def resumable(config: RunConfig, note: Callable[[str], None]) -> Checkpoint | None:
    """The checkpoint that the run of ``config`` goes on from; None: it starts from the beginning.

    Args:
        config: the run as it is asked for now.
        note: told, in a sentence, of each damaged checkpoint that is passed over.

    Raises:
        UserError: the configuration differs from the run's in what it learns.
    """
    stored = config.folder / CONFIG
    if not stored.is_file():
        return None
    differences = list(changed(load_config(stored), config))
    if differences:
        raise together(differences, "changes that a resumed run cannot have")
    return newest(config.checkpoints_folder, note)


def is_finished(config: RunConfig) -> bool:
    """Whether the run of ``config`` has ended by itself, with all its steps or its budget."""
    if not (config.folder / CONFIG).is_file():
        return False
    run = read_run(config.folder)
    if run.summary is None or run.summary.status != "finished":
        return False
    return Spending.of(run.metrics, run.timing).is_all(config)


def changed(stored: RunConfig, now: RunConfig) -> Iterator[Problem]:
    """Each field of ``now`` that differs from the run's and may not."""
    before, after = flat(stored.model_dump(mode="json")), flat(now.model_dump(mode="json"))
    for field in sorted(before.keys() | after.keys()):
        free = any(field == name or field.startswith(f"{name}.") for name in MAY_CHANGE)
        if before.get(field) != after.get(field) and not free:
            was, given = json.dumps(before.get(field)), json.dumps(after.get(field))
            what = f"the run was started with {was}, now it is {given}"
            yield Problem(field, what, "Give the old value, or start a run of another name.")
