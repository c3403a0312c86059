"""What a checkpoint holds of a run beside the learner, and how it gets in and out as JSON."""

from __future__ import annotations

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from contracts.types import Prompt
from learner.checkpoint import Checkpoint
from services.evaluation import BankEntry
from services.tasks.stream import StreamState

FILE = "run.json"
"""Its name among the extras of a checkpoint."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RunState:
    """A run between two steps. Seeds are derived, so no random state belongs here.

    ``pending``: recycled prompts that wait for the next step. ``bank``: candidates of the
    initial model that judging is measured on. ``evaluations``: lines of ``evaluations.jsonl``
    written so far; what came later is taken back on a resume.
    """

    step: int
    version: int
    tasks: StreamState
    pending: tuple[Prompt, ...]
    bank: tuple[BankEntry, ...]
    evaluations: int

    def extras(self) -> dict[str, bytes]:
        """The state as a file of a checkpoint."""
        return {FILE: _ADAPTER.dump_json(self)}

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> RunState:
        """The state that a checkpoint holds.

        Raises:
            CheckpointError: it holds none.
            ValueError: it was written by another version of Coevolve.
        """
        return _ADAPTER.validate_json(checkpoint.extra(FILE))


_ADAPTER = TypeAdapter(RunState)
