"""The simulated loop: by hand where it can be reckoned, by laws where it cannot."""

from __future__ import annotations

from concurrent.futures import Future

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_plan import Round, config, equal

from services.ahead import Ahead
from services.batches import Batch
from services.plan.simulate import Simulation, StepTimes
from services.plan.workload import Lengths, ObjectiveWork, Workload

SMALL = ("tasks_per_step=4", "sampling.completions=2", "sampling.max_tokens=200")


def steps_of(costs: Round, *changes: str, length: int = 20, **work: float) -> list[StepTimes]:
    workload = equal(length, **work)  # type: ignore[arg-type]
    return Simulation(config(*SMALL, *changes), workload, costs).run()


def test_a_synchronous_step_is_sampling_training_and_sending():
    # 20 engine steps; 4 groups of a prompt of 10 and twice 19 tokens; 3 s of broadcast.
    steps = steps_of(Round(sync=3.0))
    assert [step.seconds for step in steps] == pytest.approx([20 + 4 * 48 * 0.01 + 3.0] * 6)
    assert [step.phases for step in steps] == [
        pytest.approx({"generate": 20, "update": 1.92, "broadcast": 3, "grade": 0})
    ] * 6
    idle = steps[0].idle
    assert idle["learner"] == pytest.approx(20 / 24.92)
    assert idle["generators"] == pytest.approx(1 - 20 / 24.92)


def test_ahead_the_slower_side_sets_the_pace():
    # Sampling takes 20 s, training 19.2 s: each goes on while the other does.
    steps = steps_of(Round(token=0.1), "max_staleness=1")
    assert [step.seconds for step in steps[2:]] == pytest.approx([20.0] * 4)
    assert steps[3].idle["learner"] == pytest.approx(0.8 / 20)
    # Training takes 38.4 s.
    steps = steps_of(Round(token=0.2), "max_staleness=1")
    assert [step.seconds for step in steps[2:]] == pytest.approx([38.4] * 4)
    assert steps[3].idle["learner"] == 0


def test_processors_that_are_shared_slow_both_sides_down():
    # One processor: what was side by side comes to one after the other.
    costs = Round(token=0.1, processors=1)
    steps = steps_of(costs, "max_staleness=1")
    assert [step.seconds for step in steps[1:-1]] == pytest.approx([39.2] * 4)


def test_groups_are_dealt_evenly_over_generators_and_ranks():
    # A sequence more or less costs nothing here; with a place for one, 8 sequences take turns.
    alone = steps_of(Round(slots=1))
    pair = steps_of(Round(slots=1), "generators.count=2", "learner.ranks=2")
    assert alone[0].seconds == pytest.approx(8 * 20 + 1.92)
    assert pair[0].seconds == pytest.approx(4 * 20 + 0.96)


def test_weights_in_the_middle_of_a_batch_stop_it_or_wait():
    # Ahead, sampling takes 20 s and training 5.76 s; a broadcast takes 2 s.
    costs = Round(token=0.03, sync=2.0)
    at_once = steps_of(costs, "max_staleness=1")
    waiting = steps_of(costs, "max_staleness=1", "transfer.when=between_batches")
    # Either the batch takes 2 s longer, or the next one begins 2 s later.
    for steps in (at_once, waiting):
        assert [step.seconds for step in steps[2:-1]] == pytest.approx([22.0] * 3)
    assert at_once[3].phases["generate"] == pytest.approx(22.0)
    assert waiting[3].phases["generate"] == pytest.approx(20.0)
    assert waiting[3].phases["broadcast"] == pytest.approx(20 - 5.76 + 2, abs=1e-6)


def test_the_papers_order_has_two_barriers_and_merged_one():
    changes = ("recycle.enabled=true", "recycle.pointwise=4", "recycle.pairwise=0",
               "recycle.reflect=0")  # fmt: skip
    merged = steps_of(Round(), *changes)
    halves = steps_of(Round(), *changes, "schedule=sequential")
    # The first merged step has nothing to judge; then 8 groups are sampled in the time of 4.
    assert [step.groups for step in merged] == [4, 8, 8, 8, 8, 8]
    assert [step.groups for step in halves] == [8] * 6
    assert merged[1].seconds == pytest.approx(20 + 2 * 1.92)
    assert halves[1].seconds == pytest.approx(2 * (20 + 1.92))


def test_groups_without_signal_are_replaced_and_not_trained():
    steps = steps_of(Round(), "sampling.refill=2", signal=0.0)
    # All four are silent; four more tasks are allowed, and as silent.
    assert [(step.groups, step.trained) for step in steps] == [(8, 0)] * 6
    assert steps[0].seconds == pytest.approx(40)


