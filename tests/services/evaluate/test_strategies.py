"""Strategies over a scripted model: which answer they come to, when they stop, what they cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_model import PROMPT_TOKENS, REPLY_TOKENS, VERDICT_TOKENS, Scripted

from contracts.types import Task
from services.evaluate.answerer import Cost
from services.evaluate.draws import Draws
from services.evaluate.strategies import (
    BestOf,
    JudgeReflect,
    Majority,
    Outcome,
    Single,
    Strategy,
)

TASK = Task("t", "What is 1 + 1?", "2")
OTHER = Task("u", "What is 2 + 2?", "4")


def in_turn(*answers: str | None) -> Scripted:
    """Gives these answers to every task, one after another, from the start again at the end."""
    return Scripted(solves=lambda _, n: answers[n % len(answers)])


def answer_of(outcome: Outcome) -> str | None:
    (chosen,) = outcome.chosen
    return None if chosen is None else chosen.answer


def test_single_passes_are_each_charged_for_their_prompt() -> None:
    (outcome,) = Single(3).run([TASK], in_turn("2", None, "5"))
    assert [None if c is None else c.answer for c in outcome.chosen] == ["2", None, "5"]
    assert outcome.cost == Cost(3 * PROMPT_TOKENS, 3 * REPLY_TOKENS, 3)


def test_majority_counts_answers_that_a_grader_takes_for_the_same() -> None:
    (outcome,) = Majority(5).run([TASK], in_turn("3", "1/2", "3", "0.5", "2/4"))
    assert answer_of(outcome) == "1/2"
    assert outcome.cost == Cost(PROMPT_TOKENS, 5 * REPLY_TOKENS, 1)


def test_of_equally_frequent_answers_the_first_wins() -> None:
    (outcome,) = Majority(4).run([TASK], in_turn("7", "8", "8", "7"))
    assert answer_of(outcome) == "7"


def test_what_has_no_answer_has_no_vote() -> None:
    (outcome,) = Majority(4).run([TASK], in_turn(None, None, None, "9"))
    assert answer_of(outcome) == "9"
    (outcome,) = Majority(2).run([TASK], in_turn(None))
    assert answer_of(outcome) is None


def test_best_of_goes_by_the_share_of_yes() -> None:
    model = in_turn("1", "1", "1", "2")
    model.judges = lambda _, answer, n: answer == "2" or n == 0
    (outcome,) = BestOf(4, 3).run([TASK], model)
    assert answer_of(outcome) == "2"
    assert outcome.accepted is True


def test_best_of_judges_each_distinct_answer_once() -> None:
    model = in_turn("1", "1", "1", "2")
    (outcome,) = BestOf(4, 3).run([TASK], model)
    assert model.asked["judge"] == 2 * 3
    assert outcome.cost == Cost(3 * PROMPT_TOKENS, 4 * REPLY_TOKENS + 6 * VERDICT_TOKENS, 3)
    assert outcome.cost.tokens == model.spent


@pytest.mark.parametrize("verdict", [True, False, None])
def test_equally_liked_answers_are_settled_by_majority(verdict: bool | None) -> None:
    model = in_turn("1", "2", "2", "3")
    model.judges = lambda _t, _a, _n: verdict
    (outcome,) = BestOf(4, 2).run([TASK], model)
    assert answer_of(outcome) == "2"
    assert outcome.accepted is (verdict is True)


def test_where_there_is_no_choice_the_judge_is_not_asked() -> None:
    model = in_turn("2", None, "2")
    (outcome,) = BestOf(3, 5).run([TASK], model)
    assert (answer_of(outcome), outcome.accepted) == ("2", None)
    assert model.asked["judge"] == 0
    assert outcome.cost == Cost(PROMPT_TOKENS, 3 * REPLY_TOKENS, 1)


def test_a_weighted_vote_lets_frequency_count() -> None:
    model = in_turn("1", "1", "1", "2")
    model.judges = lambda _, answer, n: answer == "2" or n == 0
    # Three times a half against once a whole.
    (outcome,) = BestOf(4, 2, weighted=True).run([TASK], model)
    assert answer_of(outcome) == "1"


def test_best_of_nothing_is_nothing() -> None:
    model = in_turn(None)
    (outcome,) = BestOf(3, 2).run([TASK], model)
    assert outcome.chosen == (None,)
    assert outcome.accepted is None
    assert model.asked["judge"] == 0


def test_the_loop_ends_with_the_first_answer_that_is_judged_right() -> None:
    model = Scripted(
        solves=lambda *_: "0",
        judges=lambda _, answer, _n: int(answer) >= 2,
        reflects=lambda _, answer, _n: str(int(answer) + 1),
    )
    (outcome,) = JudgeReflect(8).run([TASK], model)
    assert (answer_of(outcome), outcome.accepted, outcome.rounds) == ("2", True, 3)
    assert model.asked == {"solve": 1, "judge": 3, "reflect": 2}
    assert outcome.cost.tokens == model.spent


def test_an_answer_that_is_judged_right_at_once_costs_one_verdict() -> None:
    model = in_turn("2")
    (outcome,) = JudgeReflect(8).run([TASK], model)
    assert (outcome.rounds, model.asked["reflect"]) == (1, 0)


def test_where_nothing_is_accepted_the_majority_counts() -> None:
    model = Scripted(
        solves=lambda *_: "5",
        judges=lambda *_: False,
        reflects=lambda _t, answer, _n: {"5": "6", "6": "12/2"}.get(answer, "7"),
    )
    (outcome,) = JudgeReflect(4).run([TASK], model)
    assert (answer_of(outcome), outcome.accepted, outcome.rounds) == ("12/2", False, 4)


def test_of_rejected_answers_given_once_each_the_latest_counts() -> None:
    model = Scripted(
        solves=lambda *_: "1",
        judges=lambda *_: None,
        reflects=lambda _t, answer, _n: str(int(answer) + 1),
    )
    (outcome,) = JudgeReflect(3).run([TASK], model)
    assert answer_of(outcome) == "3"


def test_a_reply_without_an_answer_is_not_judged_but_given_again() -> None:
    model = in_turn(None, None, "2")
    (outcome,) = JudgeReflect(5).run([TASK], model)
    assert (answer_of(outcome), outcome.rounds) == ("2", 3)
    assert model.asked == {"solve": 3, "judge": 1}


def test_a_greedy_model_does_not_go_round_for_ever() -> None:
    model = Scripted(
        solves=lambda *_: "1",
        judges=lambda *_: False,
        reflects=lambda _t, answer, _n: "2" if answer == "1" else "1",
        deterministic=True,
    )
    (outcome,) = JudgeReflect(50).run([TASK], model)
    assert outcome.rounds == 3
    silent = Scripted(solves=lambda *_: None, deterministic=True)
    (outcome,) = JudgeReflect(50).run([TASK], silent)
    assert (outcome.rounds, answer_of(outcome)) == (1, None)


def test_tasks_go_their_own_ways() -> None:
    model = Scripted(
        solves=lambda task, _: {"t": "2", "u": "5"}[task.id],
        judges=lambda task, answer, _n: answer == task.gold,
        reflects=lambda *_: "4",
    )
    first, second = JudgeReflect(6).run([TASK, OTHER], model)
    assert (answer_of(first), first.rounds) == ("2", 1)
    assert (answer_of(second), second.rounds) == ("4", 2)


answers = st.sampled_from(["1", "2", "2/2", "0.5", None])
verdicts = st.sampled_from([True, False, None])


@st.composite
def models(draw: st.DrawFn) -> Scripted:
    """A model with a script of its own."""
    solved = draw(st.lists(answers, min_size=1, max_size=5))
    judged = draw(st.lists(verdicts, min_size=1, max_size=5))
    reflected = draw(st.lists(answers, min_size=1, max_size=5))
    return Scripted(
        solves=lambda _, n: solved[n % len(solved)],
        judges=lambda _t, answer, n: judged[(n + len(answer)) % len(judged)],
        reflects=lambda _t, answer, n: reflected[(n + len(answer)) % len(reflected)],
    )


some = st.integers(1, 6)
strategies = st.one_of(
    st.builds(Majority, some),
    st.builds(BestOf, some, st.integers(1, 3), st.booleans()),
    st.builds(JudgeReflect, some, st.integers(1, 3)),
)


@given(models(), strategies)
def test_tokens_add_up_and_answers_are_the_models_own(model: Scripted, strategy: Strategy) -> None:
    outcomes = strategy.run([TASK, OTHER], model)
    assert [outcome.task for outcome in outcomes] == [TASK, OTHER]
    assert sum(outcome.cost.tokens for outcome in outcomes) == model.spent
    for outcome in outcomes:
        (chosen,) = outcome.chosen
        assert chosen is None or chosen.answer is not None


@given(models(), some, st.integers(1, 3))
def test_the_loop_keeps_its_cap(model: Scripted, rounds: int, each: int) -> None:
    for outcome in JudgeReflect(rounds, each).run([TASK, OTHER], model):
        assert 1 <= outcome.rounds <= rounds
        assert outcome.cost.calls <= 2 * rounds
        if outcome.rounds < rounds:
            assert outcome.accepted


@given(models(), st.lists(strategies, min_size=1, max_size=4))
def test_a_memory_of_draws_changes_nothing_but_the_number_of_calls(
    model: Scripted, several: list[Strategy]
) -> None:
    fresh = Scripted(model.solves, model.judges, model.reflects)
    draws = Draws(model)
    for strategy in several:
        alone = Scripted(fresh.solves, fresh.judges, fresh.reflects)
        remembered = strategy.run([TASK, OTHER], draws.reader())
        expected = strategy.run([TASK, OTHER], alone)
        assert [(answer_of(o), o.rounds) for o in remembered] == [
            (answer_of(o), o.rounds) for o in expected
        ]
        assert [o.cost.generated for o in remembered] == [o.cost.generated for o in expected]


def test_a_memory_of_draws_samples_nothing_twice() -> None:
    model = in_turn("1", "2", "3")
    draws = Draws(model)
    for samples in (2, 5, 3, 5):
        Majority(samples).run([TASK], draws.reader())
    assert model.asked["solve"] == 5


def test_one_prompt_is_not_asked_twice_at_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        Draws(in_turn("1")).reader().solve([TASK, TASK], 1)
