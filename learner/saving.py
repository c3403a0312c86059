"""A checkpoint of all learner ranks together: every rank ends well, or every rank hears why not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from contracts.errors import UserError
from learner.checkpoint import CheckpointError, Writer, claimed, prune, room_for
from learner.zero import Place, max_over_ranks


class Saver:
    """Writes checkpoints of a group of ranks; every method is collective.

    Args:
        place: this rank's.
        state: writes this rank's file into a folder, and says what loading needs to know.
        export: writes the Hugging Face folder; gathers weights, so it is collective.
        size: bytes of a whole checkpoint, about.
    """

    def __init__(
        self,
        place: Place,
        *,
        state: Callable[[Path], dict[str, Any]],
        export: Callable[[Path], None],
        size: int,
    ) -> None:
        self._place, self._state, self._export, self._size = place, state, export, size

    def save(
        self, writer: Writer, facts: dict[str, Any], extras: Mapping[str, bytes], keep: int
    ) -> Path:
        """Write what ``Learner.save`` promises."""
        first = self._place.rank == 0
        with contextlib.ExitStack() as held:
            try:
                self._together(lambda: self._begin(writer, held) if first else None)
                self._together(lambda: facts.update(self._state(writer.folder / "learner")))
                writer.at("learner written")
                self._together(lambda: self._export(writer.folder / "model"))
                writer.at("model written")
                self._together(lambda: _publish(writer, facts, extras, keep) if first else None)
            except (CheckpointError, UserError):
                if first:
                    writer.abandon()
                raise
        return writer.final

    def _begin(self, writer: Writer, held: contextlib.ExitStack) -> None:
        held.enter_context(claimed(writer.root))
        room_for(writer.root, self._size)
        writer.begin()

    def _together(self, work: Callable[[], object]) -> None:
        """Do ``work``, then agree with all ranks that it went well.

        Raises:
            CheckpointError: it failed here or on another rank.
            UserError: it raised one here.
        """
        failure: Exception | None = None
        try:
            work()
        except (OSError, SafetensorError, CheckpointError, UserError) as error:
            failure = error
        (failed,) = max_over_ranks([int(failure is not None)], self._place.device)
        if isinstance(failure, CheckpointError | UserError):
            raise failure
        if failure is not None:
            raise CheckpointError(f"the checkpoint could not be written: {failure}") from failure
        if failed:
            raise CheckpointError("another learner rank could not write the checkpoint")


def _publish(
    writer: Writer, facts: Mapping[str, Any], extras: Mapping[str, bytes], keep: int
) -> None:
    writer.write_extras(extras)
    writer.publish(facts)
    prune(writer.root, keep, writer.at)