def test_a_checkpoint_holds_the_learner_up():
    steps = steps_of(Round(saving=7.0), "checkpoints.every=3")
    assert ["checkpoint" in step.phases for step in steps] == [False] * 3 + [True] + [False] * 2
    plain = steps_of(Round())
    assert [step.seconds for step in steps] == pytest.approx([step.seconds for step in plain])


def test_batches_begin_when_those_of_a_run_would():
    """The same versions at which the real ``Ahead`` begins each batch."""
    for staleness in (0, 1, 3):
        begun: dict[int, int] = {}
        version = 0

        def make(number: int) -> Batch:
            begun[number] = version  # noqa: B023 (called at once)
            return None  # type: ignore[return-value]

        ahead = Ahead(make, staleness=staleness, last=6)

        class AtOnce:
            def submit(self, work, number) -> Future[Batch]:
                future: Future[Batch] = Future()
                future.set_result(work(number))
                return future

        ahead._thread = AtOnce()  # type: ignore[assignment]
        for number in range(1, 7):
            ahead.fill(version)
            ahead.take()
            version = number
        simulation = Begun(config(*SMALL, f"max_staleness={staleness}"), equal(20), Round(), seed=0)
        simulation.run()
        assert simulation.begun == begun


class Begun(Simulation):
    """Notes the version at which each batch was begun."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.begun: dict[int, int] = {}

    def _make(self, number):
        self.begun[number] = self.version
        return super()._make(number)


RUNS = st.fixed_dictionaries(
    {
        "max_staleness": st.integers(0, 3),
        "schedule": st.sampled_from(["merged", "sequential"]),
        "transfer.when": st.sampled_from(["at_once", "between_batches"]),
        "generators.count": st.integers(1, 4),
        "generators.max_sequences": st.integers(1, 20),
        "learner.ranks": st.integers(1, 3),
        "learner.updates_per_step": st.integers(1, 3),
        "sampling.refill": st.sampled_from([1.0, 1.5, 2.0]),
        "recycle.enabled": st.sampled_from(["true", "false"]),
        "tasks_per_step": st.integers(3, 6),
    }
)
COSTS = st.builds(
    Round,
    step=st.floats(0.01, 2),
    token=st.floats(0, 0.05),
    sync=st.floats(0, 3),
    prompt=st.floats(0, 0.01),
    processors=st.sampled_from([1.0, 2.0, float("inf")]),
)


@settings(max_examples=60)
@given(run=RUNS, costs=COSTS, seed=st.integers(0, 5))
def test_laws_of_every_simulation(run, costs, seed):
    changes = [f"{key}={value}" for key, value in run.items()]
    changes += ["recycle.pointwise=4", "recycle.pairwise=2", "recycle.reflect=1"]
    settings_ = config(*SMALL[1:], *changes)
    work = ObjectiveWork(prompt=8, completion=Lengths(mean=12, spread=1.0), signal=0.6)
    workload = Workload(solve=work, pointwise=work, pairwise=work, reflect=work)
    simulation = Simulation(settings_, workload, costs, seed)
    steps = simulation.run()
    assert len(steps) == settings_.steps
    counts = simulation.counts
    # Every group asked was trained on, silent, or too old and asked anew.
    assert counts.asked == counts.trained + counts.silent + counts.stale
    assert counts.trained == sum(step.trained for step in steps)
    for step in steps:
        assert all(0 <= age <= settings_.max_staleness for age in step.ages)
        assert all(0 <= share <= 1 for share in step.idle.values())
        assert 0 <= step.sampling <= 1
    # The same seed gives the same simulation.
    assert Simulation(settings_, workload, costs, seed).run() == steps


@settings(max_examples=40)
@given(
    run=RUNS,
    seed=st.integers(0, 5),
    more=st.sampled_from(["generators.count", "learner.ranks"]),
    step=st.floats(0.01, 2),
    token=st.floats(0, 0.05),
)
def test_twice_as_many_are_never_slower_where_communication_is_free(run, seed, more, step, token):
    run = run | {"schedule": "merged", "sampling.refill": 1.0, "recycle.enabled": "false"}
    work = ObjectiveWork(prompt=8, completion=Lengths(mean=12, spread=0.0), signal=1.0)

    def seconds(run: dict[str, object]) -> float:
        changes = [f"{key}={value}" for key, value in run.items()]
        costs = Round(step=step, token=token)
        steps = Simulation(config(*SMALL[1:], *changes), Workload(solve=work), costs, seed).run()
        return sum(one.seconds for one in steps)

    assert seconds(run | {more: 2 * run[more]}) <= seconds(run) * (1 + 1e-9)
