"""One completion as it is sampled: from a generator actor to whoever watches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import ray

from actors.waiting import NamedActor, wait_for
from contracts.errors import DeadlineError

if TYPE_CHECKING:
    from actors.generator import Piece, Sampling
    from contracts.types import Prompt


def stream(
    actor: NamedActor, prompt: Prompt, sampling: Sampling, *, seconds: float
) -> Iterator[Piece]:
    """Pieces of one completion of ``prompt``, as ``actor`` samples them.

    Args:
        actor: a generator.
        prompt: what is asked.
        sampling: with one completion.
        seconds: longest wait for a piece.

    Raises:
        DeadlineError: no piece came in time.
        ActorError: the generator failed.
        CoevolveError: raised by the generator about the prompt.
    """
    pieces = actor.handle.stream.options(num_returns="streaming").remote(prompt, sampling)
    what = f"the next tokens of {actor.name}"
    while True:
        ready, _ = ray.wait([pieces], num_returns=1, timeout=seconds)
        if not ready:
            raise DeadlineError(what, seconds)
        try:
            reference = next(pieces)
        except StopIteration:
            return
        piece: Piece = wait_for(reference, seconds=seconds, what=what, actors=[actor])
        yield piece
