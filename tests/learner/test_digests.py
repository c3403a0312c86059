"""Checksums: one bit more or less is seen, the sign of a zero is not."""

from __future__ import annotations

import hashlib

import torch

from learner.digests import digest


def test_a_digest_sees_one_bit_and_no_sign_of_zero() -> None:
    tensor = torch.randn(3, 5)
    plain = hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
    assert digest(tensor) == plain
    assert digest(tensor.t().contiguous().t()) == plain
    changed = tensor.clone()
    changed.view(torch.int32)[2, 4] ^= 1
    assert digest(changed) != plain
    assert digest(torch.tensor([-0.0, 1.0])) == digest(torch.tensor([0.0, 1.0]))


def test_whole_numbers_are_hashed_as_they_are() -> None:
    tensor = torch.tensor([1, -5, 2**60 + 1])
    assert digest(tensor) == hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
