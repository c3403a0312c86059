"""What each learner rank does in ``test_ranks``: run in processes of their own."""

from __future__ import annotations

import pickle
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from children import child, ended


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def run_ranks(work: Callable[..., Any], ranks: int, out: Path, *arguments: Any) -> list[Any]:
    """``work(rank, ranks, port, *arguments)`` in a process for each rank; what each returned."""
    port = free_port()
    ended([child(_child, work, rank, ranks, port, out, arguments) for rank in range(ranks)])
    results = []
    for rank in range(ranks):
        result, error = pickle.loads((out / f"{rank}.pkl").read_bytes())
        assert error is None, error
        results.append(result)
    return results


def _child(
    work: Callable[..., Any], rank: int, ranks: int, port: int, out: Path, arguments: tuple
) -> None:
    try:
        outcome = (work(rank, ranks, port, *arguments), None)
    except Exception:  # noqa: BLE001 (any failure of a child is shown by its parent)
        outcome = (None, traceback.format_exc())
    (out / f"{rank}.pkl").write_bytes(pickle.dumps(outcome))


def train_both_ways(rank: int, ranks: int, port: int, folder: Path, out: Path) -> list[dict]:
    """``train`` with parameters gathered for good, as of a small model, and gathered on use."""
    from learner import zero

    gathered = train(rank, ranks, port, folder, out / "gathered")
    zero.PERSISTENT_BYTES = zero.SMALL = 0
    return [gathered, train(rank, ranks, port + 1, folder, out / "partitioned")]


def train(rank: int, ranks: int, port: int, folder: Path, out: Path) -> dict:
    """Updates with uneven shares, among them empty ones; then everything that is collective."""
    from plain_learner import make_samples

    from contracts.config import LearnerConfig
    from learner.engine import Learner

    config = LearnerConfig(
        device="cpu", threads=1, learning_rate=1e-3, kl_coefficient=0.05, token_budget=128
    )
    learner = Learner(
        folder,
        config,
        dtype="float32",
        total_updates=8,
        seed=0,
        rank=rank,
        world_size=ranks,
        port=port,
    )
    steps = [make_samples(5, seed=s, vocabulary=126, size=3, supervised=True) for s in range(4)]
    reports = []
    for number, samples in enumerate(steps):
        names = sorted({sample.group for sample in samples})
        # The last rank gets nothing of the second step, and most of the third.
        owner = {name: _owner(number, place, ranks) for place, name in enumerate(names)}
        mine = [sample for sample in samples if owner[sample.group] == rank]
        reports.append(learner.update([mine, []]))
    mine = steps[0] if rank == 0 else []
    result = {
        "reports": [(r.updates, r.gradient_norm, r.tokens, r.objectives) for r in reports],
        "held": sum(p.numel() for p in learner._model.parameters()),
        "logprobs": learner.logprobs(mine),
        "weights": {name: tensor.float().numpy().copy() for name, tensor in learner.weights()},
        "metadata": [(m.name, str(m.dtype), m.shape) for m in learner.weights().metadata()],
        "checksums": learner.checksums(),
    }
    learner.export(out)
    learner.close()
    return result


def deal(samples: list, owners: list[int], rank: int) -> list:
    """Those samples whose group belongs to ``rank``; ``owners`` by order of first appearance."""
    names = list(dict.fromkeys(sample.group for sample in samples))
    return [sample for sample in samples if owners[names.index(sample.group)] == rank]


def gradients(rank: int, ranks: int, port: int, folder: Path, cases: list) -> list[dict]:
    """The gradients of each case (samples, owner of each group, packing), of the first model."""
    from gradient_spy import GradientSpy

    from contracts.config import LearnerConfig
    from learner.minibatch import Packing

    learner = GradientSpy(
        folder,
        # A step this small moves no float32 weight.
        LearnerConfig(device="cpu", threads=1, learning_rate=1e-14),
        dtype="float32",
        total_updates=len(cases),
        seed=0,
        rank=rank,
        world_size=ranks,
        port=port,
    )
    for samples, owners, mode, budget in cases:
        learner._packing = Packing(mode, budget, learner._place.device)
        learner.update([deal(samples, [owner % ranks for owner in owners], rank)])
    learner.close()
    return [{n: g.numpy() for n, g in found.items()} for found in learner.gradients]


def _owner(step: int, place: int, ranks: int) -> int:
    if step == 1:
        return 0
    return min(place, ranks - 1) if step == 2 else place % ranks


def resume(
    rank: int, ranks: int, port: int, folder: Path, root: Path, out: Path, updates: int
) -> dict:
    """Take up the newest checkpoint of ``root`` if any, update, save to ``out``."""
    from plain_learner import make_samples

    from contracts.config import LearnerConfig
    from learner.checkpoint import newest
    from learner.engine import Learner

    learner = Learner(
        folder,
        LearnerConfig(device="cpu", threads=1, learning_rate=1e-3),
        dtype="float32",
        total_updates=8,
        seed=0,
        rank=rank,
        world_size=ranks,
        port=port,
    )
    checkpoint = newest(root)
    if checkpoint is not None:
        learner.load(checkpoint.folder)
    start = learner.checksums()
    for number in range(learner.updates_done, learner.updates_done + updates):
        samples = make_samples(6, seed=number, vocabulary=126, size=3)
        names = sorted({sample.group for sample in samples})
        learner.update([[s for s in samples if names.index(s.group) % ranks == rank]])
    learner.save(out, learner.updates_done, {"written by": b"%d" % ranks})
    result = {
        "start": start,
        "end": learner.checksums(),
        "updates": learner.updates_done,
        "weights": {name: tensor.numpy().copy() for name, tensor in learner.weights()},
    }
    learner.close()
    return result
