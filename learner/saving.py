"""Files written or read by all learner ranks together: every rank ends well, or hears why not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from safetensors import SafetensorError

from contracts.errors import UserError
from learner.checkpoint import CheckpointError, Writer, claimed, prune, room_for
from learner.zero import Place, max_over_ranks


def together(place: Place, work: Callable[[], object], what: str) -> None:
    """Do ``work`` with files on this rank, then agree with all ranks that it went well.

    Collective. Where it failed on some rank, every rank raises the same error, so that no
    rank is left waiting and whoever listens to any of them hears the reason.

    Args:
        place: this rank's.
        work: may raise OSError, SafetensorError, CheckpointError or UserError.
        what: what could not be done, as a clause: "the checkpoint could not be written".

    Raises:
        CheckpointError: the file system failed on some rank, or ``work`` raised one.
        UserError: ``work`` raised one on some rank.
    """
    failure: CheckpointError | UserError | None = None
    cause: Exception | None = None
    try:
        work()
    except (CheckpointError, UserError) as error:
        failure = error
    except (OSError, SafetensorError) as error:
        failure, cause = CheckpointError(f"{what}: {error}"), error
    (failed,) = max_over_ranks([int(failure is not None)], place.device)
    if failed:
        raise failure_of_any(failure, place) from cause


def failure_of_any(
    mine: CheckpointError | UserError | None, place: Place
) -> CheckpointError | UserError:
    """The failure of the first rank that has one; the same on every rank. Collective."""
    failures: list[CheckpointError | UserError | None] = [None] * place.world_size
    dist.all_gather_object(failures, mine)
    return next(failure for failure in failures if failure is not None)


class Saver:
    """Writes checkpoints of a group of ranks; every method but ``close`` is collective.

    A folder of checkpoints is claimed at the first save into it, until ``close``: a second
    run would mix its checkpoints with those of the first.

    Args:
        place: this rank's.
        state: writes this rank's file into a folder, and says what loading needs to know.
        export: writes the Hugging Face folder with a card; gathers weights, so it is collective.
        size: bytes of a whole checkpoint, about.
    """

    def __init__(
        self,
        place: Place,
        *,
        state: Callable[[Path], dict[str, Any]],
        export: Callable[[Path, str], None],
        size: int,
    ) -> None:
        self._place, self._state, self._export, self._size = place, state, export, size
        self._claims = contextlib.ExitStack()
        self._claimed: set[Path] = set()

    def save(
        self,
        writer: Writer,
        facts: Mapping[str, Any],
        extras: Mapping[str, bytes],
        *,
        keep: int,
        card: str,
    ) -> Path:
        """Write what ``Learner.save`` promises."""
        if paths := [name for name in extras if Path(name).name != name]:
            raise ValueError(f"{paths[0]!r} is not a plain file name")
        known = dict(facts)
        with contextlib.ExitStack() as undo:
            self._first(lambda: self._begin(writer, undo))
            self._together(lambda: known.update(self._state(writer.folder / "learner")))
            writer.at("learner written")
            self._together(lambda: self._export(writer.folder / "model", card))
            writer.at("model written")
            self._first(lambda: _publish(writer, known, extras))
        what = "the checkpoint is written, but an older one could not be removed"
        self._first(lambda: prune(writer.root, keep, writer.at), what)
        return writer.final

    def close(self) -> None:
        """Give up the claims."""
        self._claims.close()

    def _begin(self, writer: Writer, undo: contextlib.ExitStack) -> None:
        root = writer.root.resolve()
        if root not in self._claimed:
            self._claims.enter_context(claimed(root))
            self._claimed.add(root)
        # Only behind the claim: what another run is writing there is not ours to remove.
        undo.push(lambda kind, *_: writer.abandon() if kind else None)
        room_for(root, self._size)
        writer.begin()

    def _first(self, work: Callable[[], object], what: str = "") -> None:
        """``_together``, with work for rank 0 alone."""
        self._together(work if self._place.rank == 0 else lambda: None, what)

    def _together(self, work: Callable[[], object], what: str = "") -> None:
        together(self._place, work, what or "the checkpoint could not be written")


def _publish(writer: Writer, facts: Mapping[str, Any], extras: Mapping[str, bytes]) -> None:
    writer.write_extras(extras)
    writer.publish(facts)
