"""The real ZeRO-3 learner against AdamW on the plain loss, and its learning rates."""

import math

import pytest
import torch
from gradient_spy import GradientSpy
from plain_learner import make_groups, make_samples, plain_logprobs, plain_loss
from safetensors.torch import load_file
from small_learner import BASE, VOCABULARY, batch, learner_of, silenced
from transformers import AutoModelForCausalLM

from contracts.errors import UserError
from learner import losses
from learner.checkpoint import newest
from learner.engine import Learner
from learner.samples import samples_of

DECAY, CLIP = 0.1, 0.5


class PlainRun:
    """AdamW in float64 on the plain loss, on the schedule of ``BASE``: warm-up over two updates."""

    def __init__(self, folder, config):
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
        self.reference = None
        if config.kl_coefficient:
            self.reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
        self.config = config
        flat = [p for p in self.model.parameters() if p.ndim < 2]
        wide = [p for p in self.model.parameters() if p.ndim > 1]
        groups = [{"params": wide}, {"params": flat, "weight_decay": 0.0}]
        self.adam = torch.optim.AdamW(
            groups, lr=1.0, betas=config.betas, eps=1e-8, weight_decay=DECAY
        )
        self.updates = 0

    def step(self, minibatches):
        """Gradient norms of one step's updates, old log-probabilities fixed before the first."""
        olds = [None for _ in minibatches]
        if self.config.recompute_old:
            olds = [
                [plain_logprobs(self.model, s).detach().tolist() for s in samples]
                for samples in minibatches
            ]
        return [self._update(s, old) for s, old in zip(minibatches, olds, strict=True)]

    def _update(self, samples, old):
        self.adam.zero_grad()
        plain_loss(self.model, samples, self.config, old=old, reference=self.reference).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.updates += 1
        for group in self.adam.param_groups:
            group["lr"] = self.config.learning_rate * min(1, self.updates / 2)
        self.adam.step()
        return float(norm)


@pytest.mark.parametrize("recompute_old", [False, True])
@pytest.mark.parametrize(
    ("loss", "kl"), [*((name, 0.0) for name in sorted(losses.BUILT_IN)), ("clipped", 0.5)]
)
def test_steps_of_several_updates_equal_adamw_on_the_plain_loss(
    random_model_folder, loss, kl, recompute_old
):
    changes = {
        "loss": loss,
        "kl_coefficient": kl,
        "recompute_old": recompute_old,
        "sampling_cap": 1.1,
    }
    steps = [[batch(1, supervised=True), batch(2)], [batch(3)], [batch(4), batch(4), batch(5)]]
    with learner_of(
        random_model_folder, weight_decay=DECAY, gradient_clip=CLIP, schedule="constant", **changes
    ) as learner:
        reports = [learner.update(minibatches) for minibatches in steps]
        ours = {name: tensor.clone() for name, tensor in learner.weights()}
    plain = PlainRun(random_model_folder, BASE.model_copy(update=changes))
    for minibatches, report in zip(steps, reports, strict=True):
        norms = plain.step(minibatches)
        assert report.updates == len(norms)
        assert report.gradient_norm == pytest.approx(sum(norms) / len(norms), rel=1e-4)
    start = load_file(random_model_folder / "model.safetensors")
    for name, parameter in plain.model.named_parameters():
        moved = (parameter - start[name]).norm()
        assert (ours[name] - parameter).norm() < 2e-3 * moved, name


@pytest.mark.parametrize(
    "changes",
    [
        {"shared_prefix": "off", "token_budget": 100_000},
        {"shared_prefix": "off", "token_budget": 1},
        {"shared_prefix": "off", "token_budget": 40},
        {"shared_prefix": "on", "token_budget": 100_000},
        {"shared_prefix": "on", "token_budget": 40},
        {"shared_prefix": "auto", "gradient_checkpointing": True},
    ],
    ids=lambda changes: "-".join(str(value) for value in changes.values()),
)
def test_real_gradients_equal_the_plain_ones_however_they_are_accumulated(
    random_model_folder, changes
):
    """In float32 and after the sum over micro-batches: hence 1e-4 and not 1e-6."""
    samples = batch(7, supervised=True)
    config = BASE.model_copy(update=changes)
    learner = GradientSpy(random_model_folder, config, dtype="float32", total_updates=1, seed=0)
    try:
        learner.update([samples])
    finally:
        learner.close()
    model = AutoModelForCausalLM.from_pretrained(random_model_folder, dtype=torch.float64)
    plain_loss(model, samples, config).backward()
    (gradients,) = learner.gradients
    for name, parameter in model.named_parameters():
        expected = parameter.grad
        assert (gradients[name] - expected).norm() < 1e-4 * expected.norm(), name


