from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solved import graded, group, policy, task

from contracts.config import RecycleConfig
from contracts.grammar import last_boxed
from contracts.loading import find_config, load_config
from contracts.types import Grade, Group, Objective, Prompt, Reason
from recycler.recycle import recycle

CONFIG = RecycleConfig()


def of(prompts: list[Prompt], objective: Objective) -> list[Prompt]:
    return [prompt for prompt in prompts if prompt.objective is objective]


PRESETS = {name: load_config(find_config(name)) for name in ("spark", "spark-paper")}


@pytest.mark.parametrize("accuracy", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("seed", range(8))
def test_the_mix_and_the_class_balance_hold_whatever_the_accuracy(
    accuracy: float, preset: str, seed: int
) -> None:
    run, config = PRESETS[preset], PRESETS[preset].recycle
    groups = policy(accuracy, seed, run.tasks_per_step, run.sampling.completions)
    prompts = recycle(groups, config, seed)
    counts = Counter(prompt.objective for prompt in prompts)
    wanted = {
        Objective.POINTWISE: config.pointwise,
        Objective.PAIRWISE: config.pairwise,
        Objective.REFLECT: config.reflect,
    }
    for objective, cap in wanted.items():
        share = counts[objective] / len(prompts)
        assert share == pytest.approx(cap / sum(wanted.values()), abs=0.05)
        assert counts[objective] <= cap
    labels = Counter(prompt.label for prompt in of(prompts, Objective.POINTWISE))
    assert labels["yes"] == labels["no"] > 0
    positions = Counter(prompt.label for prompt in of(prompts, Objective.PAIRWISE))
    assert abs(positions["A"] - positions["B"]) <= 1
    shown = Counter(prompt.shown_correct for prompt in of(prompts, Objective.REFLECT))
    assert abs(shown[(False,)] - config.reflect_wrong_share * shown.total()) <= 1


def test_at_half_accuracy_every_cap_is_reached() -> None:
    counts = Counter(prompt.objective for prompt in recycle(policy(0.5), CONFIG, 0))
    assert counts == {Objective.POINTWISE: 32, Objective.PAIRWISE: 16, Objective.REFLECT: 8}


def test_labels_follow_from_the_grades_alone() -> None:
    # The sums are worked out here once more: a label that came from anywhere else would differ.
    prompts = recycle(policy(0.5), CONFIG, 3)
    for prompt in prompts:
        left, right = prompt.task.question.split("+")
        truth = str(int(left) + int(right))
        verdicts = tuple(shown == truth for shown in prompt.shown)
        assert prompt.shown_correct == verdicts
        if prompt.objective is Objective.POINTWISE:
            assert prompt.label == ("yes" if verdicts[0] else "no")
        elif prompt.objective is Objective.PAIRWISE:
            assert verdicts.count(True) == 1
            assert prompt.label == "AB"[verdicts.index(True)]
        else:
            assert prompt.label == truth


def test_a_grade_decides_even_where_the_answer_says_otherwise() -> None:
    liar = Grade(0.0, False, "30", Reason.OK)
    honest = Grade(1.0, True, "31", Reason.OK)
    groups = [graded(task(10, 20), ["\\boxed{30}", "\\boxed{31}"], [liar, honest])]
    judged = {p.shown: p.label for p in of(recycle(groups, CONFIG, 0), Objective.POINTWISE)}
    assert judged == {("30",): "no", ("31",): "yes"}


def test_the_same_seed_gives_the_same_prompts_in_any_order_of_groups() -> None:
    groups = policy(0.4)
    shuffled = [groups[i] for i in np.random.default_rng(1).permutation(len(groups))]
    assert recycle(groups, CONFIG, 7) == recycle(shuffled, CONFIG, 7)
    assert recycle(groups, CONFIG, 7) != recycle(groups, CONFIG, 8)


def test_judge_groups_are_not_recycled_again() -> None:
    solved = policy(0.5, tasks=4)
    prompts = recycle(solved, CONFIG, 0)
    judged = [replace(solved[0], prompt=prompt) for prompt in prompts]
    assert recycle([*solved, *judged], CONFIG, 0) == prompts
    assert recycle(judged, CONFIG, 0) == []


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_an_empty_class_leaves_no_verdict_to_learn(accuracy: float) -> None:
    prompts = recycle(policy(accuracy), CONFIG, 0)
    assert of(prompts, Objective.POINTWISE) == []
    assert of(prompts, Objective.PAIRWISE) == []
    assert len(of(prompts, Objective.REFLECT)) <= 1


def test_nothing_to_recycle_gives_nothing() -> None:
    assert recycle([], CONFIG, 0) == []
    assert recycle(policy(0.5), RecycleConfig(enabled=False), 0) == []


def test_pointwise_pairs_show_a_right_and_a_wrong_answer_to_the_same_question() -> None:
    prompts = of(recycle(policy(0.5), RecycleConfig(style="natural"), 0), Objective.POINTWISE)
    for right, wrong in zip(prompts[::2], prompts[1::2], strict=True):
        assert right.task == wrong.task
        assert right.template == wrong.template
        assert (right.label, wrong.label) == ("yes", "no")


def test_groups_near_half_right_come_first() -> None:
    even = [group(task(n, 1), [str(n + 1)] * 4 + [str(n)] * 4) for n in range(10, 20)]
    uneven = [group(task(n, 1), [str(n + 1)] * 7 + [str(n)]) for n in range(20, 60)]
    one_sided = [group(task(n, 1), [str(n + 1)] * 8) for n in range(60, 90)]
    config = RecycleConfig(pointwise=20, pairwise=0, reflect=0)
    chosen: Counter[str] = Counter()
    for seed in range(40):
        for prompt in recycle(even + uneven + one_sided, config, seed):
            chosen["even" if int(prompt.task.id.split("+")[0]) < 20 else "other"] += 1
            assert int(prompt.task.id.split("+")[0]) < 60
    # 10 of 50 mixed groups are even: a draw blind to difficulty takes 20 % of them, this one
    # prefers them 1.05 to 0.4875.
    assert chosen["even"] / chosen.total() > 0.3


def test_no_task_is_shown_twice_while_others_wait() -> None:
    groups = [group(task(n, 1), [str(n + 1), str(n), str(n + 2)]) for n in range(10, 18)]
    config = RecycleConfig(pointwise=16, pairwise=8, reflect=0)
    prompts = recycle(groups, config, 0)
    assert set(Counter(p.task.id for p in of(prompts, Objective.POINTWISE)).values()) == {2}
    assert set(Counter(p.task.id for p in of(prompts, Objective.PAIRWISE)).values()) == {1}


def test_the_same_answer_to_the_same_task_is_shown_once() -> None:
    groups = [group(task(10, 20), ["30", "30", "31", "31", "31"])]
    prompts = recycle(groups, CONFIG, 0)
    assert Counter(p.shown for p in of(prompts, Objective.POINTWISE)) == {("30",): 1, ("31",): 1}
    assert len(of(prompts, Objective.PAIRWISE)) == 1


def test_one_task_gives_few_prompts_of_an_objective() -> None:
    groups = [group(task(10, 20), ["30", *map(str, range(40, 60))])]
    assert len(of(recycle(groups, CONFIG, 0), Objective.PAIRWISE)) == 4


def test_completions_without_a_graded_answer_are_not_shown() -> None:
    grades = [
        Grade(1.0, True, "30", Reason.OK),
        Grade(0.0, False, "31", Reason.OK),
        Grade(0.0, False, None, Reason.NO_ANSWER),
        Grade(0.0, False, "30", Reason.TRUNCATED),
        Grade(0.0, False, "32", Reason.TIMEOUT),
        Grade(0.0, False, "33", Reason.ERROR),
        Grade(0.0, False, "3" * 65, Reason.OK),
    ]
    groups = [graded(task(10, 20), [f"\\boxed{{{g.extracted}}}" for g in grades], grades)]
    for share in (0.0, 1.0):
        prompts = recycle(groups, RecycleConfig(reasoning_share=share), 0)
        parents = {parent for prompt in prompts for parent in prompt.parents}
        assert parents == {"10+20/solve#0", "10+20/solve#1"}


def test_an_answer_graded_both_ways_is_not_shown() -> None:
    grades = [
        Grade(1.0, True, "30", Reason.OK),
        Grade(0.0, False, "30", Reason.OK),
        Grade(0.0, False, "31", Reason.OK),
        Grade(1.0, True, "30.0", Reason.OK),
    ]
    groups = [graded(task(10, 20), [f"\\boxed{{{g.extracted}}}" for g in grades], grades)]
    for seed in range(5):
        shown = {s for p in recycle(groups, CONFIG, seed) for s in p.shown}
        assert shown == {"31", "30.0"}


def test_the_judged_string_is_the_graded_string() -> None:
    grades: dict[str, str] = {}
    groups = policy(0.5)
    for solved in groups:
        for rollout in solved.rollouts:
            grades[rollout.completion.id] = rollout.grade.extracted or ""
    for share in (0.0, 1.0):
        for prompt in recycle(groups, RecycleConfig(reasoning_share=share), 0):
            text = prompt.messages[-1].text()
            for parent, shown in zip(prompt.parents, prompt.shown, strict=True):
                assert shown in text
                assert (last_boxed(shown) if share else shown) == grades[parent]


def test_reasoning_is_shown_at_its_share_and_tells_nothing_about_the_label() -> None:
    config = RecycleConfig(reasoning_share=0.25)
    prompts = recycle(policy(0.5), config, 0)
    for objective in (Objective.POINTWISE, Objective.PAIRWISE, Objective.REFLECT):
        ours = of(prompts, objective)
        assert sum("It is" in p.shown[0] for p in ours) == len(ours) / 4
    labels = [p.label for p in of(prompts, Objective.POINTWISE) if "It is" in p.shown[0]]
    assert labels.count("yes") == labels.count("no")


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_reflection_shows_wrong_answers_at_their_share(share: float) -> None:
    config = RecycleConfig(reflect=8, reflect_wrong_share=share)
    reflections = of(recycle(policy(0.5), config, 0), Objective.REFLECT)
    assert len(reflections) == 8
    assert sum(not p.shown_correct[0] for p in reflections) == 8 * share


def test_a_style_with_several_wordings_uses_them() -> None:
    prompts = recycle(policy(0.5), RecycleConfig(style="natural"), 0)
    for objective, at_least in ((Objective.POINTWISE, 4), (Objective.PAIRWISE, 4)):
        assert len({p.template for p in of(prompts, objective)}) >= at_least


@st.composite
def batches(draw: st.DrawFn) -> list[Group]:
    answers = st.lists(st.sampled_from(["30", "31", "3 1", "x", "½"]), min_size=2, max_size=8)
    sizes = draw(st.integers(0, 6))
    return [group(task(10 + n, 20 - n), draw(answers)) for n in range(sizes)]


@settings(max_examples=60, deadline=None)
@given(
    groups=batches(),
    pointwise=st.integers(0, 9),
    pairwise=st.integers(0, 9),
    reflect=st.integers(0, 9),
    wrong_share=st.floats(0, 1),
    reasoning=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_every_batch_is_sound(
    groups: list[Group],
    pointwise: int,
    pairwise: int,
    reflect: int,
    wrong_share: float,
    reasoning: float,
    seed: int,
) -> None:
    config = RecycleConfig(
        pointwise=pointwise,
        pairwise=pairwise,
        reflect=reflect,
        reflect_wrong_share=wrong_share,
        reasoning_share=reasoning,
    )
    prompts = recycle(groups, config, seed)
    counts = Counter(prompt.objective for prompt in prompts)
    assert counts[Objective.POINTWISE] <= pointwise
    assert counts[Objective.PAIRWISE] <= pairwise
    assert counts[Objective.REFLECT] <= reflect
    assert len({prompt.id for prompt in prompts}) == len(prompts)
    labels = Counter(prompt.label for prompt in of(prompts, Objective.POINTWISE))
    assert labels["yes"] == labels["no"]
    for prompt in of(prompts, Objective.PAIRWISE):
        assert prompt.shown[0] != prompt.shown[1]


def test_prompts_of_one_task_differ_in_the_answer_only() -> None:
    (solved,) = [group(task(10, 20), ["30", "31"])]
    right, wrong = (p for p in recycle([solved], CONFIG, 0) if p.objective is Objective.POINTWISE)
    assert right.messages[-1].text().replace("30", "31") == wrong.messages[-1].text()
