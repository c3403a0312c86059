import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.config import LearnerConfig
from contracts.types import (
    Completion,
    Grade,
    Group,
    GroupSummary,
    Message,
    Objective,
    Prompt,
    Reason,
    Task,
    VersionSpan,
)
from learner.advantages import group_normalised
from learner.leaning import Leans, leans_of, pulled, side_of
from learner.samples import samples_of

SIZE = 8


def verdicts(
    label: str,
    said: list[str | None],
    objective=Objective.POINTWISE,
    *,
    question: str = "t",
    wording: str = "test",
) -> Group:
    """A graded group of verdicts."""
    task = Task(question, "1+1", "2")
    prompt = Prompt(
        id=f"{label}-{len(said)}-{question}-{wording}",
        messages=(Message("user", "?"),),
        objective=objective,
        label=label,
        verifier="verdict",
        task=task,
        template=wording,
    )
    completions = tuple(
        Completion(
            id=str(number),
            tokens=np.array([1], np.int32),
            logprobs=np.zeros(1, np.float32),
            finish="stop",
            spans=(VersionSpan(0, 1, 0),),
            text="",
        )
        for number in range(len(said))
    )
    grades = tuple(
        Grade(float(word == label), word == label, word, Reason.OK if word else Reason.NO_ANSWER)
        for word in said
    )
    return Group(prompt, np.array([1], np.int32), completions, grades)


def leans(*groups: Group, strength: float = 1.0, centring: bool = False, slack: float = 0.0):
    config = LearnerConfig(verdict_balance=strength, verdict_centring=centring, verdict_slack=slack)
    return leans_of([GroupSummary.of(group) for group in groups], config)


def lean_of(group: Group, *groups: Group, slack: float = 0.0):
    """The one that ``group`` is pulled against."""
    (lean,) = leans(group, *groups, slack=slack)[group.prompt.id]
    return lean


def pulls(found: Leans, *groups: Group) -> list[float]:
    """What a unit of a verdict's side is worth in each group, all its leans together."""
    return [sum(lean.pull for lean in found[group.prompt.id]) for group in groups]


@pytest.mark.parametrize(
    ("extracted", "side"), [("yes", 1), ("No", -1), ("A", 1), ("B", -1), ("4", 0), (None, 0)]
)
def test_sides(extracted, side):
    assert side_of(extracted) == side


def test_verdicts_that_match_their_labels_in_number_are_left_alone():
    groups = verdicts("yes", ["yes"] * 6 + ["no"] * 2), verdicts("no", ["yes"] * 2 + ["no"] * 6)
    own = group_normalised(groups[0].rewards)
    assert np.array_equal(pulled(own, groups[0], leans(*groups)), own)


def test_too_many_yes_are_pulled_back_by_hand():
    groups = verdicts("yes", ["yes"] * 8), verdicts("no", ["yes"] * 6 + ["no", None])
    lean = lean_of(*groups)
    assert lean == lean_of(*groups[::-1])
    # 14 yes and 1 no, where 8 and 7 were asked for.
    assert lean.mean == pytest.approx(13 / 15)
    assert lean.pull == pytest.approx(1 / 15 - 13 / 15)
    found = pulled(np.zeros(SIZE, np.float32), groups[1], leans(*groups))
    yes, no = lean.pull * (1 - 13 / 15), lean.pull * (-1 - 13 / 15)
    np.testing.assert_allclose(found, [yes] * 6 + [no, 0], rtol=1e-6)
    assert yes < 0 < no


def test_chance_is_not_pulled_at():
    """9 yes of 16, where 8 are asked for; 14 of 16, of which the pull counts what is beyond."""
    nearly = verdicts("yes", ["yes"] * 8), verdicts("no", ["yes"] + ["no"] * 7)
    assert lean_of(*nearly, slack=0.1).pull == 0
    far = verdicts("yes", ["yes"] * 8), verdicts("no", ["yes"] * 6 + ["no"] * 2)
    assert lean_of(*far, slack=0.1).pull == pytest.approx(2 * (8 / 16 - 14 / 16 + 0.1))
    assert lean_of(*far[::-1], slack=0.45).pull == 0


