"""How engines end: killed, stopped, or left alone by a driver that is no more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import ray
import torch
from safetensors.torch import load_file
from small_runs import prompt, small_config

from actors.faults import BudgetSpentError
from actors.generator_pool import GeneratorPool
from contracts.config import FaultConfig
from learner.digests import digests_of

pytestmark = pytest.mark.e2e
DRIVER = """
import sys, time
from pathlib import Path
from actors.generator_pool import GeneratorPool
from actors.runtime import ray_session
from small_runs import small_config
folder = Path(sys.argv[1])
with ray_session(folder / "logs"):
    pool = GeneratorPool.start(small_config(), Path(sys.argv[2]), folder / "logs")
    (folder / "started").touch()
    time.sleep(600)
"""


def gone(processes: list[psutil.Process], seconds: float) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not alive


def processes_of(pool: GeneratorPool) -> list[psutil.Process]:
    """The actor of a pool's only engine, and all below it."""
    pid = ray.get(pool.actors[0].handle.__ray_call__.remote(lambda _: os.getpid()))
    actor = psutil.Process(pid)
    return [actor, *actor.children(recursive=True)]


def test_a_bfloat16_engine_from_start_to_sudden_end(
    session: Path, random_model_folder: Path
) -> None:
    config = small_config(dtype="bfloat16").model_copy(update={"faults": FaultConfig(restarts=0)})
    pool = GeneratorPool.start(config, random_model_folder, session)
    try:
        saved = load_file(random_model_folder / "model.safetensors")
        rounded = {name: tensor.to(torch.bfloat16) for name, tensor in saved.items()}
        assert pool.checksums() == {"generator 0": digests_of(rounded.items())}
        processes = processes_of(pool)
        engines = [p for p in processes if "EngineCore" in " ".join(p.cmdline())]
        assert len(engines) == 1
        engines[0].kill()
        with pytest.raises(BudgetSpentError) as caught:
            list(
                pool.generate([prompt("1 + 1")], completions=2, max_tokens=4, temperature=1, seed=0)
            )
        assert "generator 0 failed: EngineDeadError" in str(caught.value)
        assert str(pool.actors[0].log) in str(caught.value)
    finally:
        pool.stop()
    assert gone(processes, 30)


@pytest.mark.slow
def test_nothing_outlives_a_killed_driver(tmp_path: Path, random_model_folder: Path) -> None:
    command = [sys.executable, "-c", DRIVER, str(tmp_path), str(random_model_folder)]
    path = os.pathsep.join([str(Path(__file__).parent), str(Path.cwd())])
    driver = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path})
    try:
        end = time.monotonic() + 600
        while not (tmp_path / "started").exists():
            assert driver.poll() is None
            assert time.monotonic() < end
            time.sleep(0.2)
        children = psutil.Process(driver.pid).children(recursive=True)
        assert any("EngineCore" in " ".join(p.cmdline()) for p in children)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait(30)
    assert gone(children, 180)
