"""TRL's ``GRPOTrainer`` as a whole loop: it samples, grades and trains, a few steps a turn.

It samples with transformers, as it does by default. As in ``trl_trainer``: no gradient
checkpointing, no log, no checkpoint, torch's fused AdamW, weights in the type of compute.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch

from actors.graders.registry import quick_grade
from contracts.types import Prompt
from recycler.recycle import solve_prompt
from services.bench.loop_work import LoopWork
from services.bench.processes import Turns
from services.bench.variants.trl_settings import grpo_config
from services.tasks import load_tasks


def settings(work: LoopWork, folder: str) -> Any:
    """TRL's configuration for ``work``. A micro-batch is two groups: the fastest size here."""
    config, size = work.config, work.config.sampling.completions
    return grpo_config(
        folder,
        bf16=False,
        per_device_train_batch_size=2 * size,
        gradient_accumulation_steps=config.tasks_per_step // 2,
        num_generations=size,
        max_completion_length=config.sampling.max_tokens,
        temperature=config.sampling.temperature,
        learning_rate=config.learner.learning_rate,
        max_grad_norm=config.learner.gradient_clip,
        epsilon=config.learner.clip_low,
        beta=config.learner.kl_coefficient,
    )


def run(work: LoopWork, turns: Turns) -> None:
    """Let the trainer train. A turn's value is the tokens that were sampled in it."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.trainer.grpo_trainer import GRPOTrainer

    threads = work.config.learner.threads
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(
        work.folder,
        dtype=getattr(torch, work.config.model.dtype),
        attn_implementation="sdpa",
        local_files_only=True,
    )
    tasks = load_tasks(work.config.tasks, work.config.recycle.style).train
    prompts = [solve_prompt(task, work.config.recycle.style) for task in tasks]
    counted = Sampled()
    with tempfile.TemporaryDirectory() as folder:
        trainer: Any = GRPOTrainer(
            model=model,
            reward_funcs=counted.rewards,
            args=settings(work, folder),
            train_dataset=Dataset.from_list([row(prompt) for prompt in prompts]),
            processing_class=AutoTokenizer.from_pretrained(work.folder, local_files_only=True),
            callbacks=[_callback(work.steps, counted, turns)],
        )
        trainer.train()


def row(prompt: Prompt) -> dict[str, Any]:
    """A prompt as a row of TRL's data."""
    messages = [{"role": message.role, "content": message.text()} for message in prompt.messages]
    return {"prompt": messages, "verifier": prompt.verifier, "gold": prompt.label}


class Sampled:
    """Counts the tokens of completions while they are graded."""

    __name__ = "math"

    def __init__(self) -> None:
        self.tokens = 0

    def rewards(
        self,
        completions: list[list[dict[str, str]]],
        completion_ids: list[list[int]],
        verifier: list[str],
        gold: list[str],
        **_: Any,
    ) -> list[float]:
        """Grades as a run's; an answer that only sympy could read counts as wrong."""
        self.tokens += sum(len(ids) for ids in completion_ids)
        texts = [completion[0]["content"] for completion in completions]
        grades = map(quick_grade, verifier, texts, gold)
        return [grade.reward if grade is not None else 0.0 for grade in grades]

    def take(self) -> float:
        """The tokens since this was last asked."""
        taken, self.tokens = self.tokens, 0
        return float(taken)


def _callback(steps: int, counted: Sampled, turns: Turns) -> Any:
    """Waits for a turn before every ``steps`` steps, and reports it after them."""
    from transformers import TrainerCallback

    class Waiting(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, _args: Any, state: Any, *_: Any, **_options: Any) -> None:
            if state.global_step % steps == 0:
                counted.take()
                turns.begin()

        def on_step_end(self, _args: Any, state: Any, *_: Any, **_options: Any) -> None:
            if state.global_step % steps == 0:
                turns.end(counted.take())

    return Waiting()
