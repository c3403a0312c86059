"""What TRL's ``GRPOTrainer`` is set to in every benchmark: whatever makes it fastest here."""

from __future__ import annotations

from typing import Any

from services.bench.variants import BETAS


def grpo_config(folder: str, **of_the_work: Any) -> Any:
    """TRL's configuration; no gradient checkpointing, no log, no checkpoint, torch's fused AdamW.

    Args:
        folder: for what it insists on writing.
        of_the_work: fields of ``GRPOConfig`` that say what is to be done.
    """
    from trl.trainer.grpo_config import GRPOConfig

    return GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        max_steps=1_000_000,
        lr_scheduler_type="constant",
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        loss_type="dapo",
        gradient_checkpointing=False,
        shuffle_dataset=False,
        optim="adamw_torch_fused",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **of_the_work,
    )
