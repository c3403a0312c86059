"""The comparison of learners: what is chosen, what is held to the same work, what is reported."""

from pathlib import Path

import numpy as np
import pytest

from contracts.errors import IntegrityError, UserError
from services.bench import learner as bench
from services.bench.flops import Shape
from services.bench.learner import Measured, Plan, bench_learner, cases_of, ratios_of, usable
from services.bench.processes import Memory
from services.bench.variants.ceiling import turn_flops
from services.bench.variants.ours import samples_of
from services.bench.workload import MIXES, Work, rollouts


def work(variant: str, **changes) -> Work:
    given = {
        "variant": variant,
        "model": "tiny",
        "folder": Path(),
        "dtype": "float32",
        "mix": MIXES["judge"],
        "groups": 3,
        "threads": 1,
        "vocabulary": 50,
        "seed": 0,
    }
    return Work(**{**given, **changes})


def test_rollouts_are_the_same_for_every_variant():
    one, other = rollouts(work("learner")), rollouts(work("trl"))
    np.testing.assert_array_equal(one.completions, other.completions)
    assert one.prompts.shape == (3, 256)
    assert one.completions.shape == (3, 8, 32)
    assert 0 <= one.prompts.min() <= one.prompts.max() < 50
    np.testing.assert_array_equal(one.advantages.mean(axis=1), 0)
    np.testing.assert_array_equal(one.advantages.std(axis=1), 1)
    assert (rollouts(work("learner", seed=1)).prompts != one.prompts).any()


def test_samples_hold_all_completions_of_all_groups():
    data = rollouts(work("learner"))
    samples = samples_of(data)
    assert len(samples) == 24
    assert sum(len(sample.tokens) for sample in samples) == work("learner").completion_tokens
    for index, sample in enumerate(samples):
        group, member = divmod(index, 8)
        np.testing.assert_array_equal(sample.prompt_tokens, data.prompts[group])
        np.testing.assert_array_equal(sample.tokens, data.completions[group, member])
        assert (sample.policy_weights == data.advantages[group, member]).all()


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="'vllm' is not a variant"):
        usable(["vllm"], print)
    with pytest.raises(UserError, match="'chat' is not a mix"):
        bench_learner(Plan(mixes=("chat",)), print)
    with pytest.raises(UserError, match="'gpt' is not a model"):
        bench_learner(Plan(models=("gpt",)), print)


def test_without_trl_its_variants_are_left_out_unless_asked_for(monkeypatch):
    monkeypatch.setattr(bench, "installed", lambda _name: None)
    said = []
    left = usable(None, said.append)
    assert left == ("learner", "learner_plain", "transformers", "ceiling")
    assert "pip install --no-deps trl==" in said[0]
    assert usable(["learner", "ceiling"], said.append) == ("learner", "ceiling")
    assert len(said) == 1
    with pytest.raises(UserError, match="pip install --no-deps trl=="):
        usable(["learner", "trl"], said.append)


def test_variants_must_have_the_same_gradient():
    works = [work("learner"), work("transformers"), work("ceiling")]
    measured = {w.variant: Measured() for w in works}
    measured["learner"].norm, measured["transformers"].norm = 1.0, 1.0005
    bench.check_same_work(works, measured)
    measured["transformers"].norm = 1.002
    with pytest.raises(IntegrityError, match=r"learner 1, transformers 1\.002"):
        bench.check_same_work(works, measured)
    measured["transformers"].norm = float("nan")
    with pytest.raises(IntegrityError):
        bench.check_same_work(works, measured)


def test_speed_share_and_memory_of_two_rounds():
    shape = Shape(2, 4, 6, 2, 1, 2, 10)
    works = [work("learner"), work("transformers"), work("ceiling")]
    measured = {
        "learner": Measured(1.0, [1.0, 2.0], Memory(100 << 20, 150 << 20)),
        "transformers": Measured(1.0, [3.0, 8.0], Memory(0, 0)),
        "ceiling": Measured(float("nan"), [1.0, 2.0], Memory(0, 0)),
    }
    found = {(c.variant, c.unit): c for c in cases_of(works, measured, shape)}
    speed = found["learner", "completion tokens/s"]
    assert (speed.median, speed.min, speed.max, speed.n) == (576.0, 384.0, 768.0, 2)
    assert found["ceiling", "GFLOP/s"].max == turn_flops(works[2]) / 1e9
    # The ceiling fell as the learner did: its share is the same in both rounds.
    share = found["learner", "share of ceiling"]
    assert share.min == pytest.approx(share.max)
    assert found["learner", "MiB peak"].median == 150
    assert found["learner", "MiB peak above loaded"].median == 50
    assert ("transformers", "MiB peak") not in found
    (ratio,) = ratios_of(works[0], measured)
    assert (ratio.of, ratio.to) == ("learner", "transformers")
    assert (ratio.min, ratio.max) == (3.0, 4.0)
