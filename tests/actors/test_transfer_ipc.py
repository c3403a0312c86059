"""CUDA IPC without CUDA: what is sent, how large, and that no rank waits for another."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import torch
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

from actors.engine import LOCAL_IPC
from actors.transfer.ipc_engine import LocalIPCEngine, PackedUpdate
from actors.transfer.ipc_trainer import LocalIPCTrainer, buffer_bytes
from actors.transfer.registry import register_backends
from contracts.errors import IntegrityError
from learner.weights import WeightMeta

SHARED = (
    *(torch.Tensor, torch.Size([64]), (1,), 0, torch.storage.TypedStorage, torch.uint8),
    *(0, b"memory", 64, 0, False, b"counter", 3, b"event", True),
)
"""What ``reduce_tensor`` gives of a buffer on a GPU."""
HANDLE = {"GPU-1": SHARED}
UPDATE = {
    "names": ["a.weight", "b.weight"],
    "dtype_names": ["float32", "bfloat16"],
    "shapes": [[4], [2, 2]],
    "ipc_handles": HANDLE,
    "tensor_sizes": [16, 8],
}


class Line:
    """Keeps what is sent to the engine."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def update_weights(self, update: dict[str, Any]) -> None:
        self.sent.append(update)


def trainer() -> LocalIPCTrainer:
    """Without its set-up, which asks CUDA for the device."""
    made: LocalIPCTrainer = LocalIPCTrainer.__new__(LocalIPCTrainer)
    made.is_sender, made.client = True, Line()
    return made


def test_a_bucket_crosses_in_plain_values_and_comes_out_whole() -> None:
    sender = trainer()
    sender._do_send(**UPDATE)
    (sent,) = sender.client.sent
    # As vLLM's channel passes it on: msgpack, and nothing that it would have to pickle.
    arrived = msgspec.msgpack.decode(msgspec.msgpack.encode(sent))
    engine = LocalIPCEngine.__new__(LocalIPCEngine)
    update = engine.parse_update_info(arrived).update
    assert {name: getattr(update, name) for name in UPDATE} == UPDATE


@pytest.mark.parametrize("handle", [SHARED[:-1], (torch.nn.Parameter, *SHARED[1:])])
def test_memory_in_another_form_is_refused(handle: tuple[Any, ...]) -> None:
    with pytest.raises(IntegrityError, match="in an unknown form"):
        PackedUpdate.of({**UPDATE, "ipc_handles": {"GPU-1": handle}})


def test_no_rank_takes_part_in_a_collective(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ranks' main threads gather weights on the same group at that moment."""
    for name in ("all_gather_object", "barrier"):
        monkeypatch.setattr(torch.distributed, name, lambda *_: pytest.fail("a collective"))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    collected: list[bool] = []
    monkeypatch.setattr(torch.cuda, "ipc_collect", lambda: collected.append(True))
    assert trainer()._all_gather_and_merge_handles([HANDLE]) == [HANDLE]
    trainer()._post_send_sync()
    assert collected == [True]


def test_the_buffer_holds_the_largest_weight() -> None:
    metas = [WeightMeta("a", torch.float32, (10, 10)), WeightMeta("b", torch.bfloat16, (100, 7))]
    assert buffer_bytes(metas, 64) == 1400
    assert buffer_bytes(metas, 4096) == 4096


def test_vllm_finds_the_engines_end() -> None:
    register_backends()
    assert WeightTransferEngineFactory._registry[LOCAL_IPC]() is LocalIPCEngine


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_broken_update_left_is_cleared(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    told: list[str] = []
    reload = "vllm.model_executor.model_loader.reload"
    monkeypatch.setattr(f"{reload}.initialize_layerwise_reload", lambda model: told.append("begin"))
    monkeypatch.setattr(f"{reload}.finalize_layerwise_reload", lambda *_: told.append("end"))
    monkeypatch.setattr(
        "actors.transfer.ipc_engine.finalize_layerwise_reload", lambda *_: told.append("clear")
    )
    absent: Any = None
    parts = type("Config", (), {"parallel_config": None, "model_config": None})()
    engine = LocalIPCEngine(absent, parts, absent, absent)
    engine.start_weight_update()
    if not fails:
        engine.finish_weight_update()
    engine.start_weight_update()
    assert told == ["begin", *(["clear"] if fails else ["end"]), "begin"]
