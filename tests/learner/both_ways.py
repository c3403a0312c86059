"""Loss and gradients as the learner makes them, and as the plain reference does."""

import pytest
import torch
from plain_learner import plain_loss

from learner.losses import loss_named, token_loss
from learner.minibatch import Packing, objective_weights, plan, token_batch
from learner.policy import Policy, inputs

CPU = torch.device("cpu")
WEIGHTS = {"solve": 1.0, "pointwise": 0.7, "pairwise": 0.5, "reflect": 0.25}


def packing(config):
    return Packing(config.shared_prefix, config.token_budget, CPU)


def forward(policy, layout):
    return policy(*inputs(layout))


def learner_gradients(model, samples, config, *, old=None, reference=None, owners=(0,)):
    """Loss and gradients as the engine makes them; group k is that of rank ``owners[k]``."""
    policy, judge = Policy(model), None if reference is None else Policy(reference)
    model.zero_grad()
    names = sorted({s.group for s in samples})
    owner = [owners[names.index(s.group) % len(owners)] for s in samples]
    shares = [
        [i for i, rank in enumerate(owner) if rank == part] for part in range(max(owners) + 1)
    ]
    plans = [plan([samples[i] for i in share], config, packing(config)) for share in shares]
    totals = torch.stack([p.counts for p in plans]).sum(0)
    scale = objective_weights(config)[:, None] / totals.clamp(min=1)
    total = 0.0
    for share, part in zip(shares, plans, strict=True):
        place = {id(samples[i]): i for i in share}
        before = {
            k: s.logprobs if old is None else old[place[id(s)]] for k, s in enumerate(part.samples)
        }
        for layout in part.layouts:
            batch = token_batch(
                part, layout, scale, before, with_kl=judge is not None, wide=torch.float64
            )
            now, _ = forward(policy, layout)
            fixed = None if judge is None else forward(judge, layout)[0]
            loss = token_loss(now, fixed, batch, config, loss_named(config.loss)).total
            loss.backward()
            total += float(loss.detach())
    return total, [p.grad.clone() for p in model.parameters()]


def plain_gradients(model, samples, config, **more):
    model.zero_grad()
    loss = plain_loss(model, samples, config, **more)
    loss.backward()
    return float(loss.detach()), [p.grad.clone() for p in model.parameters()]


def assert_equal(ours, theirs):
    # transformers takes norms and rotations in float32 even in a float64 model, hence not 1e-12.
    assert ours[0] == pytest.approx(theirs[0], rel=1e-6)
    for mine, other in zip(ours[1], theirs[1], strict=True):
        assert (mine - other).norm() <= 1e-6 * other.norm()


def vocabulary(model):
    return model.config.vocab_size
