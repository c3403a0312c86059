import math

import pytest

from services.plan.events import Clock, Process, Processors, Turns


def test_time_jumps_from_event_to_event():
    clock, seen = Clock(), []

    def process(name: str, seconds: float) -> Process:
        yield clock.sleep(seconds)
        seen.append((name, clock.now))
        return name

    ends = [clock.start(process("late", 5.0)), clock.start(process("soon", 2.0))]
    clock.run(clock.all(ends))
    assert seen == [("soon", 2.0), ("late", 5.0)]
    assert [end.value for end in ends] == ["late", "soon"]


def test_waiting_for_nobody_is_over_at_once():
    clock = Clock()
    clock.run(clock.all([]))
    assert clock.now == 0


def test_a_simulation_that_stands_still_says_so():
    clock = Clock()
    with pytest.raises(RuntimeError, match="stands still"):
        clock.run(clock.all([Turns(clock).take(), clock.sleep(1), Clock().sleep(1)]))


def test_an_event_happens_once():
    clock = Clock()
    event = clock.sleep(0)
    clock.run(event)
    with pytest.raises(ValueError, match="once"):
        event.happen()


def ends_of(processors: Processors, jobs: list[tuple[float, float, float]]) -> list[float]:
    """When jobs end that begin at a time, take so many seconds alone, and have a demand."""
    clock = processors.clock
    ends = [math.nan] * len(jobs)

    def process(index: int) -> Process:
        begin, seconds, demand = jobs[index]
        yield clock.sleep(begin)
        yield processors.work(seconds, demand)
        ends[index] = clock.now

    clock.run(clock.all([clock.start(process(index)) for index in range(len(jobs))]))
    return ends


def test_processors_are_shared_evenly():
    # 2 processors, 3 jobs: each goes at 2/3 until the first is done, then both at full speed.
    ends = ends_of(Processors(Clock(), 2), [(0, 2, 1), (0, 4, 1), (0, 4, 1)])
    assert ends == pytest.approx([3.0, 5.0, 5.0])


def test_a_late_job_slows_down_those_that_are_there():
    # Alone until 1, then half speed: 3 seconds of the first are left at 1, 1 second of the second.
    ends = ends_of(Processors(Clock(), 1), [(0, 4, 1), (1, 1, 1)])
    assert ends == pytest.approx([5.0, 3.0])


def test_a_job_may_take_several_processors():
    ends = ends_of(Processors(Clock(), 2), [(0, 3, 2), (0, 3, 1)])
    assert ends == pytest.approx([4.5, 4.5])


def test_with_endless_processors_nobody_waits():
    ends = ends_of(Processors(Clock()), [(0, n, 1) for n in range(1, 50)])
    assert ends == pytest.approx(list(range(1, 50)))


def test_a_stopped_job_says_how_far_it_came_and_takes_nothing_any_more():
    clock = Clock()
    processors = Processors(clock, 1)
    first, second = processors.work(10), processors.work(3)

    def stop() -> Process:
        yield clock.sleep(4)
        assert first.done == pytest.approx(2)
        first.stop()
        yield second

    clock.run(clock.start(stop()))
    # 2 seconds of the second were done at 4, the last one goes at full speed.
    assert clock.now == pytest.approx(5)
    assert not first.happened


def test_turns_are_taken_in_order():
    clock, seen = Clock(), []
    turns = Turns(clock)

    def process(name: str) -> Process:
        yield turns.take()
        yield clock.sleep(1)
        seen.append((name, clock.now))
        turns.give()

    clock.run(clock.all([clock.start(process(name)) for name in "abc"]))
    assert seen == [("a", 1.0), ("b", 2.0), ("c", 3.0)]
