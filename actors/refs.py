"""References to bulk data in the object store, with the little that the controller knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from contracts.types import GroupSummary

if TYPE_CHECKING:
    from ray import ObjectRef

    from contracts.types import Group


@dataclass(frozen=True, slots=True)
class GroupRef:
    """A graded group that stays in the object store, and its summary."""

    ref: ObjectRef[Group]
    summary: GroupSummary
