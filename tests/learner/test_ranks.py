"""Truth 12: on two and on four real ZeRO-3 ranks the update equals that on one."""

import numpy as np
import pytest
import torch
from learner_ranks import gradients, resume, run_ranks, train_both_ways
from plain_learner import make_samples, plain_loss
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from contracts.config import LearnerConfig
from learner.digests import digest

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def runs(random_model_folder, tmp_path_factory):
    outcomes = {}
    for ranks in (1, 2, 4):
        out = tmp_path_factory.mktemp(f"ranks-{ranks}")
        outcomes[ranks] = (run_ranks(train_both_ways, ranks, out, random_model_folder, out), out)
    return outcomes


@pytest.fixture(params=[(n, kind) for n in (2, 4) for kind in ("gathered", "partitioned")])
def case(request, runs):
    """(what one rank did, what each of several did, the export of the several)."""
    ranks, kind = request.param
    index = ["gathered", "partitioned"].index(kind)
    ((one,), _), (several, out) = runs[1], runs[ranks]
    return one[index], [rank[index] for rank in several], out / kind


def test_every_rank_has_the_same_report_and_the_same_weights(case):
    _, (first, *others), _ = case
    for other in others:
        assert first["reports"] == other["reports"]
        assert first["checksums"] == other["checksums"]
        assert first["metadata"] == other["metadata"]
        assert list(first["weights"]) == list(other["weights"])
        for name, weight in first["weights"].items():
            assert np.array_equal(weight, other["weights"][name])


def test_parameters_are_partitioned_unless_the_model_is_small(runs):
    for gathered, partitioned in [*runs[2][0], *runs[4][0]]:
        whole = sum(int(np.prod(shape)) for _, _, shape in gathered["metadata"])
        assert gathered["held"] == whole
        assert partitioned["held"] == 0


def test_several_ranks_do_what_one_does(case):
    one, (several, *_), _ = case
    for alone, together in zip(one["reports"], several["reports"], strict=True):
        assert alone[0] == together[0] == 1
        assert alone[1] == pytest.approx(together[1], rel=1e-4)
        assert alone[2] == together[2]
        for objective, report in alone[3].items():
            other = together[3][objective]
            assert (report.tokens, report.samples) == (other.tokens, other.samples)
            for field in ("loss", "ratio", "kl_sampler", "gap", "kl_reference", "entropy"):
                assert getattr(report, field) == pytest.approx(
                    getattr(other, field), rel=1e-3, abs=1e-6
                ), field
    for alone, together in zip(one["logprobs"], several["logprobs"], strict=True):
        np.testing.assert_allclose(alone, together, atol=2e-3)


def test_the_export_of_several_ranks_is_whole(case):
    _, (first, *_), export = case
    stored = load_file(export / "model.safetensors")
    assert {name: digest(tensor) for name, tensor in stored.items()} == first["checksums"]
    assert [m[0] for m in first["metadata"]] == list(first["weights"])
    assert {name: tuple(t.shape) for name, t in stored.items()} == {
        name: shape for name, _, shape in first["metadata"]
    }


@pytest.fixture(scope="module")
def cases():
    """Random batches, owners and packings; among them ranks without a sample, and one of all."""
    draw = np.random.default_rng(0)
    found = []
    for seed in range(8):
        groups = int(draw.integers(1, 9))
        samples = make_samples(groups, seed=seed, vocabulary=126, size=3, supervised=seed % 2 == 1)
        owners = draw.integers(0, 4, groups).tolist()
        mode = ["on", "off", "auto"][seed % 3]
        budget = int(draw.choice([1, 30, 100, 10_000]))
        found.append((samples, owners, mode, budget))
    assert any(set(range(4)) - set(owners) for _, owners, _, _ in found)
    assert any(set(range(4)) == set(owners) for _, owners, _, _ in found)
    return found


@pytest.fixture(scope="module")
def plain(random_model_folder, cases):
    """The gradients of each case in float64."""
    model = AutoModelForCausalLM.from_pretrained(random_model_folder, dtype=torch.float64)
    found = []
    for samples, *_ in cases:
        model.zero_grad()
        plain_loss(model, samples, LearnerConfig()).backward()
        found.append({n: p.grad.numpy().copy() for n, p in model.named_parameters()})
    return found


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_real_gradients_are_the_plain_ones_on_any_number_of_ranks(
    random_model_folder, tmp_path, cases, plain, ranks
):
    everywhere = run_ranks(gradients, ranks, tmp_path, random_model_folder, cases)
    for found in everywhere:
        for ours, theirs in zip(found, plain, strict=True):
            for name, expected in theirs.items():
                error = np.linalg.norm(ours[name] - expected)
                assert error < 1e-4 * np.linalg.norm(expected), name


def test_a_checkpoint_resumes_on_another_number_of_ranks(random_model_folder, tmp_path):
    runs = {}
    for name, ranks, root, updates in (
        ("on two", 2, "nothing", 2),
        ("two for longer", 2, "nothing", 4),
        ("two then two", 2, "on two", 2),
        ("two then one", 1, "on two", 2),
        ("one then two", 2, "two then one", 2),
        ("one then four", 4, "two then one", 2),
    ):
        (tmp_path / name).mkdir()
        runs[name] = run_ranks(
            resume,
            ranks,
            tmp_path / name,
            random_model_folder,
            tmp_path / root / "saved",
            tmp_path / name / "saved",
            updates,
        )[0]
    assert [run["updates"] for run in runs.values()] == [2, 4, 4, 4, 6, 6]
    for first, then in [
        ("on two", "two then two"),
        ("on two", "two then one"),
        ("two then one", "one then two"),
        ("two then one", "one then four"),
    ]:
        assert runs[then]["start"] == runs[first]["end"]
    # On as many ranks it goes on bit for bit as if it had never stopped.
    assert runs["two then two"]["end"] == runs["two for longer"]["end"]
    # The optimiser's moments came along too: on fewer or more ranks it goes on the same way.
    for one, other in [("two then one", "two then two"), ("one then two", "one then four")]:
        for name, weight in runs[one]["weights"].items():
            twin = runs[other]["weights"][name]
            np.testing.assert_allclose(weight, twin, atol=2e-5, err_msg=name)
