"""What a local session is told about the machine."""

import pytest
import ray
import torch

from actors.runtime import STARTS, _start, _usable_gpus
from contracts.errors import DeadlineError


def test_a_build_of_torch_for_cpus_can_use_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else ``auto`` would choose the GPU of a laptop that torch cannot use."""
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    assert _usable_gpus() == 0


def test_with_a_build_for_gpus_ray_looks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    assert _usable_gpus() is None


class SlowToStart:
    """``ray.init`` of a machine that is too busy for the first ``times`` tries."""

    def __init__(self, times: int) -> None:
        self.times, self.tries = times, 0

    def __call__(self, **options: object) -> None:
        self.tries += 1
        if self.tries <= self.times:
            # The words, and the class, that Ray 2.60 uses.
            raise Exception("The current node timed out during startup. This could happen ...")


def test_ray_is_started_again_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    start = SlowToStart(2)
    monkeypatch.setattr(ray, "init", start)
    _start({})
    assert start.tries == 3


def test_a_machine_that_stays_busy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    start = SlowToStart(9)
    monkeypatch.setattr(ray, "init", start)
    with pytest.raises(DeadlineError, match="gave up after 90 s waiting for Ray to start"):
        _start({})
    assert start.tries == STARTS


def test_another_failure_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**options: object) -> None:
        raise ValueError("num_cpus: not a number")

    monkeypatch.setattr(ray, "init", broken)
    with pytest.raises(ValueError, match="not a number"):
        _start({})
