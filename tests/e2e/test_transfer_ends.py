"""Both ends of the gloo backend, real, around a model that only keeps what it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from actors.transfer.client import invitations
from actors.transfer.gloo_engine import GlooWeightTransferEngine
from actors.transfer.gloo_trainer import GlooTrainerWeightTransferEngine
from actors.transfer.gloo_wire import GlooTrainerInitInfo
from learner.digests import digests_of
from learner.weights import WeightMeta

pytestmark = pytest.mark.e2e  # vLLM is imported, which takes its time
SECONDS = 30.0
WORKERS = 2
"""Tensor-parallel workers of each engine."""


class Source:
    """Weights of mixed types, other ones at every pass; the last is larger than a bucket."""

    def __init__(self) -> None:
        self.passes = 0
        shapes = [(3,), (17, 5), (), (64, 33), (0, 4)] * 40 + [(300, 1000)]
        types = [torch.float32, torch.bfloat16, torch.float32, torch.bfloat16, torch.float32]
        self.tensors = {
            f"layer.{index}.weight": torch.randn(shape).to(types[index % 5])
            for index, shape in enumerate(shapes)
        }

    def metadata(self) -> list[WeightMeta]:
        return [WeightMeta(n, t.dtype, tuple(t.shape)) for n, t in self.tensors.items()]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        self.passes += 1
        for name in self.tensors:
            self.tensors[name] = self.tensors[name] + self.passes
            yield name, self.tensors[name]


class Keeper(nn.Module):
    """Keeps views of what it is given for a while, as vLLM does, and spoils what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, torch.Tensor] = {}

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        held: list[tuple[str, torch.Tensor]] = []
        for item in weights:
            held.append(item)
            if len(held) == 50:
                self._take(held)
        self._take(held)

    def _take(self, held: list[tuple[str, torch.Tensor]]) -> None:
        for name, tensor in held:
            self.kept[name] = tensor.clone()
            tensor.fill_(0)
        held.clear()


class Client:
    """Calls all workers of all engines at once, as the generators' actors do."""

    def __init__(self, engines: Sequence[Sequence[GlooWeightTransferEngine]]) -> None:
        self.engines = engines
        self.threads = ThreadPoolExecutor(8)

    def init_weight_transfer_engine(self, info: dict[str, Any]) -> None:
        invited = invitations(info, len(self.engines), WORKERS)
        calls = [
            self.threads.submit(worker.init_transfer_engine, worker.parse_init_info(one))
            for one, workers in zip(invited, self.engines, strict=True)
            for worker in workers
        ]
        for call in calls:
            call.result(SECONDS)

    def start_weight_update(self) -> None:
        self._all(lambda worker: worker.start_weight_update())

    def update_weights(self, update: dict[str, Any]) -> None:
        self._all(lambda worker: worker.receive_weights(worker.parse_update_info(update)))

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        for workers in self.engines:
            for worker in workers:
                # The rest of it needs a model of vLLM's.
                worker._unfinished = False

    def _all(self, method: Callable[[GlooWeightTransferEngine], None]) -> None:
        calls = [
            self.threads.submit(method, worker) for workers in self.engines for worker in workers
        ]
        for call in calls:
            call.result(SECONDS)


def worker(rank: int) -> GlooWeightTransferEngine:
    parallel = SimpleNamespace(rank=rank, world_size=WORKERS, data_parallel_index=0)
    config = SimpleNamespace(parallel_config=parallel, model_config=None)
    return GlooWeightTransferEngine(None, config, torch.device("cpu"), Keeper())


@pytest.mark.parametrize("engines", [1, 2])
@pytest.mark.parametrize("way", ["memory", "gloo", "one sees no memory"])
def test_every_worker_gets_every_weight_again_and_again(
    engines: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source()
    all_workers = [[worker(rank) for rank in range(WORKERS)] for _ in range(engines)]
    blind = all_workers[-1][-1]
    if way == "one sees no memory":
        monkeypatch.setattr(blind, "_reach", lambda _place: None)
    trainer = GlooTrainerWeightTransferEngine.trainer_init(
        GlooTrainerInitInfo(
            address="127.0.0.1",
            world_size=1 + engines * WORKERS,
            bucket_bytes=20_000,
            seconds=SECONDS,
            share_memory=way != "gloo",
            rank=0,
        ),
        client=Client(all_workers),
        source=source,
    )
    for _ in range(3):
        trainer.send_weights()
        expected = digests_of(source.tensors.items())
        for workers in all_workers:
            for one in workers:
                assert digests_of(one.model.kept.items()) == expected
    shared = {one._shared is not None for workers in all_workers for one in workers}
    assert shared == {way == "memory"}