def test_gradient_checkpointing_leaves_every_bit_alone(random_model_folder):
    outcomes = []
    for checkpointing in (False, True):
        with learner_of(random_model_folder, gradient_checkpointing=checkpointing) as learner:
            forwards = []
            mlp = learner._model.model.layers[0].mlp
            mlp.register_forward_pre_hook(lambda *_, seen=forwards: seen.append(1))
            for seed in (1, 2):
                learner.update([batch(seed, supervised=True)])
            outcomes.append((learner.checksums(), len(forwards)))
    assert outcomes[0][0] == outcomes[1][0]
    assert 2 * outcomes[0][1] == outcomes[1][1]


def test_the_report_of_an_update_is_what_the_plain_numbers_say(random_model_folder):
    samples = batch(9, supervised=True, spread=0.5)
    with learner_of(random_model_folder, clip_low=0.1, clip_high=0.3) as learner:
        report = learner.update([samples])
    config = BASE.model_copy(update={"clip_low": 0.1, "clip_high": 0.3})
    model = AutoModelForCausalLM.from_pretrained(random_model_folder, dtype=torch.float64)
    assert sum(BASE.weights[o.value] * r.loss for o, r in report.objectives.items()) == (
        pytest.approx(float(plain_loss(model, samples, config).detach()), rel=1e-5)
    )
    for objective, found in report.objectives.items():
        tokens = [
            (float(now) - float(sampler), float(advantage))
            for sample in samples
            if sample.objective is objective
            for now, sampler, advantage in zip(
                plain_logprobs(model, sample).detach(),
                sample.logprobs,
                sample.policy_weights,
                strict=True,
            )
        ]
        drifts = [drift for drift, _ in tokens]
        held = [math.exp(d) > 1.3 if a > 0 else math.exp(d) < 0.9 for d, a in tokens]
        assert found.tokens == len(tokens)
        assert found.clip_fraction == pytest.approx(sum(held) / len(held))
        assert 0 < found.clip_fraction < 1
        for name, values in {
            "ratio": [math.exp(d) for d in drifts],
            "gap": [abs(d) for d in drifts],
            "kl_sampler": [math.exp(d) - 1 - d for d in drifts],
        }.items():
            assert getattr(found, name) == pytest.approx(sum(values) / len(values), rel=1e-5)


def rates_at(k, *, shape, total, warm_up=2, peak=1e-3, final=0.3):
    """The formula, written out once more."""
    if k < warm_up:
        return peak * (k + 1) / warm_up
    x = (k - warm_up) / (total - 1 - warm_up)
    return {
        "constant": peak,
        "linear": peak * (1 - (1 - final) * x),
        "cosine": peak * (final + (1 - final) * (1 + math.cos(math.pi * x)) / 2),
    }[shape]


class RateSpy(Learner):
    """Keeps the learning rate that each optimiser update was really made with."""

    def __init__(self, *args, **more):
        self.rates = []
        super().__init__(*args, **more)

    def _step(self, rate):
        norm = super()._step(rate)
        self.rates.extend({group["lr"] for group in self._optimizer.param_groups})
        return norm


@pytest.mark.parametrize("shape", ["constant", "linear", "cosine"])
def test_the_learning_rate_of_every_update_follows_the_formula(
    random_model_folder, tmp_path, shape
):
    total = 12
    samples = make_samples(2, seed=1, vocabulary=VOCABULARY, size=2)
    silent = silenced(samples)
    config = BASE.model_copy(update={"schedule": shape, "weight_decay": 0.1})
    rates = []
    for interrupted in (False, True):
        learner = RateSpy(random_model_folder, config, dtype="float32", total_updates=total, seed=0)
        try:
            if interrupted:
                learner.load(newest(tmp_path).folder)
            for _ in range(3):
                # What does not happen is not counted: not within a step, not a whole one.
                report = learner.update([silent, samples, silent, samples])
                assert report.updates == 2
                assert report.learning_rate == learner.rates[-1]
                assert learner.update([silent, silent]).updates == 0
            learner.save(tmp_path, 1, {})
        finally:
            learner.close()
        rates += learner.rates
    expected = [rates_at(k, shape=shape, total=total) for k in range(total)]
    assert rates == pytest.approx(expected, rel=1e-12)


def test_functions_of_ones_own_work_in_the_real_learner(random_model_folder):
    own = BASE.model_copy(
        update={"advantage": "own_functions:twice_centred", "loss": "own_functions:reinforce"}
    )
    built_in = BASE.model_copy(update={"advantage": "group_centred", "loss": "reinforce"})
    groups = make_groups(4, seed=2, vocabulary=VOCABULARY, size=4)
    norms = []
    for config in (own, built_in):
        samples = [sample for group in groups for sample in samples_of(group, config)]
        with learner_of(
            random_model_folder, advantage=config.advantage, loss=config.loss
        ) as learner:
            norms.append(learner.update([samples]).gradient_norm)
    assert norms[0] == pytest.approx(2 * norms[1], rel=1e-5)


def test_a_wrong_function_of_ones_own_is_said_and_does_not_move_the_model(random_model_folder):
    with learner_of(random_model_folder, loss="own_functions:summed") as learner:
        before = learner.checksums()
        with pytest.raises(UserError, match=r"own_functions:summed.*shape"):
            learner.update([batch(1)])
        assert learner.checksums() == before
