"""What has come together in a step, until it is written down."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from actors.refs import GroupRef
from contracts.types import Objective, Prompt, UpdateReport
from services.batches import Batch


@dataclass
class Step:
    """Step ``number``: its batches, what was too old in them, and what the learner did.

    ``ages``: versions between sampling and training of each completion trained on. ``stale``:
    groups that were too old. ``waited``: seconds that the learner waited for batches.
    ``queued``: most batches that waited for the learner.
    """

    number: int
    batches: list[Batch] = field(default_factory=list)
    ages: list[int] = field(default_factory=list)
    stale: list[GroupRef] = field(default_factory=list)
    report: UpdateReport | None = None
    waited: float = 0.0
    queued: int = 0

    def add(self, batch: Batch, report: UpdateReport, queued: int) -> None:
        """A batch was trained on."""
        self.batches.append(batch)
        self.report = report if self.report is None else self.report.followed_by(report)
        self.queued = max(self.queued, queued)

    @property
    def ended(self) -> bool:
        """Whether all its batches were trained on."""
        return bool(self.batches) and self.batches[-1].ends_step

    @property
    def fresh(self) -> list[tuple[Batch, GroupRef]]:
        """The groups that were young enough, each with its batch."""
        old = {group.summary.prompt_id for group in self.stale}
        return [(b, g) for b in self.batches for g in b.groups if g.summary.prompt_id not in old]

    @property
    def groups(self) -> list[GroupRef]:
        """The groups that were young enough."""
        return [group for _, group in self.fresh]

    @property
    def recycled(self) -> list[Prompt]:
        """Prompts that were made of it."""
        return [prompt for batch in self.batches for prompt in batch.recycled]

    @property
    def phases(self) -> dict[str, float]:
        """Seconds that its batches took, by phase."""
        total: Counter[str] = Counter()
        for batch in self.batches:
            total.update(batch.phases)
        return dict(total)

    def kept(self, each: int) -> list[GroupRef]:
        """A few groups of each objective, the first of the step."""
        kept: list[GroupRef] = []
        for objective in Objective:
            ours = [group for group in self.groups if group.summary.objective is objective]
            kept += ours[:each]
        return kept
