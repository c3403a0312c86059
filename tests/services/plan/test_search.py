"""Splits that are found, and what is said where there is none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import UserError
from services.plan.answer import answer, grown, layout_of
from services.plan.inputs import PlanFile, load_plan
from services.plan.predict import folded, folds, laid_out, predict, simulated
from services.plan.roofline import Roofline
from services.plan.search import best, propose
from services.plan.simulate import Simulation

CHANGES = [
    "model.parameters=7e9",
    "model.layers=32",
    "run.tasks_per_step=32",
    "run.sampling.max_tokens=1000",
    "run.model.max_context=4000",
    "run.learner.gradient_checkpointing=true",
    "workload.solve.completion.mean=400",
    "steps=3",
]


def plan(*changes: str) -> PlanFile:
    return load_plan(None, [*CHANGES, *changes], {})


def quiet(_: str) -> None:
    pass


@settings(max_examples=8)
@given(gpus=st.integers(4, 24), ways=st.sampled_from([1, 2]))
def test_no_split_that_was_tried_is_better_than_the_proposal(gpus, ways):
    made = plan(f"run.generators.tensor_parallel={ways}", "search.steps=3")
    chosen, tried = propose(made, made.config(), made.model.shape(), gpus)
    layout = chosen.layout
    assert layout.ranks + layout.generators * layout.tensor_parallel <= gpus
    assert chosen.fits
    most = max(one.tokens_per_second for one in tried if one.fits)
    assert chosen.tokens_per_second >= 0.97 * most
    assert {one.layout.gpus for one in tried} == {gpus}


def test_the_search_finds_the_best_of_all_splits():
    made = plan("search.steps=3", "run.max_staleness=1")
    config, model = made.config(), made.model.shape()
    every = [predict(made, config, model, layout_of(config, 16 - r, r)) for r in range(1, 16)]
    most = max(one.tokens_per_second for one in every if one.fits)
    chosen, _ = propose(made, config, model, 16)
    assert chosen.tokens_per_second >= 0.97 * most


def test_staleness_is_proposed_where_it_pays():
    made = plan("search.staleness=2", "search.steps=6", "workload.solve.completion.spread=0")
    chosen, tried = propose(made, made.config(), made.model.shape(), 16)
    assert {one.layout.staleness for one in tried} == {0, 1, 2}
    assert chosen.layout.staleness == 1
    assert {one.layout.shared for one in tried} == {False}


def test_less_stale_and_smaller_goes_before_hardly_faster():
    made = plan()
    config, model = made.config(), made.model.shape()
    one = predict(made, config, model, layout_of(config, 8, 8))

    def like(staleness: int, speed: float):
        layout = one.layout.model_copy(update={"staleness": staleness})
        return one.model_copy(update={"layout": layout, "tokens_per_second": speed})

    near, far = like(0, 98.0), like(1, 100.0)
    assert best([near, far], 0.03) is near
    assert best([near, far], 0.01) is far


def test_shared_gpus_take_turns():
    made = plan("run.placement=shared", "run.generators.device=cuda", "run.learner.device=cuda")
    chosen, tried = propose(made, made.config(), made.model.shape(), 8)
    assert (chosen.layout.generators, chosen.layout.ranks, chosen.layout.shared) == (8, 8, True)
    assert len(tried) == 1
    parts = ("generate", "grade", "update", "broadcast", "recycle", "bookkeeping", "checkpoint")
    assert chosen.step == pytest.approx(sum(chosen.phases.get(part, 0.0) for part in parts))


def test_what_does_not_fit_says_how_much_it_needs():
    made = plan("model.parameters=400e9", "model.layers=120")
    with pytest.raises(UserError, match=r"nothing fits into 72 GB of a GPU: a rank"):
        propose(made, made.config(), made.model.shape(), 4)


def test_one_gpu_cannot_be_split():
    made = plan()
    with pytest.raises(UserError, match="1 GPUs cannot be split"):
        propose(made, made.config(), made.model.shape(), 1)


def test_weak_scaling_keeps_the_tasks_of_a_gpu():
    made = plan()
    config = grown(made.config(), 4.0)
    assert (config.tasks_per_step, config.recycle.pointwise) == (128, 128)
    found = answer(made, [4, 8], quiet, weak=True)
    assert [one.layout.tasks for one in found.chosen] == [32, 64]


def test_layouts_are_predicted_as_given():
    found = answer(plan(), [], quiet, layouts=[(1, 3), (2, 2)])
    assert [(o.layout.generators, o.layout.ranks) for o in found.chosen] == [(1, 3), (2, 2)]
    assert not found.tried
    assert found.assumed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cluster.accelerator=TPU", "'TPU' is not known"),
        ("gpus=none", "must be a whole number"),
        ("run.tasks_per_stop=3", "unknown key"),
        ("assume.training_mfu=2", "must be at most 1"),
        ("nothing", "key=value"),
    ],
)
def test_wrong_values_are_one_message(change, message):
    with pytest.raises(UserError, match=message):
        made = plan(change)
        made.config()
        made.gpu()


def test_a_large_run_is_a_small_one_many_times_over():
    changes = ["run.tasks_per_step=4096", "workload.solve.completion.spread=0.3",
               "run.recycle.enabled=false", "run.max_staleness=1"]  # fmt: skip
    made = plan(*changes)
    config, model = made.config(), made.model.shape()
    large = laid_out(config, layout_of(config, 96, 32))
    assert folds(large, made.workload, made.learner) == 4
    costs = Roofline(model, made.gpu(), made.cluster, made.assume, large, 1000)
    part, _ = folded(large, made.workload, 4)
    assert (part.tasks_per_step, part.generators.count, part.learner.ranks) == (1024, 24, 8)
    small = simulated(large, made.workload, costs, steps=3, seed=0)
    longer = large.model_copy(update={"steps": 7})
    whole = Simulation(longer, made.workload, costs, 0).run()[3:6]
    assert small.seconds == pytest.approx(sum(step.seconds for step in whole) / 3, rel=0.03)
    assert small.steps[0].groups == whole[0].groups == 4096
    assert small.steps[0].phases["broadcast"] == pytest.approx(whole[0].phases["broadcast"])
