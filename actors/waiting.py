"""Waiting for remote results: always with a deadline, and with names in what goes wrong."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import (
    GetTimeoutError,
    NodeDiedError,
    ObjectLostError,
    RayActorError,
    RayError,
    RayTaskError,
)

from contracts.errors import CoevolveError, DeadlineError

LINE = 300
"""Letters kept of a line of Ray's."""


@dataclass(frozen=True)
class NamedActor:
    """A Ray actor as people know it: its name in messages and the file its output goes to.

    ``number``: among those of its kind.
    """

    handle: ActorHandle
    name: str
    log: Path
    number: int = 0

    @property
    def id(self) -> str:
        """Ray's id of the actor, hexadecimal."""
        return str(self.handle._actor_id.hex())


class ActorError(CoevolveError):
    """An actor died, or failed in a way it has no words of its own for.

    Args:
        actor: the actor's name, or what was waited for where the actor is not known.
        cause: what Ray or the actor said.
        log: the file its output is in; None where it is not known.
    """

    happened = "failed"

    def __init__(self, actor: str, cause: str, log: Path | None = None) -> None:
        self.actor, self.cause, self.log = actor, cause, log
        where = f"\n  its log is {log}" if log is not None else ""
        super().__init__(f"{actor} {self.happened}: {cause}{where}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.actor, self.cause, self.log)


class LostError(ActorError):
    """Data that an actor had made is gone, most often with the machine that it lay on.

    Nobody is to blame who is still there; what was lost can be made again.
    """

    happened = "did not come, for data was lost"


def silent(actors: Sequence[NamedActor], seconds: float) -> list[tuple[NamedActor, ActorError]]:
    """Those of ``actors`` that are dead, or give no sign of life within ``seconds``.

    All are asked at once, by their method ``ping``.
    """
    if not actors:
        return []
    asked = {actor.handle.ping.remote(): actor for actor in actors}
    ray.wait(list(asked), num_returns=len(asked), timeout=seconds)
    found = []
    for reference, actor in asked.items():
        try:
            wait_for(reference, seconds=0.0, what=f"a sign of life of {actor.name}", actors=[actor])
        except DeadlineError:
            cause = f"no sign of life for {seconds:g} s"
            found.append((actor, ActorError(actor.name, cause, actor.log)))
        except ActorError as error:
            found.append((actor, error))
    return found


def wait_for(
    refs: ObjectRef[Any] | Sequence[ObjectRef[Any]],
    *,
    seconds: float,
    what: str,
    actors: Sequence[NamedActor] = (),
    health: float | None = None,
) -> Any:
    """Results of ``refs``, within ``seconds``. The first failure ends the wait for all.

    Args:
        refs: one reference, or several.
        seconds: the deadline.
        what: what is waited for, as a noun phrase: it follows "waiting for" in messages.
        actors: actors that may be at fault. Where there is one per reference, in the same
            order, a passed deadline names those that did not answer.
        health: where given, ``actors`` are asked for a sign of life whenever nothing came for
            so many seconds, so that a frozen one is known long before the deadline.

    Raises:
        DeadlineError: not all results came in time.
        ActorError: an actor died, or raised an error that is not one of ours.
        CoevolveError: raised by the actor itself (``UserError``, ``IntegrityError``, ...).
    """
    many = [refs] if isinstance(refs, ObjectRef) else list(refs)
    end = time.monotonic() + seconds
    results: dict[ObjectRef[Any], Any] = {}
    pending = list(dict.fromkeys(many))
    while pending:
        left = max(0.0, end - time.monotonic())
        span = left if health is None else min(health, left)
        done, pending = ray.wait(pending, num_returns=1, timeout=span)
        if not done and span < left:
            for _actor, error in silent(actors, health or left):
                raise error
            continue
        if not done:
            raise DeadlineError(what + _silent(many, pending, actors), seconds)
        if pending:
            more, pending = ray.wait(pending, num_returns=len(pending), timeout=0)
            done += more
        for ref in done:
            known = [actors[many.index(ref)]] if len(actors) == len(many) else actors
            results[ref] = _get(ref, max(1.0, end - time.monotonic()), what, known)
    return results[refs] if isinstance(refs, ObjectRef) else [results[ref] for ref in many]


def _silent(
    many: list[ObjectRef[Any]], pending: list[ObjectRef[Any]], actors: Sequence[NamedActor]
) -> str:
    """Who did not answer, as the end of a message."""
    if len(actors) != len(many):
        return ""
    names = [actor.name for ref, actor in zip(many, actors, strict=True) if ref in pending]
    logs = sorted({str(a.log) for r, a in zip(many, actors, strict=True) if r in pending})
    return f" (no answer from {', '.join(names)}; see {', '.join(logs)})"


def _get(ref: ObjectRef[Any], seconds: float, what: str, actors: Sequence[NamedActor]) -> Any:
    try:
        return ray.get(ref, timeout=seconds)
    except GetTimeoutError as error:
        raise DeadlineError(what, seconds) from error
    except RayError as error:
        raise translate(error, what, actors) from error


def translate(error: RayError, what: str, actors: Sequence[NamedActor] = ()) -> CoevolveError:
    """Ray's error as one of ours: the actor's own words where it had some, else an ActorError."""
    if isinstance(error, RayTaskError):
        return _of_task(error, what, actors)
    if isinstance(error, RayActorError):
        name, log = _culprit(error.actor_id, what, actors)
        return ActorError(name, _gist(str(error)), log)
    if isinstance(error, (ObjectLostError, NodeDiedError)):
        return LostError(what, _gist(str(error)))
    return ActorError(what, _gist(str(error)))


def _of_task(error: RayTaskError, what: str, actors: Sequence[NamedActor]) -> CoevolveError:
    """What came out of a call, or of what the call was given."""
    cause = error.cause
    if isinstance(cause, CoevolveError):
        return cause
    if isinstance(cause, RayActorError):
        # Of whoever was to make what this call was given, not of the actor that runs it.
        return LostError(what, _gist(str(cause)))
    if isinstance(cause, RayError):
        return translate(cause, what, actors)
    name, log = _culprit(getattr(error, "actor_id", None), what, actors)
    return ActorError(name, f"{type(cause).__name__}: {cause}", log)


def _culprit(
    actor_id: str | None, what: str, actors: Sequence[NamedActor]
) -> tuple[str, Path | None]:
    for actor in actors:
        if actor.id == actor_id or len(actors) == 1:
            return actor.name, actor.log
    return what, None


def _gist(text: str) -> str:
    """Ray's long explanations, cut to their first and last line, colours left out."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [line.strip() for line in plain.splitlines() if line.strip(" ^\t")]
    if len(lines) < 2:
        return plain.strip()
    return f"{lines[0][:LINE]} ... {lines[-1][:LINE]}"