def test_centred_verdicts_are_pulled_by_wording():
    """Centred on each question, and pulled only by what leans in the wording as a whole."""
    one = [verdicts(label, ["yes"] * 6 + ["no"] * 2, question="q1") for label in ("yes", "no")]
    two = [verdicts(label, ["yes"] * 2 + ["no"] * 6, question="q2") for label in ("yes", "no")]
    found = leans(*one, *two, centring=True)
    assert [found[group.prompt.id][0].mean for group in (*one, *two)] == [0.5, 0.5, -0.5, -0.5]
    assert [found[group.prompt.id][1].mean for group in (*one, *two)] == [0] * 4
    assert pulls(found, *one, *two) == pytest.approx([0] * 4)


@given(st.lists(st.sampled_from(["yes", "no", None]), min_size=2, max_size=20), st.floats(0.1, 3))
def test_pulls_on_all_verdicts_of_an_update_cancel(said, strength):
    groups = verdicts("yes", said), verdicts("no", [*said[::-1], "no"])
    found = leans(*groups, strength=strength)
    total = sum(
        float(pulled(np.zeros(len(g.grades), np.float32), g, found).sum(dtype=np.float64))
        for g in groups
    )
    assert total == pytest.approx(0.0, abs=1e-4)


def test_kinds_of_verdicts_are_apart_and_strength_0_is_none():
    points = verdicts("yes", ["yes"] * 8), verdicts("no", ["yes"] * 8)
    pairs = (
        verdicts("A", ["A", "B"], Objective.PAIRWISE),
        verdicts("B", ["A", "B"], Objective.PAIRWISE),
    )
    found = leans(*points, *pairs)
    assert [pull < 0 for pull in pulls(found, *points)] == [True, True]
    assert pulls(found, *pairs) == [0, 0]
    assert leans(*points, strength=0.0) == {}


def test_samples_carry_the_pull():
    groups = verdicts("yes", ["yes"] * 8), verdicts("no", ["yes"] * 6 + ["no"] * 2)
    config = LearnerConfig()
    plain = samples_of(groups[1], config)
    with_pull = samples_of(groups[1], config, leans(*groups))
    assert with_pull[0].policy_weights[0] < plain[0].policy_weights[0]
    assert with_pull[7].policy_weights[0] > plain[7].policy_weights[0]


def centred(*groups: Group, strength: float = 1.0) -> list[np.ndarray]:
    """The advantages of ``groups``, centred by side."""
    found = leans(*groups, strength=strength, centring=True)
    return [pulled(group_normalised(group.rewards), group, found) for group in groups]


def test_what_a_side_alone_explains_is_taken_out_by_hand():
    """All yes to the right answer, half of it to the wrong: 12 yes and 4 no, and nothing pulls."""
    groups = verdicts("yes", ["yes"] * 8), verdicts("no", ["yes"] * 4 + ["no"] * 4)
    right, wrong = centred(*groups, strength=1e-9)
    # Advantages 0, and -1 and 1: yes alone explains -1/3 of a yes and 1 of a no.
    np.testing.assert_allclose(right, [1 / 3] * 8, rtol=1e-5)
    np.testing.assert_allclose(wrong, [-2 / 3] * 4 + [0] * 4, rtol=1e-5, atol=1e-6)


@given(st.lists(st.sampled_from(["yes", "no", None]), min_size=1, max_size=12), st.data())
def test_centred_advantages_push_no_side_but_for_the_pull(said, data):
    other = data.draw(st.lists(st.sampled_from(["yes", "no", None]), min_size=1, max_size=12))
    groups = verdicts("yes", [*said, "yes", "no"]), verdicts("no", [*other, "no"], wording="w2")
    sides = np.array([side_of(g.extracted) for group in groups for g in group.grades])
    pushed = np.concatenate(centred(*groups, strength=0.5)).astype(np.float64)
    about = np.where(sides != 0, sides - sides[sides != 0].mean(), 0)
    mean, wanted = sides[sides != 0].mean(), leaning_of_labels(groups)
    # The pull is 0.5 * (wanted - mean) / (1 - mean^2) for each unit of a side.
    expected = 0.5 * (wanted - mean) / (1 - mean**2) * (about @ about)
    assert pushed @ about == pytest.approx(expected, abs=1e-3)


