"""The learner on CUDA: NCCL, fused AdamW, FlexAttention over shared prefixes."""

import numpy as np
import pytest
import torch
from plain_learner import make_samples, plain_logprobs
from small_learner import batch, learner_of
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoModelForCausalLM

from learner.attention import attend, visible
from learner.checkpoint import newest
from learner.packing import micro_batches, rows_of
from learner.shared_prefix import lay_out

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (9, 3)])
def test_flex_attention_equals_one_dense_mask(heads):
    samples = make_samples(9, seed=1, vocabulary=50, size=4, prompt=(20, 90), length=(1, 60))
    (rows,) = micro_batches(rows_of(samples, shared_prefix="on", budget=10_000), 10_000)
    layout = lay_out(rows, samples, torch.device("cuda"))
    blocks, slots = layout.blocks, layout.input_ids.shape[1]
    assert slots % 128 == 0
    torch.manual_seed(0)
    shapes = [(1, heads[0], slots, 32), (1, heads[1], slots, 32), (1, heads[1], slots, 32)]
    leaves = [torch.randn(shape, device="cuda", requires_grad=True) for shape in shapes]
    place = torch.arange(slots, device="cuda")
    mask = visible(blocks.group, blocks.segment, place[:, None], place)
    dense = scaled_dot_product_attention(*leaves, attn_mask=mask, enable_gqa=True)
    ours, _ = attend(torch.nn.Module(), *leaves, None, blocks)
    upstream = torch.randn_like(ours)
    torch.testing.assert_close(ours, dense.transpose(1, 2), rtol=1e-2, atol=1e-2)
    mine = torch.autograd.grad((ours * upstream).sum(), leaves)
    theirs = torch.autograd.grad((dense.transpose(1, 2) * upstream).sum(), leaves)
    for a, b in zip(mine, theirs, strict=True):
        assert (a - b).norm() < 1e-2 * b.norm()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shared", ["on", "off"])
def test_it_does_what_the_model_does(random_model_folder, dtype, shared):
    model = AutoModelForCausalLM.from_pretrained(random_model_folder, dtype=torch.float64)
    expected = [plain_logprobs(model, sample).detach().numpy() for sample in batch(1)]
    bound = 1e-2 if dtype == "float32" else 0.1
    with learner_of(random_model_folder, device="cuda", dtype=dtype, shared_prefix=shared) as it:
        for ours, theirs in zip(it.logprobs(batch(1)), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=bound)


def test_updates_agree_with_the_cpu(random_model_folder, tmp_path):
    norms = {}
    for device in ("cpu", "cuda"):
        with learner_of(random_model_folder, device=device, shared_prefix="on") as learner:
            norms[device] = [learner.update([batch(seed)]).gradient_norm for seed in range(3)]
            if device == "cuda":
                learner.export(tmp_path)
                assert len(learner.checksums()) == len(learner.weights())
    assert norms["cuda"] == pytest.approx(norms["cpu"], rel=2e-2)
    assert AutoModelForCausalLM.from_pretrained(tmp_path).dtype == torch.float32


@pytest.mark.parametrize("offload", [False, True])
def test_a_checkpoint_resumes(random_model_folder, tmp_path, offload):
    settings = {"device": "cuda", "offload_optimizer": offload, "dtype": "bfloat16"}
    with learner_of(random_model_folder, **settings) as learner:
        learner.update([batch(1), batch(2)])
        learner.save(tmp_path, 2, {})
        saved = learner.checksums()
        expected, random = learner.update([batch(3)]), torch.rand(3, device="cuda")
    with learner_of(random_model_folder, **settings) as learner:
        learner.load(newest(tmp_path).folder)
        assert learner.checksums() == saved
        # Sums on a GPU may come in another order, so the next update is not the same to a bit.
        assert learner.update([batch(3)]).gradient_norm == pytest.approx(
            expected.gradient_norm, rel=1e-2
        )
        assert torch.equal(torch.rand(3, device="cuda"), random)
