"""What is added to vLLM's worker: reseeding, weight checksums, and an end with its actor.

vLLM imports this module by name in the process that holds the model. Importing it is the
only hook there is before the model is loaded, so the gloo backend is registered and the
watch on the actor's process is started here.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import psutil
import torch
from vllm.distributed.parallel_state import get_tp_group

from actors.engine import ACTOR_PID
from actors.transfer.engine_weights import engine_weights
from actors.transfer.registry import register_backends
from learner.digests import digests_of

WATCH_SECONDS = 1.0
"""How often the actor's process is looked for."""


class WorkerExtension:
    """Methods that a generator calls on its engine's workers by ``collective_rpc``."""

    model_runner: Any
    _weight_update_active: bool

    def ping(self) -> None:
        """Answer: a sign of life."""

    def reseed(self, seed: int) -> None:
        """Start the worker's random stream anew: the next batch depends on ``seed`` alone."""
        torch.manual_seed(seed)

    def forget_weight_update(self) -> None:
        """Let an update that another engine's fault has broken off be begun anew.

        vLLM ends an update that fails here, but not one that stops coming.
        """
        self._weight_update_active = False

    def weight_digests(self) -> dict[str, str]:
        """SHA-256 of what the model computes with, by Hugging Face parameter name.

        To be called on all workers of an engine at once: they put their parts together.
        """
        with torch.no_grad():
            return digests_of(engine_weights(self.model_runner.get_model(), _together))


def _together(tensor: torch.Tensor) -> Sequence[torch.Tensor]:
    """The tensors of all tensor-parallel workers of this engine."""
    group = get_tp_group()
    if group.world_size == 1:
        return [tensor]
    found: torch.Tensor = group.all_gather(tensor.contiguous(), dim=0)
    return found.chunk(group.world_size)


def _end_with_actor() -> None:
    """End this process soon after its actor: one that is killed must leave no engine behind."""
    actor = int(os.environ.get(ACTOR_PID, os.getppid()))

    def watch() -> None:
        while psutil.pid_exists(actor):
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="actor-watch", daemon=True).start()


register_backends()
_end_with_actor()
