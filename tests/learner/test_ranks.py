"""Truth 12: on two real ZeRO-3 ranks the update equals that on one."""

import numpy as np
import pytest
from learner_ranks import resume, run_ranks, train_both_ways
from safetensors.torch import load_file

from learner.digests import digest

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def runs(random_model_folder, tmp_path_factory):
    outcomes = {}
    for ranks in (1, 2):
        out = tmp_path_factory.mktemp(f"ranks-{ranks}")
        outcomes[ranks] = (run_ranks(train_both_ways, ranks, out, random_model_folder, out), out)
    return outcomes


@pytest.fixture(params=["gathered", "partitioned"])
def case(request, runs):
    """(what one rank did, what each of two did, the export of the two)."""
    index = ["gathered", "partitioned"].index(request.param)
    ((one,), _), (pair, out) = runs[1], runs[2]
    return one[index], [rank[index] for rank in pair], out / request.param


def test_every_rank_has_the_same_report_and_the_same_weights(case):
    _, (first, second), _ = case
    assert first["reports"] == second["reports"]
    assert first["checksums"] == second["checksums"]
    assert first["metadata"] == second["metadata"]
    assert list(first["weights"]) == list(second["weights"])
    for name, weight in first["weights"].items():
        assert np.array_equal(weight, second["weights"][name])


def test_parameters_are_partitioned_unless_the_model_is_small(runs):
    pair, _ = runs[2]
    for gathered, partitioned in pair:
        whole = sum(int(np.prod(shape)) for _, _, shape in gathered["metadata"])
        assert gathered["held"] == whole
        assert partitioned["held"] == 0


def test_two_ranks_do_what_one_does(case):
    one, (two, _), _ = case
    for alone, together in zip(one["reports"], two["reports"], strict=True):
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
    for alone, together in zip(one["logprobs"], two["logprobs"], strict=True):
        np.testing.assert_allclose(alone, together, atol=2e-3)


def test_the_export_of_two_ranks_is_whole(case):
    _, (first, _), export = case
    stored = load_file(export / "model.safetensors")
    assert {name: digest(tensor) for name, tensor in stored.items()} == first["checksums"]
    assert [m[0] for m in first["metadata"]] == list(first["weights"])
    assert {name: tuple(t.shape) for name, t in stored.items()} == {
        name: shape for name, _, shape in first["metadata"]
    }


def test_a_checkpoint_resumes_on_another_number_of_ranks(random_model_folder, tmp_path):
    runs = {}
    for name, ranks, root in (
        ("on two", 2, "nothing"),
        ("two then one", 1, "on two"),
        ("two then two", 2, "on two"),
        ("one then two", 2, "two then one"),
    ):
        (tmp_path / name).mkdir()
        runs[name] = run_ranks(
            resume,
            ranks,
            tmp_path / name,
            random_model_folder,
            tmp_path / root / "saved",
            tmp_path / name / "saved",
        )[0]
    assert runs["two then one"]["start"] == runs["on two"]["end"]
    assert runs["two then two"]["start"] == runs["on two"]["end"]
    assert runs["one then two"]["start"] == runs["two then one"]["end"]
    assert [run["updates"] for run in runs.values()] == [2, 4, 4, 6]
    # The optimiser's moments came along too: one rank goes on as two would have.
    for name, weight in runs["two then one"]["weights"].items():
        other = runs["two then two"]["weights"][name]
        np.testing.assert_allclose(weight, other, atol=2e-5, err_msg=name)
