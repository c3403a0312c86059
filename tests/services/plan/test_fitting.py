"""Constants are found again in measurements that were made of them, and predict them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_plan import config

from contracts.errors import UserError
from contracts.types import Objective
from services.plan.answer import layout_of
from services.plan.calibrated import (
    Calibration,
    answer_measured,
    between,
    predict_measured,
    read_calibration,
)
from services.plan.decoding import Sampled, Schedule
from services.plan.engines import dealt
from services.plan.fitting import Counting, calibrate
from services.plan.inputs import load_plan
from services.plan.measured import (
    GroupSeen,
    MachineSeen,
    RunSeen,
    SampleSeen,
    Seen,
    SendSeen,
    StepSeen,
    UpdateSeen,
    Usage,
    read_seen,
    write_seen,
)
from services.plan.predict import laid_out
from services.plan.scaling import ScalingPlan, compare, compare_again

SEQUENCE, STEP, TOKEN, PROMPT = 1e-4, 2e-3, 3e-5, 8e-6
FIXED, FORWARDED = 0.05, 4e-5
RUN = config(
    "tasks_per_step=8", "sampling.completions=4", "sampling.max_tokens=60", "recycle.enabled=false",
    "generators.count=4",
)  # fmt: skip


def groups(count: int, random: np.random.Generator) -> tuple[GroupSeen, ...]:
    return tuple(
        GroupSeen(
            objective=Objective.SOLVE,
            prompt=int(random.integers(5, 40)),
            lengths=tuple(int(n) for n in random.integers(5, 50, 4)),
            signal=True,
        )
        for _ in range(count)
    )


def sampling(made: tuple[GroupSeen, ...]) -> float:
    sequences = [Sampled(i, g.prompt, n) for i, g in enumerate(made) for n in g.lengths]
    costs = Counting(step=STEP, token=TOKEN, prompt=PROMPT)
    return SEQUENCE * len(sequences) + Schedule(sequences, 256, costs).seconds


def updating(made: tuple[GroupSeen, ...]) -> float:
    return FIXED + FORWARDED * sum(g.prompt + sum(g.lengths) - len(g.lengths) for g in made)


def usage(wall: float, **used: float) -> Usage:
    return Usage(**({"wall": wall, "generators": 0, "learner": 0, "driver": 0, "others": 0} | used))


def measurements() -> list[Seen]:
    random = np.random.default_rng(0)
    found: list[Seen] = [MachineSeen(machine="a machine", versions={}, cores=2)]
    for number in (0, 1, 2):
        # The first round does not count: it is ten times as slow.
        slow = 10.0 if number == 0 else 1.0
        for count in (1, 3, 8, 20):
            made = groups(count, random)
            seconds = slow * sampling(made)
            found.append(
                SampleSeen(round=number, groups=made, seconds=seconds,
                           usage=usage(seconds, generators=seconds, driver=4e-4 * count))
            )  # fmt: skip
            seconds = slow * updating(made)
            found.append(
                UpdateSeen(round=number, ranks=1, groups=made, seconds=seconds,
                           usage=usage(seconds, learner=seconds))
            )  # fmt: skip
        for receivers in (1, 4):
            found.append(
                SendSeen(
                    round=number, ranks=1, receivers=receivers, seconds=0.02 * slow * receivers
                )
            )
        found += runs(number, slow, random)
    return found


def runs(number: int, slow: float, random: np.random.Generator) -> list[RunSeen]:
    """Of one generator and of two; what the latter takes is made up."""
    made = groups(8, random)
    phases = {"generate": sampling(made), "update": updating(made), "broadcast": 0.02,
              "grade": 0.001, "recycle": 0.0}  # fmt: skip
    found = []
    for generators, seconds in ((1, sum(phases.values()) + 0.004), (2, 0.2)):
        step = StepSeen(
            seconds=slow * seconds, phases=phases, idle={"generators": 0.4, "learner": 0.6},
            tokens=100, groups={Objective.SOLVE: 8},
        )  # fmt: skip
        found.append(
            RunSeen(round=number, ranks=1, generators=generators, staleness=0, steps=(step,) * 4,
                    usage=usage(4 * seconds))
        )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def found() -> list[Seen]:
    return measurements()


@pytest.fixture(scope="module")
def calibration(found: list[Seen]) -> Calibration:
    return calibrate(found, RUN)


def test_constants_are_found_again(calibration: Calibration):
    fit = calibration.generator
    fitted = (fit.sequence, fit.step, fit.token, fit.prompt)
    assert fitted == pytest.approx((SEQUENCE, STEP, TOKEN, PROMPT), rel=1e-6)
    assert fit.error < 1e-6
    update = calibration.updates[1]
    assert (update.fixed, update.token) == pytest.approx((FIXED, FORWARDED))
    assert calibration.broadcasts == {1: pytest.approx(0.02), 4: pytest.approx(0.08)}
    assert calibration.routing == pytest.approx(1e-4)
    assert (calibration.grading, calibration.bookkeeping) == pytest.approx((0.001, 0.004))
    assert calibration.workload.solve.groups == 8
    assert calibration.workload.solve.completion.average == pytest.approx(27, abs=2)
    assert calibration.load == 0


def test_what_generators_cost_each_other_is_found_again(found: list[Seen]):
    made = groups(8, np.random.default_rng(2))
    shares = [[made[index] for index in place] for place in dealt([g.prompt for g in made], 4, RUN)]
    seconds = 1.3 * sum(sampling(tuple(share)) for share in shares)
    wide = MachineSeen(machine="wide", versions={}, cores=16)
    beside = SampleSeen(
        round=1, groups=made, seconds=1, generators=4, usage=usage(1, generators=seconds, driver=9)
    )
    four = calibrate([wide, *found[1:], beside], RUN)
    assert four.crowd == {1: 1.0, 4: pytest.approx(1.3)}
    # What is of one generator alone is not taken of them.
    assert four.routing == pytest.approx(1e-4)

    def predicted(generators: int, crowd: dict[int, float]) -> float:
        laid = laid_out(RUN, layout_of(RUN, generators, 1))
        of = four.model_copy(update={"crowd": crowd})
        return predict_measured(of, laid, steps=10, seed=0).phases["generate"]

    assert predicted(4, four.crowd) == pytest.approx(1.3 * predicted(4, {1: 1.0}), rel=0.02)
    # Half as crowded with two, and with one nothing is different.
    assert predicted(2, four.crowd) == pytest.approx(1.15 * predicted(2, {1: 1.0}), rel=0.02)
    assert predicted(1, four.crowd) == pytest.approx(predicted(1, {1: 1.0}))


def test_what_was_calibrated_on_is_predicted(calibration: Calibration, found: list[Seen]):
    (alone,) = [o for o in found if isinstance(o, RunSeen) and o.round == 1 and o.generators == 1]
    laid = laid_out(RUN, layout_of(RUN, 1, 1))
    predicted = predict_measured(calibration, laid, steps=20, seed=0)
    assert predicted.step == pytest.approx(alone.steps[0].seconds, rel=0.05)
    assert predicted.cost is None


def test_points_that_were_calibrated_on_do_not_count_as_predicted(
    calibration: Calibration, found: list[Seen]
):
    result = compare(found, calibration, steps=10)
    alone, pair = result.points
    assert (alone.calibrated, pair.calibrated) == (True, False)
    assert (alone.generators, pair.generators) == (1, 2)
    assert result.median_error == result.greatest_error == abs(pair.error)
    assert pair.measured == pytest.approx(0.2)
    assert pair.error == pytest.approx(pair.predicted / 0.2 - 1)


def test_measurements_are_read_as_they_were_written(found: list[Seen], tmp_path: Path):
    file = tmp_path / "lines.jsonl"
    for one in found:
        write_seen(file, one)
    assert read_seen(file) == found


def test_a_calibration_is_read_as_it_was_written(calibration: Calibration, tmp_path: Path):
    file = tmp_path / "calibration.json"
    file.write_text(calibration.model_dump_json())
    again = read_calibration(file)
    assert again == calibration
    plan = load_plan(None, ["steps=5"], {})
    answer = answer_measured(plan, again, [(1, 1), (2, 1), (4, 1)])
    two = [one.phases["generate"] for one in answer.chosen]
    more = again.model_copy(update={"cores": 8})
    wide = answer_measured(plan, more, [(1, 1), (2, 1), (4, 1)])
    eight = [one.phases["generate"] for one in wide.chosen]
    # One generator has a core to itself on both; four share two cores, or have enough.
    assert two[0] == pytest.approx(eight[0], rel=0.01)
    assert two[2] > 1.5 * eight[2]
    assert eight[0] > eight[1] > eight[2]
    other = answer_measured(load_plan(None, ["run.tasks_per_step=4"], {}), again, [])
    assert other.chosen[0].layout.tasks == 4
    with pytest.raises(UserError, match="no calibration"):
        read_calibration(tmp_path / "nothing.json")


def test_between_measured_numbers_a_line_over_the_logarithm():
    values = {1: 10.0, 4: 20.0}
    assert [between(values, place) for place in (1, 2, 4, 8)] == pytest.approx([10, 15, 20, 20])


def test_what_others_do_is_not_put_down_to_costs(calibration: Calibration):
    """The wall clock may say anything, and ranks may wait for each other."""
    random = np.random.default_rng(1)
    four = [
        UpdateSeen(round=1, ranks=4, groups=g, seconds=99.0,
                   usage=usage(99.0, learner=updating(g) + 3 * FIXED))
        for g in (groups(8, random), groups(16, random), groups(32, random))
    ]  # fmt: skip
    everything = [one for one in measurements() if not isinstance(one, UpdateSeen)] + four
    fit = calibrate(everything, RUN).updates[4]
    assert (fit.fixed, fit.token) == pytest.approx((FIXED, FORWARDED))


def test_kept_measurements_are_compared_again(found: list[Seen], tmp_path: Path):
    file = tmp_path / "lines.jsonl"
    for one in found:
        write_seen(file, one)
    again = compare_again(ScalingPlan(tasks=8, simulated=10), file)
    assert [one.generators for one in again.points] == [1, 2]
    # It is of the machine that measured, not of the one that reads.
    assert (again.machine, again.calibration.cores) == ("a machine", 2)
    with pytest.raises(UserError, match="no measurements"):
        compare_again(ScalingPlan(), tmp_path / "nothing.jsonl")
