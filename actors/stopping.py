"""Ending actors: in good order if they can, by force if not."""

from __future__ import annotations

from collections.abc import Sequence

import ray
from ray.exceptions import RayError

from actors.waiting import NamedActor


def stop_actors(actors: Sequence[NamedActor], *, seconds: float) -> None:
    """Call ``stop`` on each actor, wait at most ``seconds`` for all, then kill them.

    Never raises for an actor that is dead, or that fails to stop: it is killed all the same.
    """
    if not actors or not ray.is_initialized():
        return
    try:
        references = [actor.handle.stop.remote() for actor in actors]
        ray.wait(references, num_returns=len(references), timeout=seconds)
    except RayError:
        pass
    finally:
        for actor in actors:
            ray.kill(actor.handle)
