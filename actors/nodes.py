"""Machines of the Ray session, and what is lost with one that dies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ray

from actors.waiting import ActorError, wait_for

if TYPE_CHECKING:
    from ray import ObjectRef


def living_nodes() -> frozenset[str]:
    """Ids of the session's nodes that live, as far as is known."""
    return frozenset(str(node["NodeID"]) for node in ray.nodes() if node["Alive"])


def gone(refs: Sequence[ObjectRef[Any]], *, seconds: float, what: str) -> list[bool]:
    """Whether the object behind each of ``refs`` is lost.

    Each that is not is fetched, and let go of again: only for when a node has died.

    Args:
        refs: of objects that were there once.
        seconds: deadline of each.
        what: they are, for messages.

    Raises:
        DeadlineError: one did not come, and was not found to be lost either.
    """
    return [_is_gone(ref, seconds, what) for ref in refs]


def _is_gone(ref: ObjectRef[Any], seconds: float, what: str) -> bool:
    try:
        wait_for(ref, seconds=seconds, what=what)
    except ActorError:
        return True
    return False
