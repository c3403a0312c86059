"""TRL's ``GRPOTrainer`` as a learner: its own loop, on rollouts that are given.

Only what generates and grades is replaced; micro-batches, loss, accumulation, clipping and
optimiser are TRL's. Settings are those that make it fastest here: no gradient checkpointing, no
reference model, no log, no checkpoint, torch's fused AdamW.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from torch import Tensor

from services.bench.processes import Turns
from services.bench.variants import CLIP, GRADIENT_CLIP, LEARNING_RATE
from services.bench.variants.trl_settings import grpo_config
from services.bench.workload import Work, rollouts

AUTOCAST = "trl_autocast"
"""Float32 weights, computed in bfloat16 (TRL's default), instead of weights in bfloat16."""

COMPACT = "trl_compact"
"""Its output head on completion tokens only, as TRL does where Triton runs; on a CPU it takes
every token of the row through the vocabulary."""


def given(work: Work) -> dict[str, Tensor]:
    """What ``_generate_and_score_completions`` would return for the groups of an update."""
    data = rollouts(work)
    prompts = torch.from_numpy(data.prompts).long().repeat_interleave(work.size, dim=0)
    completions = torch.from_numpy(data.completions).long().flatten(0, 1)
    return {
        "prompt_ids": prompts,
        "prompt_mask": torch.ones_like(prompts),
        "completion_ids": completions,
        "completion_mask": torch.ones_like(completions),
        "advantages": torch.from_numpy(data.advantages).flatten(),
        "num_items_in_batch": torch.tensor(float(work.completion_tokens)),
    }


def settings(work: Work, folder: str) -> Any:
    """TRL's configuration for ``work``."""
    return grpo_config(
        folder,
        bf16=work.variant == AUTOCAST,
        per_device_train_batch_size=work.size,
        gradient_accumulation_steps=work.groups,
        num_generations=work.size,
        max_completion_length=work.mix.completion,
        learning_rate=LEARNING_RATE,
        max_grad_norm=GRADIENT_CLIP,
        epsilon=CLIP,
        beta=0.0,
    )


def run(work: Work, turns: Turns) -> None:
    """Let the trainer train, one update a turn."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.trainer import utils

    torch.set_num_threads(work.threads)
    if work.variant == COMPACT:
        utils.__dict__["_use_triton"] = lambda _device: True
    wide = work.variant == AUTOCAST
    model = AutoModelForCausalLM.from_pretrained(
        work.folder,
        dtype=torch.float32 if wide else getattr(torch, work.dtype),
        attn_implementation="sdpa",
        local_files_only=True,
    )
    tokenizer = AutoTokenizer.from_pretrained(work.folder, local_files_only=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(model, tokenizer, settings(work, folder), given(work), turns)
        trainer.train()


def _trainer(model: Any, tokenizer: Any, args: Any, batch: dict[str, Tensor], turns: Turns) -> Any:
    """A ``GRPOTrainer`` that is handed ``batch`` and waits for its turns."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl.trainer.grpo_trainer import GRPOTrainer

    base: Any = GRPOTrainer  # where TRL is missing a type checker knows nothing else

    class Given(base):  # type: ignore[misc]
        gradient_norm = float("nan")

        def _generate_and_score_completions(self, _inputs: Any) -> dict[str, Tensor]:
            return dict(batch)

        def _get_grad_norm(self, *arguments: Any, **options: Any) -> Any:
            norm = super()._get_grad_norm(*arguments, **options)
            self.gradient_norm = float(norm)
            return norm

    class Waiting(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_arguments: Any, **_options: Any) -> None:
            turns.begin()

        def on_step_end(self, *_arguments: Any, **_options: Any) -> None:
            turns.end(trainer.gradient_norm)

    trainer = Given(
        model=model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=args,
        train_dataset=Dataset.from_dict({"prompt": ["x"] * 1024}),
        processing_class=tokenizer,
        callbacks=[Waiting()],
    )
    return trainer
