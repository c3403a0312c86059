"""A learner of one rank on the random tiny model, as several tests use it."""

from contextlib import contextmanager
from dataclasses import replace

from plain_learner import make_samples

from contracts.config import LearnerConfig
from learner.engine import Learner

WEIGHTS = {"solve": 1.0, "pointwise": 0.7, "pairwise": 0.5, "reflect": 0.25}
BASE = LearnerConfig(
    weights=WEIGHTS, device="cpu", threads=1, learning_rate=1e-3, warmup_updates=2, token_budget=256
)
VOCABULARY = 126


@contextmanager
def learner_of(folder, *, total=12, dtype="float32", **changes):
    config = BASE.model_copy(update=changes)
    learner = Learner(folder, config, dtype=dtype, total_updates=total, seed=0)
    try:
        yield learner
    finally:
        learner.close()


def batch(seed, **more):
    return make_samples(6, seed=seed, vocabulary=VOCABULARY, size=3, **more)


def scored(learner, samples):
    """The same samples, as if the learner itself had sampled them."""
    return [
        replace(sample, logprobs=logprobs)
        for sample, logprobs in zip(samples, learner.logprobs(samples), strict=True)
    ]


def silenced(samples):
    """The same samples with nothing to learn from."""
    return [replace(sample, policy_weights=sample.policy_weights * 0) for sample in samples]
