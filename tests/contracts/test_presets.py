"""The presets hold what their headers say."""

from __future__ import annotations

import pytest

from contracts.config import RunConfig
from contracts.loading import PRESETS, find_config, load_config, preset_names


def preset(name: str) -> RunConfig:
    return load_config(find_config(name))


def completions(config: RunConfig) -> int:
    recycle = config.recycle
    prompts = config.tasks_per_step + recycle.pointwise + recycle.pairwise + recycle.reflect
    return config.steps * prompts * config.sampling.completions


def test_spark_and_its_counterpart_sample_as_much() -> None:
    ours, paper = preset("spark"), preset("spark-paper")
    assert completions(paper) == pytest.approx(completions(ours), rel=0.01)
    assert (ours.model, ours.tasks, ours.evaluation) == (paper.model, paper.tasks, paper.evaluation)


def test_the_papers_numbers() -> None:
    paper = preset("spark-paper")
    assert paper.schedule == "sequential"
    assert (paper.tasks_per_step, paper.sampling.completions) == (64, 8)
    recycle, learner = paper.recycle, paper.learner
    assert recycle.pointwise + recycle.pairwise == recycle.reflect == 32
    assert recycle.pointwise / 32 == pytest.approx(0.3, abs=0.02)
    judged = recycle.pointwise + recycle.pairwise + recycle.reflect
    for name in ("pointwise", "pairwise", "reflect"):
        share = getattr(recycle, name) / judged
        assert learner.weights[name] == pytest.approx(share, abs=0.01)
    for prompts in (paper.tasks_per_step, judged):
        assert prompts * paper.sampling.completions / learner.updates_per_step == 64
    assert learner.warmup_updates == round(0.03 * paper.total_updates)
    assert (learner.schedule, learner.final_ratio) == ("cosine", 0.1)
    assert (learner.betas, learner.gradient_clip, learner.kl_coefficient) == ((0.9, 0.95), 1, 1e-3)
    assert learner.clip_low == learner.clip_high == 0.2


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_says_what_it_is(name: str) -> None:
    first = (PRESETS / f"{name}.yaml").read_text().splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 30


def test_the_demo_is_spark() -> None:
    demo, spark = preset("demo"), preset("spark")
    assert demo.model_copy(update={"name": spark.name}) == spark
