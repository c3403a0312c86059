"""What a local session is told about the machine."""

import pytest
import torch

from actors.runtime import _usable_gpus


def test_a_build_of_torch_for_cpus_can_use_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else ``auto`` would choose the GPU of a laptop that torch cannot use."""
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    assert _usable_gpus() == 0


def test_with_a_build_for_gpus_ray_looks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    assert _usable_gpus() is None
