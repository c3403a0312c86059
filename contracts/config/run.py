"""A whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from contracts.config.base import Count, OptionalCount, Section
from contracts.config.course import (
    BudgetConfig,
    CheckpointConfig,
    DeadlineConfig,
    EvaluationConfig,
    FaultConfig,
)
from contracts.config.learning import LearnerConfig, TransferConfig
from contracts.config.rollouts import GeneratorConfig, RecycleConfig, SamplingConfig, VerifierConfig
from contracts.config.tasks import ModelConfig, TaskConfig
from contracts.config.watching import GuardConfig, MetricsConfig


class RunConfig(Section):
    """A run of Coevolve."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run and of its folder."""
    runs_dir: Path = Path("runs")
    """Where run folders are."""
    cache_dir: Path = Path(".cache/models")
    """Where built models are kept."""
    seed: int = 0
    """Seed of everything random in the run."""
    steps: Count = 100
    """Steps: one batch of groups in, one new weight version out."""
    budget: BudgetConfig = BudgetConfig()
    """What ends the run before."""
    tasks_per_step: Count = 32
    """Tasks solved per step."""
    schedule: Literal["merged", "sequential"] = "merged"
    """`merged`: recycled prompts join the next step's solve prompts. `sequential`: the paper's."""
    max_staleness: OptionalCount = 0
    """Weight versions that a trained token may be behind. 0: generation and training take turns.
    k: up to k batches are generated ahead of the learner."""
    placement: Literal["separate", "shared"] = "separate"
    """`separate`: every engine and every learner rank has GPUs of its own. `shared`: generator i
    and learner rank i take turns on one GPU. On a CPU there is only `separate`."""
    model: ModelConfig = ModelConfig()
    """The model."""
    tasks: TaskConfig = TaskConfig()
    """The tasks."""
    sampling: SamplingConfig = SamplingConfig()
    """Sampling."""
    recycle: RecycleConfig = RecycleConfig()
    """Recycling."""
    generators: GeneratorConfig = GeneratorConfig()
    """Generators."""
    verifiers: VerifierConfig = VerifierConfig()
    """Verifiers."""
    learner: LearnerConfig = LearnerConfig()
    """Learner."""
    transfer: TransferConfig = TransferConfig()
    """Weight broadcast."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Evaluation."""
    checkpoints: CheckpointConfig = CheckpointConfig()
    """Checkpoints."""
    faults: FaultConfig = FaultConfig()
    """Restarts after faults."""
    deadlines: DeadlineConfig = DeadlineConfig()
    """Deadlines."""
    metrics: MetricsConfig = MetricsConfig()
    """Metrics."""
    guards: GuardConfig = GuardConfig()
    """Guards."""
    rollouts_kept: OptionalCount = 4
    """Rollouts per objective and step written to the run folder for reading."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.sampling.max_tokens >= self.model.max_context:
            raise ValueError(
                f"sampling.max_tokens ({self.sampling.max_tokens}) leaves no room for a prompt in "
                f"model.max_context ({self.model.max_context})"
            )
        if self.learner.updates_per_step > self.tasks_per_step:
            raise ValueError(
                f"learner.updates_per_step ({self.learner.updates_per_step}) is above "
                f"tasks_per_step ({self.tasks_per_step}): an update would have no group"
            )
        if self.evaluation.tasks > self.tasks.held_out:
            raise ValueError(
                f"evaluation.tasks ({self.evaluation.tasks}) is above "
                f"tasks.held_out ({self.tasks.held_out})"
            )
        if self.model.name == "tiny" and self.recycle.style != "terse":
            raise ValueError("recycle.style must be 'terse' for model 'tiny': it knows no other")
        self._check_placement()
        return self

    def _check_placement(self) -> None:
        """What can share GPUs, and what cannot."""
        generators, learner, backend = self.generators, self.learner, self.transfer.backend
        if self.placement == "separate":
            if backend == "ipc":
                raise ValueError("transfer.backend 'ipc' is for placement 'shared' alone")
            return
        if "cpu" in (generators.device, learner.device):
            raise ValueError(
                "placement 'shared' is for generators and learner on GPUs: set generators.device "
                "and learner.device to cuda or auto, or placement to separate"
            )
        if generators.count > learner.ranks:
            raise ValueError(
                f"generators.count ({generators.count}) is above learner.ranks ({learner.ranks}): "
                f"with placement 'shared' each generator shares the GPU of a rank"
            )
        if generators.tensor_parallel > 1:
            raise ValueError(
                f"generators.tensor_parallel ({generators.tensor_parallel}) must be 1 with "
                f"placement 'shared': each generator has the GPU of one rank"
            )
        if self.max_staleness > 0:
            raise ValueError(
                f"max_staleness ({self.max_staleness}) must be 0 with placement 'shared': "
                f"generators and learner take turns"
            )
        if backend not in ("auto", "ipc"):
            raise ValueError(
                f"transfer.backend ({backend}) must be auto or ipc with placement 'shared'"
            )
        if generators.node_group != learner.node_group:
            raise ValueError(
                "generators.node_group and learner.node_group must be the same with placement "
                "'shared'"
            )

    @property
    def batches_per_step(self) -> int:
        """Batches trained per step, each making a weight version: the paper's order has two."""
        recycle = self.recycle
        both = recycle.enabled and recycle.answered and recycle.prompts_of is None
        return 2 if self.schedule == "sequential" and both else 1

    @property
    def total_updates(self) -> int:
        """Optimiser updates of the whole run: what the learning-rate schedule counts."""
        return self.steps * self.learner.updates_per_step * self.batches_per_step

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.runs_dir / self.name

    @property
    def checkpoints_folder(self) -> Path:
        """Where the checkpoints of the run are."""
        return self.folder / "checkpoints"
