"""Guards: each finds its signature over steps, acts once a window, and survives a resume."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_steps import batch_of
from synthetic_run import metrics as healthy_metrics

from contracts.config import GuardAction, GuardConfig, LearnerConfig, RunConfig
from contracts.types import Objective
from services.controller import Controller
from services.guards import GuardError, Guards
from services.records import JudgeRates, ReflectionRates, StepMetrics
from services.signals import StopRequest
from services.signatures import SIGNATURES
from services.step import Step

WINDOW = 8
WEIGHTS: Any = {"solve": 1.0, "pointwise": 0.8, "pairwise": 0.4, "reflect": 0.2}


def step(number: int, **changes: Any) -> StepMetrics:
    """A step of a run that does well, but for ``changes``."""
    draw = np.random.default_rng(number)
    made = healthy_metrics(draw, number, 100)
    given = {
        "judge": JudgeRates(true_positive_rate=0.8, false_positive_rate=0.3),
        "reflection": ReflectionRates(fix=0.3, keep=0.9, broke=0.1),
        "yes_rate": 0.55,
    }
    return made.model_copy(update=given | changes)


def updated(number: int, **changes: float) -> StepMetrics:
    """A step whose update, or the reports of all its objectives, differ."""
    made = step(number)
    assert made.update is not None
    norm = changes.pop("gradient_norm", 1.0)
    reports = {o: r.model_copy(update=changes) for o, r in made.update.objectives.items()}
    update = made.update.model_copy(update={"gradient_norm": norm, "objectives": reports})
    return made.model_copy(update={"update": update})


def blind(number: int) -> StepMetrics:
    rates = JudgeRates(true_positive_rate=0.97, false_positive_rate=0.95)
    return step(number, judge=rates, yes_rate=0.96)


BROKEN = {
    "reward_collapse": lambda number: step(number, reward={Objective.SOLVE: 0.1}),
    "misalignment": blind,
    "instability": lambda number: updated(number, gradient_norm=50.0),
    "reflection_stuck": lambda number: step(number, reflection=ReflectionRates(fix=0.01)),
}


def guards(action: GuardAction = "warn", **more: Any) -> Guards:
    given: dict[str, Any] = dict.fromkeys(SIGNATURES, action)
    return Guards(GuardConfig(window=WINDOW, **(given | more)), LearnerConfig(weights=WEIGHTS))


def run(watch: Guards, kind: str, good: int = 20, bad: int = WINDOW) -> list[tuple[int, str]]:
    """Steps at which guards acted, and which, over good steps and then broken ones."""
    found = []
    for number in range(1, good + bad + 1):
        made = step(number) if number <= good else BROKEN[kind](number)
        found += [(number, finding.guard) for finding in watch.see(made)]
    return found


def test_nothing_is_found_in_a_run_that_does_well():
    watch = guards("stop")
    assert [f for number in range(1, 101) for f in watch.see(step(number))] == []
    assert {str(o): w for o, w in watch.weights.items()} == WEIGHTS
    assert not watch.lowered


@pytest.mark.parametrize("kind", BROKEN)
def test_each_finds_its_signature_and_no_other(kind):
    found = run(guards(), kind)
    assert [guard for _, guard in found] == [kind]
    assert found[0][0] > 20


def test_a_learner_far_from_the_sampler_is_instability():
    watch = guards()
    found = [f for n in range(1, 21) for f in watch.see(updated(n, kl_sampler=0.001))]
    assert found == []
    found = [f for n in range(21, 25) for f in watch.see(updated(n, kl_sampler=0.5))]
    assert [f.guard for f in found] == ["instability"]
    assert "nats from the sampler" in found[0].why


def test_gradients_that_are_no_numbers_are_instability():
    watch = guards()
    for number in range(1, 21):
        watch.see(updated(number))
    (found,) = watch.see(updated(21, gradient_norm=float("nan")))
    assert found.guard == "instability"


def test_a_judge_at_chance_that_has_not_settled_is_left_alone():
    watch = guards()
    rates = JudgeRates(true_positive_rate=0.5, false_positive_rate=0.5)
    assert [f for n in range(1, 40) for f in watch.see(step(n, judge=rates, yes_rate=0.5))] == []


def test_a_reward_that_was_never_much_cannot_collapse():
    watch = guards()
    rewards = [0.05] * 20 + [0.0] * 20
    found = [
        finding
        for number, reward in enumerate(rewards, 1)
        for finding in watch.see(step(number, reward={Objective.SOLVE: reward}))
    ]
    assert found == []


def test_it_acts_again_only_after_a_whole_window():
    found = run(guards(), "misalignment", bad=3 * WINDOW)
    steps = [number for number, _ in found]
    assert len(steps) >= 2
    assert all(later - earlier == WINDOW for earlier, later in pairwise(steps))


def test_what_is_off_finds_nothing():
    assert run(guards("off"), "misalignment", bad=30) == []


def test_weights_of_the_judge_are_lowered_and_solving_is_not():
    watch = guards("warn", misalignment="lower_judge_weights", judge_weight_factor=0.5)
    run(watch, "misalignment")
    assert watch.lowered
    assert [watch.weights[o] for o in Objective] == [1.0, 0.4, 0.2, 0.1]
    run(guards("warn"), "misalignment")
    assert not guards("warn").lowered


def test_after_a_replay_it_is_where_it_was():
    """A run resumed after step 30 does what the uninterrupted one does."""
    made = [step(n) if n <= 20 else blind(n) for n in range(1, 60)]
    whole = guards("lower_judge_weights")
    acted = [(m.step, f) for m in made for f in whole.see(m)]
    resumed = guards("lower_judge_weights")
    resumed.replay(made[:30])
    assert resumed.lowered
    assert [(m.step, f) for m in made[30:] for f in resumed.see(m)] == [
        (number, finding) for number, finding in acted if number > 30
    ]
    assert resumed.weights == whole.weights


def test_steps_without_judging_or_reflecting_do_not_count():
    watch = guards()
    nothing = {"judge": JudgeRates(), "reflection": ReflectionRates(), "yes_rate": None}
    for number in range(1, 40):
        assert watch.see(step(number, **nothing, update=None)) == []


class Told:
    """A recorder and a learner that only remember."""

    def __init__(self) -> None:
        self.history = ()
        self.said: list[str] = []
        self.given: list[dict[Objective, float]] = []

    def guard(self, finding: Any) -> None:
        self.said.append(finding.guard)

    def weights(self, weights: Any) -> None:
        pass

    def weigh(self, weights: dict[Objective, float]) -> None:
        self.given.append(weights)


def controller(action: GuardAction, told: Told) -> Controller:
    absent: Any = None
    maker: Any = SimpleNamespace(make=None)
    loop = Controller(
        RunConfig(guards=GuardConfig(window=WINDOW, misalignment=action)),
        actors=SimpleNamespace(learner=told),  # type: ignore[arg-type]
        maker=maker,
        checks=absent,
        evaluator=absent,
        recorder=told,  # type: ignore[arg-type]
        stop=StopRequest(),
    )
    loop.save = lambda step: told.said.append(f"saved {step.number}")  # type: ignore[method-assign]
    return loop


def heed(loop: Controller) -> None:
    for number in range(1, 40):
        made = step(number) if number <= 20 else blind(number)
        done = Step(number, batches=[batch_of([], number)])
        loop.heed(loop.guards.see(made), done)


def test_the_loop_gives_the_learner_the_lowered_weights():
    told = Told()
    heed(controller("lower_judge_weights", told))
    assert told.said[0] == "misalignment"
    assert told.given[0][Objective.POINTWISE] == 0.5
    assert told.given[1][Objective.POINTWISE] == 0.25
    assert {weights[Objective.SOLVE] for weights in told.given} == {1.0}


def test_the_loop_saves_and_ends_where_a_guard_says_so():
    told = Told()
    with pytest.raises(GuardError, match=r"guards\.misalignment=stop, after step 27"):
        heed(controller("stop", told))
    assert told.said == ["misalignment", "saved 27"]
    assert told.given == []


def test_the_loop_goes_on_after_a_warning():
    told = Told()
    heed(controller("warn", told))
    assert set(told.said) == {"misalignment"}
    assert told.given == []