def leaning_of_labels(groups: tuple[Group, ...]) -> float:
    """Mean side of the labels, one for each verdict that was given."""
    asked = [side_of(g.prompt.label) for g in groups for grade in g.grades if grade.extracted]
    return float(np.mean(asked))


def test_the_pull_of_centred_verdicts_grows_towards_the_ends():
    """A lone no among 31 yes is worth more than the square would give it."""
    nearly = verdicts("yes", ["yes"] * 16), verdicts("no", ["yes"] * 15 + ["no"])
    with_centring, without = (leans(*nearly, centring=on)["no-16-t-test"] for on in (True, False))
    assert {lean.mean for lean in with_centring} == {lean.mean for lean in without}
    assert with_centring[-1].pull < 5 * without[0].pull < 0
    same = verdicts("yes", ["yes"] * 8), verdicts("no", ["yes"] * 8)
    assert pulls(leans(*same, centring=True), *same) == [0, 0]


def test_verdicts_are_balanced_on_each_question_that_has_both_labels():
    """Yes to all of one question and no to all of another are as many yes as no."""
    one = [verdicts(label, ["yes"] * 8, question="q1") for label in ("yes", "no")]
    two = [verdicts(label, ["no"] * 8, question="q2") for label in ("yes", "no")]
    found = leans(*one, *two)
    assert pulls(found, *one, *two) == [-1, -1, 1, 1]


def test_verdicts_on_other_questions_are_balanced_on_each_wording():
    """Which is what keeps "A in one wording, B in the other" from being as good as a balance."""
    groups = [
        verdicts(label, [said] * 8, Objective.PAIRWISE, question=label + wording, wording=wording)
        for wording, said in (("w1", "A"), ("w2", "B"))
        for label in ("A", "B")
    ]
    lone = verdicts("A", ["A"] * 8, Objective.PAIRWISE, question="q", wording="w3")
    found = leans(*groups, lone)
    assert pulls(found, *groups) == [-1, -1, 1, 1]
    # Alone with its label it would be told the label, and no balance.
    assert lone.prompt.id not in found


def test_what_is_left_of_several_wordings_is_balanced_together():
    left = verdicts("A", ["A"] * 8, Objective.PAIRWISE, question="q1", wording="w1")
    right = verdicts("B", ["A"] * 8, Objective.PAIRWISE, question="q2", wording="w2")
    assert lean_of(left, right) == lean_of(right, left)
    assert lean_of(left, right).pull == -1


class Adam:
    """The steps of Adam, in units of its rate, for a plain array of weights."""

    def __init__(self, size: int) -> None:
        self.first, self.second, self.updates = np.zeros(size), np.zeros(size), 0

    def step(self, gradient: np.ndarray) -> np.ndarray:
        self.updates += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.95 * self.second + 0.05 * gradient**2
        scale = np.sqrt(self.second / (1 - 0.95**self.updates)) + 1e-8
        return self.first / (1 - 0.9**self.updates) / scale


def walk(
    seed: int,
    *,
    wordings: int = 1,
    strength: float = 1.0,
    apart: bool = False,
    centring: bool = False,
    updates: int = 200,
) -> list[float]:
    """Shares of yes in each wording, after GRPO with Adam on balanced labels, of a judge that sees
    the wording and nothing else.

    ``apart``: whether the pull knows questions and wordings apart, or takes the update as a whole.
    """
    draw = np.random.default_rng(seed)
    logits, adam = np.zeros(wordings), Adam(wordings)
    for _ in range(updates):
        shares = 1 / (1 + np.exp(-logits))
        asked = [(place, label) for place in range(wordings) for label in ("yes", "no") * 2]
        groups = []
        for number, (place, label) in enumerate(asked):
            said = ["yes" if u < shares[place] else "no" for u in draw.random(SIZE)]
            names = {"question": f"{number // 2}", "wording": f"w{place}"} if apart else {}
            groups.append(verdicts(label, said, **names))
        found = leans(*groups, strength=strength, centring=centring)
        gradient = np.zeros(wordings)
        for (place, _), group in zip(asked, groups, strict=True):
            if GroupSummary.of(group).has_signal:
                advantages = pulled(group_normalised(group.rewards), group, found)
                yes = np.array([grade.extracted == "yes" for grade in group.grades])
                gradient[place] += float((advantages * (yes - shares[place])).mean())
        logits += 0.25 * adam.step(gradient)
    return [float(share) for share in 1 / (1 + np.exp(-logits))]


