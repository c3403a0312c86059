"""Processes of their own for learners that are killed, or that are ranks of one.

They are forked from a server that has imported everything: a learner starts in a second.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

IMPORTED = ["learner.engine", "deepspeed", "transformers.models.qwen2.modeling_qwen2"]
SECONDS = 300


def child(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """``target(*arguments)``, started in a process of its own."""
    # Whatever machine this is: DeepSpeed looks for its accelerator when it is imported.
    os.environ["DS_ACCELERATOR"] = "cpu"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def ended(processes: list[BaseProcess]) -> list[int]:
    """Exit codes, once all have ended; none is left behind."""
    try:
        for process in processes:
            process.join(SECONDS)
            assert process.exitcode is not None, f"a learner did not end within {SECONDS} s"
    finally:
        for process in processes:
            process.kill()
    return [process.exitcode or 0 for process in processes]
