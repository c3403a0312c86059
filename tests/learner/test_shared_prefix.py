import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_learner import make_samples
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention

from contracts.errors import UserError
from learner import attention, group_attention, shared_prefix
from learner.attention import attend, visible
from learner.packing import micro_batches, rows_of
from learner.shared_prefix import lay_out

CPU = torch.device("cpu")


def test_a_completion_sees_its_prompt_and_itself_only():
    #         prompt   one   two      another prompt, its one
    group = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    segment = [0, 0, 0, 1, 1, 2, 2, 2, 0, 0, 1]
    table = visible(
        torch.tensor(group), torch.tensor(segment), torch.arange(11)[:, None], torch.arange(11)
    )
    for q in range(11):
        for k in range(11):
            expected = k <= q and group[k] == group[q] and segment[k] in (0, segment[q])
            assert bool(table[q, k]) is expected, (q, k)


def random_layout(seed):
    samples = make_samples(4, seed=seed, vocabulary=50, size=3, length=(1, 6))
    rows = rows_of(samples, shared_prefix="on", budget=10_000)
    (batch,) = micro_batches(rows, 10_000)
    return lay_out(batch, samples, CPU)


@pytest.fixture(params=[1, 300, 1 << 22], ids=["row by row", "in parts", "at once"])
def scores_alive(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_attention, "SCORES", request.param)
        yield


@pytest.mark.usefixtures("scores_alive")
@given(seed=st.integers(0, 200), heads=st.sampled_from([(4, 4), (4, 2), (3, 1)]))
@settings(max_examples=20, deadline=None)
def test_attention_group_by_group_equals_one_dense_mask(seed, heads):
    layout = random_layout(seed)
    blocks, slots = layout.blocks, layout.input_ids.shape[1]
    torch.manual_seed(seed)
    # Values of another size than keys, as some architectures have them.
    shapes = [(1, heads[0], slots, 8), (1, heads[1], slots, 8), (1, heads[1], slots, 6)]
    leaves = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    place = torch.arange(slots)
    mask = visible(blocks.group, blocks.segment, place[:, None], place)
    dense = scaled_dot_product_attention(*leaves, attn_mask=mask, scale=0.3, enable_gqa=True)
    ours, _ = attend(torch.nn.Module(), *leaves, None, blocks, scaling=0.3)
    upstream = torch.randn_like(ours)
    torch.testing.assert_close(ours, dense.transpose(1, 2))
    mine = torch.autograd.grad((ours * upstream).sum(), leaves)
    theirs = torch.autograd.grad((dense.transpose(1, 2) * upstream).sum(), leaves)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_attention_in_bfloat16_is_within_its_rounding():
    layout = random_layout(1)
    slots = layout.input_ids.shape[1]
    torch.manual_seed(0)
    shapes = [(1, 4, slots, 32), (1, 2, slots, 32), (1, 2, slots, 32)]
    rounded = [torch.randn(shape).bfloat16().requires_grad_() for shape in shapes]
    exact = [leaf.detach().double().requires_grad_() for leaf in rounded]
    rough, fine = (
        attend(torch.nn.Module(), *leaves, None, layout.blocks)[0] for leaves in (rounded, exact)
    )
    upstream = torch.randn(rough.shape).bfloat16()
    found = torch.autograd.grad((rough * upstream).sum(), rounded)
    expected = torch.autograd.grad((fine * upstream).sum(), exact)
    # Weights and results are rounded to 8 bits, each on its own: 2**-8 of the whole at most.
    for a, b in zip((rough, *found), (fine, *expected), strict=True):
        assert a.dtype == torch.bfloat16
        assert (a - b).norm() < 2**-7 * b.norm()


@pytest.mark.parametrize("heads", [(4, 4), (4, 2)])
def test_flex_attention_equals_one_dense_mask(heads, monkeypatch):
    # The same operator that is compiled on CUDA, here as plain torch.
    monkeypatch.setattr(shared_prefix, "uses_flex", lambda device: True)
    monkeypatch.setattr(attention, "_compiled_flex", lambda: flex_attention)
    layout = random_layout(3)
    blocks, slots = layout.blocks, layout.input_ids.shape[1]
    assert blocks.flex is not None
    assert slots % 128 == 0
    assert layout.positions.shape == (1, slots)
    torch.manual_seed(0)
    shapes = [(1, heads[0], slots, 16), (1, heads[1], slots, 16), (1, heads[1], slots, 16)]
    leaves = [torch.randn(shape) for shape in shapes]
    place = torch.arange(slots)
    mask = visible(blocks.group, blocks.segment, place[:, None], place)
    dense = scaled_dot_product_attention(*leaves, attn_mask=mask, enable_gqa=True)
    ours, _ = attend(torch.nn.Module(), *leaves, None, blocks)
    torch.testing.assert_close(ours, dense.transpose(1, 2), rtol=1e-4, atol=1e-5)


def test_completions_of_one_token_need_no_attention_of_their_own():
    samples = make_samples(2, seed=0, vocabulary=50, size=3, length=(1, 2))
    rows = rows_of(samples, shared_prefix="on", budget=1000)
    (batch,) = micro_batches(rows, 1000)
    assert [piece.count for piece in lay_out(batch, samples, CPU).blocks.pieces] == [0, 0]


def test_attention_it_does_not_know_is_refused():
    layout = random_layout(0)
    tensor = torch.zeros(1, 1, layout.input_ids.shape[1], 8)
    with pytest.raises(UserError, match="attends with softcap"):
        attend(torch.nn.Module(), tensor, tensor, tensor, None, layout.blocks, softcap=30.0)


def test_sources_predict_the_tokens_of_each_sample():
    samples = make_samples(3, seed=1, vocabulary=50, size=3)
    for mode in ("on", "off"):
        rows = rows_of(samples, shared_prefix=mode, budget=10_000)
        (batch,) = micro_batches(rows, 10_000)
        layout = lay_out(batch, samples, CPU)
        ids, positions = layout.input_ids.flatten(), layout.positions.flatten()
        start = 0
        for index in layout.order:
            sample = samples[index]
            n, prompt = len(sample.tokens), len(sample.prompt_tokens)
            source = layout.source[start : start + n]
            assert layout.tokens[start : start + n].tolist() == sample.tokens.tolist()
            assert positions[source].tolist() == list(range(prompt - 1, prompt + n - 1))
            before = np.r_[sample.prompt_tokens[-1], sample.tokens[:-1]]
            assert ids[source].tolist() == before.tolist()
            start += n
        assert start == len(layout.tokens)
        assert (layout.blocks is None) == (mode == "off")
        if mode == "on":
            assert layout.input_ids.shape == (1, sum(row.length for row in rows))
