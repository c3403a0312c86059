"""A user's own losses and estimators, right and wrong, as ``module:function`` names them."""

import math

import numpy as np
import torch

from learner.losses import PolicyTerm

NOT_A_FUNCTION = math.pi


def reinforce(logprobs, old, advantages, config):
    return PolicyTerm(-logprobs * advantages, torch.exp(logprobs - old).detach(), logprobs * 0)


def summed(logprobs, old, advantages, config):
    one = torch.ones_like(logprobs)
    return PolicyTerm((-logprobs * advantages).sum(), one, one)


def bare(logprobs, old, advantages, config):
    return -logprobs * advantages


def cut_off(logprobs, old, advantages, config):
    one = torch.ones_like(logprobs)
    return PolicyTerm(-logprobs.detach() * advantages, one, one)


def twice_centred(rewards):
    return 2 * (rewards - rewards.mean())


def one_number(rewards):
    return rewards.mean()


def one_too_many(rewards):
    return np.zeros(len(rewards) + 1)


def infinite(rewards):
    return rewards / 0.0


def of_words(rewards):
    return ["good"] * len(rewards)
