"""The same figures in TensorBoard's event files, and in Weights & Biases without a network."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from synthetic_run import metrics, timing

from contracts.config import MetricsConfig, RunConfig
from services.metrics import Metrics


def feed(folder: Path, sink: str, steps: range) -> None:
    draw = np.random.default_rng(0)
    config = RunConfig(name="demo", metrics=MetricsConfig(sinks=(sink,)))  # type: ignore[arg-type]
    with Metrics(config, folder) as given:
        for step in steps:
            given.step(metrics(draw, step, 10), timing(draw, step))


def events(folder: Path) -> list[tuple[int, str, float]]:
    """Step, tag and value of every scalar in the event files, in the order of writing."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
            data = data[12 + length + 4 :]
    return found


def test_tensorboard_gets_every_figure_of_every_step(tmp_path):
    pytest.importorskip("tensorboardX")
    feed(tmp_path, "tensorboard", range(1, 4))
    found = events(tmp_path / "tensorboard")
    assert sorted({step for step, _, _ in found}) == [1, 2, 3]
    rewards = [value for _, tag, value in found if tag == "reward_mean/solve"]
    assert len(rewards) == 3
    assert all(0 < value < 1 for value in rewards)
    assert {(3, "groups/solve", 96.0), (3, "step", 3.0)} <= set(found)


def test_weights_and_biases_writes_into_the_run_folder_without_a_network(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    for name in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / "own"))
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    feed(tmp_path, "wandb", range(1, 3))
    (path,) = tmp_path.glob("wandb/offline-run-*/run-demo.wandb")
    store = DataStore()
    store.open_for_scan(str(path))
    rows = []
    while (data := store.scan_data()) is not None:
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            rows.append(
                {i.key or "/".join(i.nested_key): i.value_json for i in record.history.item}
            )
    assert [float(row["step"]) for row in rows] == [1, 2]
    assert [float(row["groups/solve"]) for row in rows] == [32, 64]
    assert b"a" * 40 not in path.read_bytes()
