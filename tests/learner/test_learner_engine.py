"""The real ZeRO-3 learner, one rank on the CPU."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from learner_ranks import free_port
from plain_learner import plain_logprobs
from safetensors.torch import load_file
from small_learner import BASE, VOCABULARY, batch, learner_of, scored
from transformers import AutoModelForCausalLM, AutoTokenizer

from contracts.errors import DeadlineError, IntegrityError, UserError
from contracts.types import Objective
from learner import zero
from learner.digests import digest
from learner.engine import Learner
from learner.export import SHARD_BYTES
from learner.samples import supervised_sample


def test_the_first_update_of_a_step_has_ratio_one_and_no_kl(random_model_folder):
    with learner_of(random_model_folder) as learner:
        first, second = (scored(learner, batch(seed)) for seed in (1, 2))
        report = learner.update([first])
        assert set(report.objectives) == set(Objective)
        for part in report.objectives.values():
            assert part.ratio == pytest.approx(1, abs=1e-6)
            assert part.kl_sampler == pytest.approx(0, abs=1e-9)
            assert part.gap < 1e-5
            assert part.clip_fraction == 0
            assert 0 < part.entropy <= math.log(VOCABULARY)
        assert report.tokens == sum(len(s.tokens) for s in first)
        assert sum(o.samples for o in report.objectives.values()) == len(first)
        # Old log-probabilities stay fixed while the weights move.
        moved = learner.update([second, second])
        assert moved.updates == 2
        assert max(abs(part.ratio - 1) for part in moved.objectives.values()) > 1e-4


def test_an_update_without_signal_does_nothing_at_all(random_model_folder, monkeypatch):
    silent = [replace(s, policy_weights=s.policy_weights * 0) for s in batch(1)]
    with learner_of(random_model_folder) as learner:
        before = learner.checksums()

        def refuse(*_):
            raise AssertionError("nothing should be forwarded")

        monkeypatch.setattr(learner._engine, "forward", refuse)
        for minibatches in ([silent], [[]], [silent, []], []):
            report = learner.update(minibatches)
            assert (report.updates, report.tokens, report.objectives) == (0, 0, {})
        assert learner.checksums() == before
        assert learner.updates_done == 0


def test_same_inputs_same_bits(random_model_folder):
    outcomes = []
    for _ in range(2):
        with learner_of(random_model_folder) as learner:
            reports = [learner.update([batch(1), batch(2)]), learner.update([batch(3)])]
            reports = [replace(report, seconds=0.0) for report in reports]
            outcomes.append((reports, learner.checksums()))
    assert outcomes[0] == outcomes[1]


def test_weights_of_objectives_given_later_are_as_good_as_configured_ones(random_model_folder):
    other = {objective: 0.5 for objective in Objective} | {Objective.REFLECT: 0.0}
    outcomes = []
    for weighed in (False, True):
        changes = {} if weighed else {"weights": {o.value: w for o, w in other.items()}}
        with learner_of(random_model_folder, **changes) as learner:
            if weighed:
                learner.weigh(other)
            report = learner.update([batch(1)])
            outcomes.append((set(report.objectives), learner.checksums()))
    assert outcomes[0] == outcomes[1]
    assert Objective.REFLECT not in outcomes[0][0]


def test_an_export_is_an_ordinary_model(random_model_folder, tmp_path):
    samples = batch(1)
    with learner_of(random_model_folder) as learner:
        learner.update([samples])
        ours = learner.logprobs(samples)
        sums, listed = learner.checksums(), learner.weights().metadata()
        learner.export(tmp_path / "out")
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert "lm_head.weight" not in stored
    assert {name: digest(tensor) for name, tensor in stored.items()} == sums
    assert [(m.name, m.dtype, m.shape) for m in listed] == [
        (m.name, stored[m.name].dtype, tuple(stored[m.name].shape)) for m in listed
    ]
    assert set(stored) == {meta.name for meta in listed}
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.float32
    for sample, mine in zip(samples, ours, strict=True):
        theirs = plain_logprobs(model, sample).detach().numpy()
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    again = AutoTokenizer.from_pretrained(random_model_folder)
    message = [{"role": "user", "content": "Solve 1 + 2"}]
    assert tokenizer.apply_chat_template(message) == again.apply_chat_template(message)


def test_an_export_in_several_files_is_whole_and_leaves_no_older_one(
    random_model_folder, tmp_path, monkeypatch
):
    with learner_of(random_model_folder) as learner:
        for size in (SHARD_BYTES, 1 << 18, 1 << 20, SHARD_BYTES):
            monkeypatch.setattr("learner.export.SHARD_BYTES", size)
            learner.update([batch(1)])
            learner.export(tmp_path)
            several = len(list(tmp_path.glob("model*.safetensors"))) > 1
            assert several == (size < SHARD_BYTES)
            assert several == (tmp_path / "model.safetensors.index.json").exists()
            model = AutoModelForCausalLM.from_pretrained(tmp_path)
            found = {name: digest(p) for name, p in model.named_parameters()}
            assert found == learner.checksums()


def test_the_reference_is_the_initial_model_and_holds_the_policy_back(random_model_folder):
    moved = {}
    for coefficient in (0.0, 30.0):
        with learner_of(random_model_folder, kl_coefficient=coefficient) as learner:
            assert (learner._reference is None) == (coefficient == 0)
            reports = [learner.update([batch(1)]) for _ in range(4)]
            moved[coefficient] = learner.logprobs(batch(1))
        kl = [reports[k].objectives[Objective.SOLVE].kl_reference for k in (0, 3)]
        if coefficient:
            assert kl[0] == pytest.approx(0, abs=1e-9)
            assert kl[1] > 1e-7
    model = AutoModelForCausalLM.from_pretrained(random_model_folder)
    start = [plain_logprobs(model, s).detach().numpy() for s in batch(1)]
    shift = {
        c: sum(np.abs(a - b).sum() for a, b in zip(new, start, strict=True))
        for c, new in moved.items()
    }
    assert shift[30.0] < shift[0.0]


def test_bfloat16_stays_near_float32_and_keeps_small_steps(random_model_folder):
    samples = batch(1)
    with learner_of(random_model_folder) as exact:
        expected = exact.logprobs(samples)
        true_norm = exact.update([samples]).gradient_norm
    with learner_of(random_model_folder, dtype="bfloat16", learning_rate=1e-6) as rough:
        for ours, theirs in zip(rough.logprobs(samples), expected, strict=True):
            # Eight bits of mantissa on logits below 8.
            np.testing.assert_allclose(ours, theirs, atol=0.1)
        start = rough.checksums()
        norm = rough.update([samples]).gradient_norm
        assert norm == pytest.approx(true_norm, rel=0.05)
        assert {meta.dtype for meta in rough.weights().metadata()} == {torch.bfloat16}
        for _ in range(11):
            rough.update([samples])
        # Steps of 1e-6 vanish in bfloat16 weights, but add up in float32 master weights.
        assert rough.checksums() != start


def test_recomputed_old_logprobs_measure_the_gap_everywhere(random_model_folder):
    with learner_of(random_model_folder, recompute_old=True, sampling_cap=1.1) as learner:
        one, two = scored(learner, batch(1)), scored(learner, batch(2))
        off = [[replace(s, logprobs=s.logprobs - 0.5) for s in part] for part in (one, two)]
        report = learner.update(off)
    for part in report.objectives.values():
        assert part.gap == pytest.approx(0.5, abs=1e-4)
        assert part.kl_sampler == pytest.approx(math.exp(0.5) - 1.5, abs=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_gradient_that_is_not_finite_is_an_error(random_model_folder, dtype):
    bad = [replace(s, policy_weights=s.policy_weights * np.inf) for s in batch(1)]
    with learner_of(random_model_folder, dtype=dtype) as learner:
        before = learner.checksums()
        with pytest.raises(IntegrityError, match="update 0 is not finite"):
            learner.update([bad])
        assert learner.checksums() == before


def test_supervised_tokens_are_learnt(random_model_folder):
    lesson = [
        supervised_sample(f"s{i}", Objective.SOLVE, [2, 7, i], [9, 10 + i, 1]) for i in range(8)
    ]
    with learner_of(random_model_folder, learning_rate=5e-3, total=40) as learner:
        losses = [learner.update([lesson]).objectives[Objective.SOLVE].loss for _ in range(30)]
    assert losses[0] == pytest.approx(math.log(VOCABULARY), rel=0.1)
    assert losses[-1] < 1.0


def test_a_folder_without_a_model_is_refused_and_leaves_nothing_behind(
    random_model_folder, tmp_path
):
    with pytest.raises(UserError, match=r"no config\.json"):
        Learner(tmp_path, BASE, dtype="float32", total_updates=1, seed=0)
    with learner_of(random_model_folder) as learner:
        assert learner.shares_prefixes


@pytest.mark.parametrize(
    ("rank", "awaited"), [(0, "1 more learner ranks"), (1, "learner rank 0 at 127.0.0.1")]
)
def test_a_rank_left_alone_says_whom_it_waited_for(random_model_folder, monkeypatch, rank, awaited):
    monkeypatch.setattr(zero, "MEETING_SECONDS", 1.0)
    with pytest.raises(DeadlineError, match=awaited):
        Learner(
            random_model_folder,
            BASE,
            dtype="float32",
            total_updates=1,
            seed=0,
            rank=rank,
            world_size=2,
            port=free_port(),
        )
