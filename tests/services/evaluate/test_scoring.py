"""From outcomes to figures, and what a reward benchmark's scores earn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scripted_model import PROMPT_TOKENS, REPLY_TOKENS, Scripted

from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.types import (
    Completion,
    Grade,
    Group,
    Objective,
    Prompt,
    Reason,
    Task,
    VersionSpan,
)
from services.commands.evaluate import models_and_values, numbers
from services.evaluate.answerer import Reply
from services.evaluate.data import Dataset
from services.evaluate.models import Model
from services.evaluate.plan import Plan, check, strategies_of
from services.evaluate.preferring import Sample, credit, rank
from services.evaluate.scoring import Scored, compare, results_of
from services.evaluate.strategies import BestOf, JudgeReflect, Majority, Single, Strategy
from services.tasks.preferences import Preference

TASKS = [Task(f"t{n}", f"{n}?", str(n)) for n in range(30)]


def scored(strategies: Sequence[Strategy], good: int) -> list[Scored]:
    """Every other answer of the first ``good`` tasks is right, none of the others."""
    model = Scripted(
        solves=lambda task, n: task.gold if int(task.gold) < good and n % 2 == 0 else "-1",
        judges=lambda task, answer, _n: answer == task.gold,
        reflects=lambda task, _a, _n: task.gold if int(task.gold) < good else "-1",
    )
    return [graded(strategy, model) for strategy in strategies]


def graded(strategy: Strategy, model: Scripted) -> Scored:
    outcomes = strategy.run(TASKS, model)
    gold_of = {r.id: o.task.gold for o in outcomes for r in o.chosen if r is not None}

    def correct(reply: Reply | None) -> bool:
        return reply is not None and reply.answer == gold_of[reply.id]

    return Scored(strategy, [outcomes], correct)


def test_figures_of_a_single_pass_and_of_a_judge() -> None:
    single, best = results_of(scored([Single(4), BestOf(4, 2)], good=15))
    assert single.accuracy.value == 0.25
    assert single.accuracy.n == 30
    assert (single.prompt_tokens, single.generated_tokens) == (PROMPT_TOKENS, REPLY_TOKENS)
    assert best.accuracy.value == 0.5
    assert best.against_single is not None
    assert best.against_single.difference.value == 0.25
    assert best.against_single.difference.significant
    assert single.against_single is None


def test_the_majority_beside_a_strategy_is_at_least_as_dear() -> None:
    strategies: list[Strategy] = [
        Majority(2),
        Majority(8),
        Majority(40),
        BestOf(8, 2),
        JudgeReflect(2),
    ]
    found = {one.label: one for one in results_of(scored(strategies, good=10))}
    best, loop = found["best of 8 (2 verdicts)"], found["judge-reflect, 2 rounds"]
    assert best.against_majority is not None
    assert best.against_majority.label == "majority of 40"
    assert found["majority of 8"].tokens < best.tokens <= found["majority of 40"].tokens
    assert loop.against_majority is not None
    assert found[loop.against_majority.label].tokens >= loop.tokens
    assert found["majority of 8"].against_majority is None
    alone = results_of(scored([Majority(2), BestOf(8, 2)], good=10))[1]
    assert alone.against_majority is None


def test_at_equal_tokens_the_rival_is_the_best_mixture() -> None:
    # Two answers, the first of which is right wherever one is, beat a single pass for little more.
    strategies: list[Strategy] = [Single(2), Majority(2), Majority(40), BestOf(2, 1)]
    runs = scored(strategies, good=15)
    found = results_of(runs)
    best = found[3]
    assert best.against_mixture is not None
    low, high = runs[1], runs[2]
    share = (best.tokens - low.tokens) / (high.tokens - low.tokens)
    rival = (1 - share) * sum(map(sum, low.earned)) / 30 + share * sum(map(sum, high.earned)) / 30
    assert best.accuracy.value is not None
    assert best.against_mixture.difference.value == pytest.approx(best.accuracy.value - rival)
    assert best.against_mixture.label.endswith("majority of 40")
    assert found[1].against_mixture is None
    alone = results_of([runs[0], runs[3]])[1]
    assert alone.against_mixture is None


def test_two_models_are_compared_on_the_tasks_of_both() -> None:
    first, second = scored([Majority(1)], good=10), scored([Majority(1)], good=20)
    (found,) = compare("sums", ("a", "b"), first, second)
    assert found.difference.value == pytest.approx(1 / 3)
    assert (found.difference.n, found.difference.significant) == (30, True)


FOUR = Preference("p", "q", good=("right",), bad=("w1", "w2", "w3"))
TIED = Preference("t", "q", good=("right", "also"), bad=("w1",), subset="Ties")


@pytest.mark.parametrize(
    ("preference", "good", "bad", "worth"),
    [
        (FOUR, [0.9], [0.1, 0.5, 0.8], 1.0),
        (FOUR, [0.5], [0.1, 0.5, 0.4], 0.5),
        (FOUR, [0.5], [0.5, 0.5, 0.5], 0.25),
        (FOUR, [0.5], [0.6, 0.0, 0.0], 0.0),
        (TIED, [0.9, 0.6], [0.5], 1.0),
        (TIED, [0.9, 0.5], [0.5], 0.0),
    ],
)
def test_scores_earn(
    preference: Preference, good: list[float], bad: list[float], worth: float
) -> None:
    left = {True: list(good), False: list(bad)}
    candidates = preference.candidates()
    scores = [left[candidate.correct].pop() for candidate in candidates]
    assert credit(preference, candidates, scores) == worth


def judged_by(yes: str, choice: str) -> Sample:
    """Says yes to whatever shows ``yes``, and chooses ``choice`` of two, whatever they are."""

    def sample(prompts: Sequence[Prompt], times: int) -> list[Group | None]:
        return [answered(prompt, times) for prompt in prompts]

    def answered(prompt: Prompt, times: int) -> Group:
        said = ("Yes" if yes in prompt.shown[0] else "No") if pointwise(prompt) else choice
        completion = Completion(
            prompt.id,
            np.zeros(1, np.int32),
            np.zeros(1, np.float32),
            "stop",
            (VersionSpan(0, 1, 0),),
            said,
        )
        correct = said.lower() == prompt.label.lower()
        grade = Grade(float(correct), correct, said, Reason.OK)
        return Group(prompt, np.zeros(1, np.int32), (completion,) * times, (grade,) * times)

    return sample


def pointwise(prompt: Prompt) -> bool:
    return prompt.objective is Objective.POINTWISE


def test_the_best_of_four_is_the_one_most_liked() -> None:
    other = Preference("o", "q", good=("wrong-looking",), bad=("right", "w2", "w3"), subset="Math")
    found = rank([FOUR, other], judged_by("right", "A"), style="natural", verdicts=2, seed=0)
    assert list(found) == ["pointwise"]
    whole = found["pointwise"][0]
    assert whole.accuracy.value == 0.5
    assert whole.unread == 0


def test_a_judge_that_likes_the_first_place_is_at_chance_and_never_consistent() -> None:
    pairs = [Preference(f"p{n}", "q", ("good",), ("bad",), subset="ab"[n % 2]) for n in range(6)]
    found = rank(pairs, judged_by("good", "A"), style="natural", verdicts=1, seed=0)
    assert [one.part for one in found["pairwise"]] == ["", "a", "b"]
    whole = found["pairwise"][0]
    assert whole.accuracy.value == 0.5
    assert whole.consistency is not None
    assert whole.consistency.value == 0.0
    assert found["pointwise"][0].accuracy.value == 1.0
    assert found["pointwise"][0].consistency is None


def test_what_did_not_fit_likes_nothing() -> None:
    found = rank(
        [FOUR], lambda prompts, _: [None] * len(prompts), style="natural", verdicts=1, seed=0
    )
    assert found["pointwise"][0].accuracy.value == 0.25


def asked(kinds: str, temperature: float | None = None, loop: int = 1) -> list[str]:
    strategies = strategies_of(
        kinds.split(","),
        [2, 4],
        rounds=[3],
        verdicts=5,
        loop_verdicts=loop,
        temperature=temperature,
    )
    return [strategy.label for strategy in strategies]


def test_strategies_by_name() -> None:
    assert asked("single,majority,best-of,judge-reflect") == [
        "single pass",
        "majority of 2",
        "majority of 4",
        "best of 2 (5 verdicts)",
        "best of 4 (5 verdicts)",
        "judge-reflect, 3 rounds",
    ]
    with pytest.raises(UserError, match="no strategy 'best'"):
        asked("best")


def test_greedily_there_is_nothing_to_choose_from() -> None:
    assert asked("single,judge-reflect", 0.0) == ["single pass", "judge-reflect, 3 rounds"]
    for kinds, loop in (("majority", 1), ("best-of", 1), ("judge-reflect", 2)):
        with pytest.raises(UserError, match="nothing to choose"):
            asked(kinds, 0.0, loop)


NATURAL = RunConfig.model_validate({"model": {"name": "x"}, "recycle": {"style": "natural"}})


def plan(
    folder: Path,
    *datasets: Dataset,
    names: tuple[str, ...] = ("m",),
    config: RunConfig = NATURAL,
) -> Plan:
    models = tuple(Model(name, folder, config) for name in names)
    return Plan(models, tuple(datasets for _ in models), (Single(1),), folder)


def test_images_are_refused_before_a_text_model_is_started(tmp_path: Path) -> None:
    seen = Dataset("MathVista", (Task("t", "q", "1", images=("a.png",)),))
    (tmp_path / "config.json").write_text('{"architectures": ["Qwen2ForCausalLM"]}')
    with pytest.raises(UserError, match="MathVista shows images, and m reads text only"):
        check(plan(tmp_path, seen))
    (tmp_path / "config.json").write_text('{"vision_config": {}}')
    check(plan(tmp_path, seen))


def test_the_tiny_model_is_not_asked_what_it_has_no_words_for(tmp_path: Path) -> None:
    sums = Dataset("sums", (Task("t", "12+34", "46"),))
    check(plan(tmp_path, sums, config=RunConfig()))
    words = Dataset("words", (*sums.tasks, Task("u", "How many apples are left?", "2")))
    with pytest.raises(UserError, match="words asks 'How many apples are left"):
        check(plan(tmp_path, words, config=RunConfig()))


def test_names_are_given_once(tmp_path: Path) -> None:
    data = Dataset("sums", tuple(TASKS))
    with pytest.raises(UserError, match="'sums' is given twice"):
        check(plan(tmp_path, data, data))
    with pytest.raises(UserError, match="'m' is given twice"):
        check(plan(tmp_path, data, names=("m", "m")))


def test_arguments() -> None:
    assert models_and_values(["a", "x.y=1", "b"]) == (["a", "b"], ["x.y=1"])
    assert numbers("--samples", "4, 16") == [4, 16]
    for wrong in ("", "0", "four", "4,-1"):
        with pytest.raises(UserError, match="--samples"):
            numbers("--samples", wrong)
    with pytest.raises(UserError, match="no model"):
        models_and_values(["x=1"])


def test_repeated_runs_count_for_their_tasks() -> None:
    one, two = graded(Majority(1), in_turn_by_run(0)), graded(Majority(1), in_turn_by_run(1))
    both = Scored(one.strategy, [*one.runs, *two.runs], lambda r: r is not None and r.text != "-1")
    assert both.earned == [[1.0, 0.0]] * len(TASKS)
    (result,) = results_of([both])
    assert (result.accuracy.value, result.accuracy.n) == (0.5, len(TASKS))
    assert result.generated_tokens == REPLY_TOKENS


def in_turn_by_run(run: int) -> Scripted:
    return Scripted(solves=lambda task, _: "-1" if run else task.gold)
