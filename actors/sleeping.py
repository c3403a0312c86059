"""An engine that lends the memory of its GPU to the learner, and takes it back in two steps.

vLLM keeps an engine's memory under tags. Weights come back when new ones are to be loaded, the
key-value cache only when they are: in between the learner still holds its share.
"""

from __future__ import annotations

from typing import Any, Literal

Tag = Literal["weights", "kv_cache"]
"""vLLM's names of what an engine can wake by itself."""
TAGS: tuple[Tag, ...] = ("weights", "kv_cache")
KEEP_WEIGHTS = 1
"""vLLM's level of sleep at which weights move to host memory; the cache is dropped."""


class Sleep:
    """What of an engine is asleep. Not for two tasks at once."""

    def __init__(self) -> None:
        self._asleep: set[Tag] = set()

    @property
    def lent(self) -> bool:
        """Whether any memory is lent: the engine cannot sample."""
        return bool(self._asleep)

    async def begin(self, engine: Any) -> None:
        """Lend everything. Requests that wait are kept; all caches are dropped."""
        await engine.sleep(level=KEEP_WEIGHTS, mode="keep")
        self._asleep = set(TAGS)

    async def wake(self, engine: Any, tag: Tag) -> None:
        """Take back what is under ``tag``, where it is lent."""
        if tag in self._asleep:
            await engine.wake_up(tags=[tag])
            self._asleep.discard(tag)
