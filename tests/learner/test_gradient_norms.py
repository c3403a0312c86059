"""The gradient of each objective apart: right, and without a trace in the training."""

import math

import numpy as np
import pytest
import torch
from learner_ranks import run_ranks
from plain_learner import plain_loss
from small_learner import BASE, batch, learner_of, scored, silenced
from transformers import AutoModelForCausalLM

from contracts.types import Objective


def plain_norms(folder, samples):
    """Norm of the gradient of each objective's part of the loss, of a float64 model."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    found = {}
    for objective in {sample.objective for sample in samples}:
        model.zero_grad()
        part = [sample for sample in samples if sample.objective is objective]
        plain_loss(model, part, BASE).backward()
        found[objective] = math.sqrt(sum(p.grad.square().sum() for p in model.parameters()))
    return found


def test_norms_are_those_of_the_plain_gradients(random_model_folder):
    with learner_of(random_model_folder) as learner:
        samples = scored(learner, batch(3))
        expected = plain_norms(random_model_folder, samples)
        assert len(expected) > 1
        found = learner.update([samples], norms=True).gradient_norms
    assert set(found) == set(expected)
    for objective, norm in expected.items():
        assert found[objective] == pytest.approx(norm, rel=1e-4)


def test_of_one_objective_alone_it_is_the_whole_gradient(random_model_folder):
    with learner_of(random_model_folder) as learner:
        samples = [s for s in scored(learner, batch(3)) if s.objective is Objective.SOLVE]
        report = learner.update([samples], norms=True)
    assert list(report.gradient_norms) == [Objective.SOLVE]
    assert report.gradient_norms[Objective.SOLVE] == pytest.approx(report.gradient_norm, rel=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"recompute_old": True},
        {"kl_coefficient": 0.1},
        {"gradient_checkpointing": True},
        {"dtype": "bfloat16"},
    ],
    ids=lambda changes: next(iter(changes), "plain"),
)
def test_measuring_leaves_no_trace_in_the_training(random_model_folder, changes):
    """The same reports and, bit for bit, the same weights."""
    outcomes = []
    for norms in (False, True):
        with learner_of(random_model_folder, **changes) as learner:
            reports = [
                learner.update([batch(seed), batch(seed + 1)], norms=norms) for seed in (0, 2, 4)
            ]
            outcomes.append(
                (
                    [(r.updates, r.gradient_norm, r.objectives) for r in reports],
                    learner.checksums(),
                )
            )
            assert [bool(report.gradient_norms) for report in reports] == [norms] * 3
    assert outcomes[0] == outcomes[1]


def test_what_has_no_signal_has_no_norm(random_model_folder):
    with learner_of(random_model_folder) as learner:
        assert learner.update([silenced(batch(0))], norms=True).gradient_norms == {}
        assert learner.update([], norms=True).gradient_norms == {}


def norms_of_share(rank, ranks, port, folder):
    """Norms and what is trained, where all samples of an objective may be on one rank."""
    from learner.engine import Learner

    learner = Learner(
        folder, BASE, dtype="float32", total_updates=4, seed=0,
        rank=rank, world_size=ranks, port=port,
    )  # fmt: skip
    samples = batch(3)
    names = sorted({sample.group for sample in samples})
    mine = [s for s in samples if names.index(s.group) * ranks // len(names) == rank]
    report = learner.update([mine], norms=True)
    found = report.gradient_norms, report.gradient_norm, learner.checksums()
    learner.close()
    return found


@pytest.mark.e2e
def test_norms_are_the_same_on_any_number_of_ranks(random_model_folder, tmp_path):
    (one,) = run_ranks(norms_of_share, 1, tmp_path, random_model_folder)
    first, second = run_ranks(norms_of_share, 2, tmp_path, random_model_folder)
    assert first == second
    assert set(one[0]) == set(first[0])
    for objective, norm in one[0].items():
        assert first[0][objective] == pytest.approx(norm, rel=1e-4)
        assert np.isfinite(norm)
