import pytest
import torch

from learner import logprobs
from learner.logprobs import LogitRule, token_logprobs

RULES = [LogitRule(), LogitRule(scale=0.5), LogitRule(cap=3.0), LogitRule(0.7, 4.0, 1.3)]


def inputs(dtype, tokens=37, hidden=8, vocabulary=23):
    torch.manual_seed(0)
    state = torch.randn(tokens, hidden, dtype=dtype, requires_grad=True)
    weight = torch.randn(vocabulary, hidden, dtype=dtype, requires_grad=True)
    bias = torch.randn(vocabulary, dtype=dtype, requires_grad=True)
    return state, weight, bias, torch.randint(0, vocabulary, (tokens,))


def plain(state, weight, bias, tokens, rule):
    logits = state @ weight.T + (0 if bias is None else bias)
    logits = logits * rule.scale
    if rule.cap:
        logits = rule.cap * torch.tanh(logits / rule.cap)
    table = torch.log_softmax(logits / rule.temperature, dim=-1)
    entropy = -(table.exp() * table).sum(-1)
    return table[torch.arange(len(tokens)), tokens], entropy


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(
    ("elements", "narrowest"),
    [
        pytest.param(10_000, 256, id="one tile"),
        pytest.param(37 * 5, 5, id="stretches of the vocabulary"),
        pytest.param(60, 5, id="and blocks of tokens"),
        pytest.param(1, 1, id="single logits"),
    ],
)
def test_value_and_gradient_equal_the_full_matrix(
    rule, with_bias, elements, narrowest, monkeypatch
):
    monkeypatch.setitem(logprobs.TILE_ELEMENTS, "cpu", elements)
    monkeypatch.setattr(logprobs, "NARROWEST", narrowest)
    state, weight, bias, tokens = inputs(torch.float64)
    bias = bias if with_bias else None
    leaves = [leaf for leaf in (state, weight, bias) if leaf is not None]
    upstream = torch.randn(len(tokens), dtype=torch.float64)
    ours, entropy = token_logprobs(state, weight, bias, tokens, rule)
    mine = torch.autograd.grad((ours * upstream).sum(), leaves)
    theirs, expected_entropy = plain(state, weight, bias, tokens, rule)
    other = torch.autograd.grad((theirs * upstream).sum(), leaves)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(entropy, expected_entropy, rtol=1e-10, atol=1e-10)
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_bfloat16_is_within_its_rounding_of_float32():
    state, weight, _, tokens = inputs(torch.float32)
    exact, _ = token_logprobs(state, weight, None, tokens, LogitRule())
    rough, _ = token_logprobs(state.bfloat16(), weight.bfloat16(), None, tokens, LogitRule())
    assert rough.dtype == torch.float32
    # Logits of size about 10 are rounded to 8 bits: 2**-8 * 10 on the token and the normaliser.
    assert (rough - exact).abs().max() < 0.1


@pytest.mark.parametrize("elements", [1 << 20, 8192])
def test_bfloat16_gradients_are_within_their_rounding_of_float32(elements, monkeypatch):
    """Of one tile, and of many whose parts are summed: 8 bits of the largest, a few times over."""
    monkeypatch.setitem(logprobs.TILE_ELEMENTS, "cpu", elements)
    state, weight, _, tokens = inputs(torch.float32, tokens=200, hidden=32, vocabulary=999)
    rounded = [leaf.detach().bfloat16().requires_grad_() for leaf in (state, weight)]
    exact = [leaf.detach().float().requires_grad_() for leaf in rounded]
    upstream = torch.randn(len(tokens))
    found, expected = (
        torch.autograd.grad(
            (token_logprobs(*leaves, None, tokens, LogitRule())[0] * upstream).sum(), leaves
        )
        for leaves in (rounded, exact)
    )
    for rough, fine in zip(found, expected, strict=True):
        assert rough.dtype == torch.bfloat16
        assert (rough - fine).norm() < 0.02 * fine.norm()


def test_the_logits_alive_at_once_do_not_grow_with_the_tokens(monkeypatch):
    monkeypatch.setitem(logprobs.TILE_ELEMENTS, "cpu", 2048)
    monkeypatch.setattr(logprobs, "NARROWEST", 8)
    seen = []
    original = logprobs._Output.logits

    def spy(*arguments):
        logits = original(*arguments)
        seen.append(logits.numel())
        return logits

    monkeypatch.setattr(logprobs._Output, "logits", spy)
    for tokens in (100, 1000):
        state, weight, bias, wanted = inputs(torch.float32, tokens=tokens, vocabulary=64)
        values, _ = token_logprobs(state, weight, bias, wanted, LogitRule())
        values.sum().backward()
    assert max(seen) <= 2048
    assert sum(seen) == 2 * (100 + 1000) * 64
