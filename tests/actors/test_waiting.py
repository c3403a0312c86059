"""Waits end, and what they say has names in it."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.exceptions import ActorDiedError, ObjectLostError, RayTaskError

from actors.stopping import stop_actors
from actors.waiting import ActorError, LostError, NamedActor, translate, wait_for
from contracts.errors import DeadlineError, UserError


class Moody:
    """Answers, sleeps, complains, fails or dies, as asked."""

    def pid(self) -> int:
        return os.getpid()

    def sleep(self, seconds: float) -> str:
        time.sleep(seconds)
        return "awake"

    def complain(self) -> None:
        raise UserError("too long", where="prompt 7", remedy="cut it")

    def fail(self) -> None:
        raise ValueError("a bug")

    def die(self) -> None:
        os._exit(3)

    def stop(self) -> None:
        time.sleep(60)


@pytest.fixture
def moody(session: Path) -> Iterator[NamedActor]:
    kind = ray.remote(Moody).options(num_cpus=0)
    actor = NamedActor(kind.remote(), "moody 0", Path("/logs/moody-0.log"))
    wait_for(actor.handle.pid.remote(), seconds=60, what="moody to start", actors=[actor])
    yield actor
    ray.kill(actor.handle)


def test_results_keep_their_order(moody: NamedActor) -> None:
    references = [ray.put(number) for number in range(5)]
    assert wait_for(references, seconds=10, what="numbers") == [0, 1, 2, 3, 4]
    assert wait_for(references[3], seconds=10, what="a number") == 3
    assert wait_for([], seconds=10, what="nothing") == []
    twice = [references[1], references[1]]
    assert wait_for(twice, seconds=10, what="the same number twice") == [1, 1]


def test_a_deadline_names_what_and_who(moody: NamedActor) -> None:
    quick = ray.put("quick")
    slow = moody.handle.sleep.remote(60)
    other = NamedActor(moody.handle, "moody 1", Path("/logs/moody-1.log"))
    with pytest.raises(DeadlineError) as caught:
        wait_for([quick, slow], seconds=0.5, what="two answers", actors=[other, moody])
    message = str(caught.value)
    assert message.startswith("gave up after 0.5 s waiting for two answers")
    assert "moody 0" in message
    assert "/logs/moody-0.log" in message
    assert "moody 1" not in message


def test_an_actors_own_words_come_through(moody: NamedActor) -> None:
    with pytest.raises(UserError) as caught:
        wait_for(moody.handle.complain.remote(), seconds=30, what="x", actors=[moody])
    assert str(caught.value) == "prompt 7: too long\n  cut it"


def test_a_bug_is_named_with_actor_and_log(moody: NamedActor) -> None:
    with pytest.raises(ActorError) as caught:
        wait_for(moody.handle.fail.remote(), seconds=30, what="x", actors=[moody])
    message = str(caught.value)
    assert message == "moody 0 failed: ValueError: a bug\n  its log is /logs/moody-0.log"


def test_the_first_failure_ends_the_wait(moody: NamedActor) -> None:
    kind = ray.remote(Moody).options(num_cpus=0)
    other = NamedActor(kind.remote(), "moody 1", Path("/logs/moody-1.log"))
    sleeping = other.handle.sleep.remote(600)
    dying = moody.handle.die.remote()
    with pytest.raises(ActorError, match=r"moody 0 failed: .*died"):
        wait_for([sleeping, dying], seconds=500, what="both", actors=[other, moody])
    ray.kill(other.handle)


def test_what_was_lost_is_told_from_who_failed() -> None:
    lost = ObjectLostError("ab" * 28, "10.0.0.1:1", "")
    died = ActorDiedError()
    own = translate(RayTaskError("f", "trace", ActorError("generator 1", "it died")), "x")
    assert isinstance(translate(lost, "an answer"), LostError)
    assert isinstance(translate(RayTaskError("grade", "trace", lost), "an answer"), LostError)
    # What a task was given cannot come any more; the actor that runs the task is not to blame.
    assert isinstance(translate(RayTaskError("grade", "trace", died), "an answer"), LostError)
    assert type(translate(died, "an answer")) is ActorError
    assert type(own) is ActorError
    assert "data was lost" in str(pickle.loads(pickle.dumps(translate(lost, "an answer"))))


def test_errors_survive_pickling() -> None:
    error = ActorError("generator 1", "it died", Path("/logs/generator-1.log"))
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)


def test_an_actor_that_will_not_stop_is_killed(moody: NamedActor) -> None:
    pid = wait_for(moody.handle.pid.remote(), seconds=30, what="its pid", actors=[moody])
    stop_actors([moody], seconds=0.5)
    end = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
    stop_actors([moody], seconds=0.5)