def test_a_blind_judge_walks_off_without_the_pull_and_stays_with_it():
    def outside(strength: float, *, centring: bool = False) -> int:
        walks = [walk(seed, strength=strength, centring=centring) for seed in range(12)]
        return sum(not 0.3 <= share <= 0.7 for ends in walks for share in ends)

    assert outside(0.0) >= 6
    assert outside(1.0) == 0
    assert outside(1.0, centring=True) == 0


def test_a_judge_that_sees_the_wording_alone_stays_in_the_middle_of_each():
    """Pulled as a whole it ends with yes to one wording and no to the other: seen on SmolLM2."""

    def outside(apart: bool) -> int:
        ends = [share for seed in range(8) for share in walk(seed, wordings=2, apart=apart)]
        return sum(not 0.2 <= share <= 0.8 for share in ends)

    assert outside(apart=False) >= 6
    assert outside(apart=True) == 0


def learned(
    seed: int, *, strength: float, centring: bool, updates: int = 60, size: int = 300
) -> tuple[np.ndarray, float]:
    """Shares of yes of each update, and how far right sums tell yes from no at the end, of a linear
    judge with Adam and clipped gradients: SmolLM2 in small.

    All it sees has much in common and little that tells an equal sum from an unequal one, and
    the gradient of other prompts is noise for it.
    """
    draw = np.random.default_rng(seed)
    common, telling = 3 * draw.normal(size=size), 0.25 * draw.normal(size=size)
    weights, adam = np.zeros(size), Adam(size)
    shares = []
    for update in range(1, updates + 1):
        groups, seen = [], []
        for question in "abcd":
            for label, equal in (("yes", 0.8), ("no", 0.3)):
                told = np.where(draw.random(SIZE) < equal, 0.5, -0.5)
                own = 0.6 * draw.normal(size=size) + 0.3 * draw.normal(size=(SIZE, size))
                shown = common + told[:, None] * telling + own
                share = 1 / (1 + np.exp(-shown @ weights))
                yes = draw.random(SIZE) < share
                groups.append(
                    verdicts(label, ["yes" if one else "no" for one in yes], question=question)
                )
                seen.append((shown, share, yes))
        found = leans(*groups, strength=strength, centring=centring)
        gradient = 0.3 * draw.normal(size=size)
        for group, (shown, share, yes) in zip(groups, seen, strict=True):
            advantages = pulled(group_normalised(group.rewards), group, found)
            gradient += (advantages * (yes - share)) @ shown / (8 * SIZE)
        gradient /= max(1.0, float(np.linalg.norm(gradient)))
        weights += 0.0025 * min(1, update / 4) * adam.step(gradient)
        shares.append(float(np.mean([one for *_, one in seen])))
    return np.array(shares), float(weights @ telling)


def test_a_judge_that_learns_is_steadier_and_faster_centred_and_pulled_a_little():
    def over_seeds(strength: float, *, centring: bool) -> tuple[float, float]:
        runs = [learned(seed, strength=strength, centring=centring) for seed in range(6)]
        shares = np.array([shares for shares, _ in runs])
        outside = float(((shares < 0.3) | (shares > 0.7)).mean())
        return outside, float(np.mean([gap for _, gap in runs]))

    none, pull, centred = (
        over_seeds(strength, centring=on) for strength, on in ((0, False), (1, False), (0.15, True))
    )
    assert centred[0] < pull[0] < none[0]
    assert centred[1] > max(pull[1], none[1])
    assert none[0] > 0.3
