"""Both ends of a broadcast pack alike, and nothing is lost in between."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actors.transfer.buckets import ALIGNMENT, plan
from learner.weights import WeightMeta

DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.uint8])
SHAPES = st.lists(st.integers(0, 7), min_size=0, max_size=3).map(tuple)
ITEMS = st.lists(st.tuples(DTYPES, SHAPES), max_size=12).map(
    lambda pairs: [WeightMeta(f"w{i}", dtype, shape) for i, (dtype, shape) in enumerate(pairs)]
)


@given(ITEMS, st.integers(1, 4096))
def test_what_is_packed_is_what_is_unpacked(items: list[WeightMeta], bucket_bytes: int) -> None:
    tensors = [torch.randint(0, 100, item.shape).to(item.dtype) for item in items]
    buckets = plan(items, bucket_bytes)
    assert [item for bucket in buckets for item in bucket.items] == items
    unpacked: list[tuple[str, torch.Tensor]] = []
    source = iter(tensors)
    for bucket in buckets:
        assert bucket.nbytes <= bucket_bytes or len(bucket.items) == 1
        assert all(offset % ALIGNMENT == 0 for offset in bucket.offsets)
        room = bucket.empty()
        for index in range(len(bucket.items)):
            bucket.put(room, index, next(source))
        unpacked += bucket.take(room.clone())
    assert [name for name, _ in unpacked] == [item.name for item in items]
    assert all(torch.equal(a, b) for (_, a), b in zip(unpacked, tensors, strict=True))


def test_a_tensor_that_was_announced_otherwise_is_refused() -> None:
    (bucket,) = plan([WeightMeta("w", torch.float32, (2, 3))], 100)
    with pytest.raises(ValueError, match=r"w was announced as torch.float32 \(2, 3\)"):
        bucket.put(bucket.empty(), 0, torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"and came as torch\.bfloat16"):
        bucket.put(bucket.empty(), 0, torch.zeros(2, 3, dtype=torch.bfloat16))
