import itertools
import math

import pytest

from contracts.config import LearnerConfig
from learner.schedule import Schedule


def schedule(shape, **changes):
    config = LearnerConfig(
        schedule=shape, learning_rate=2e-3, warmup_updates=4, final_ratio=0.1, **changes
    )
    return Schedule.of(config, total_updates=20)


@pytest.mark.parametrize("shape", ["constant", "linear", "cosine"])
def test_warm_up_climbs_in_equal_steps_and_wastes_no_update(shape):
    rates = [schedule(shape).at(k) for k in range(4)]
    assert rates == pytest.approx([0.5e-3, 1e-3, 1.5e-3, 2e-3])


def test_constant_stays():
    assert {schedule("constant").at(k) for k in range(4, 30)} == {2e-3}


def test_linear_falls_evenly_to_the_final_ratio():
    rates = [schedule("linear").at(k) for k in range(4, 20)]
    assert rates[0] == 2e-3
    assert rates[-1] == pytest.approx(2e-4)
    steps = [a - b for a, b in itertools.pairwise(rates)]
    assert steps == pytest.approx([1.8e-3 / 15] * 15)


def test_cosine_follows_its_formula_and_ends_at_the_final_ratio():
    for k in range(4, 20):
        x = (k - 4) / 15
        expected = 2e-3 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * x)))
        assert schedule("cosine").at(k) == pytest.approx(expected)
    assert schedule("cosine").at(19) == pytest.approx(2e-4)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_it_never_climbs_again_after_the_end(shape):
    assert schedule(shape).at(500) == pytest.approx(2e-4)


def test_a_run_shorter_than_its_warm_up_is_no_error():
    short = Schedule("linear", peak=1.0, warmup=10, final=0.1, total=3)
    assert [short.at(k) for k in range(3)] == pytest.approx([0.1, 0.2, 0.3])
