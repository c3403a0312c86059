"""The configuration of a run: every field, its meaning and its default.

Validated whole before any actor starts. ``contracts.loading`` reads it from YAML.
"""

from __future__ import annotations

from contracts.config.base import Count, Device, Dtype, OptionalCount, Seconds, Section, Share
from contracts.config.course import (
    BudgetConfig,
    CheckpointConfig,
    DeadlineConfig,
    EvaluationConfig,
    FaultConfig,
)
from contracts.config.learning import LearnerConfig, TransferConfig
from contracts.config.rollouts import (
    CPU_BLOCK,
    GeneratorConfig,
    RecycleConfig,
    ReflectionRewardConfig,
    SamplingConfig,
    VerifierConfig,
)
from contracts.config.run import RunConfig
from contracts.config.tasks import FieldMapping, ModelConfig, TaskConfig, WarmStartConfig
from contracts.config.watching import GuardAction, GuardConfig, MetricsConfig, Sink

__all__ = [
    "CPU_BLOCK",
    "BudgetConfig",
    "CheckpointConfig",
    "Count",
    "DeadlineConfig",
    "Device",
    "Dtype",
    "EvaluationConfig",
    "FaultConfig",
    "FieldMapping",
    "GeneratorConfig",
    "GuardAction",
    "GuardConfig",
    "LearnerConfig",
    "MetricsConfig",
    "ModelConfig",
    "OptionalCount",
    "RecycleConfig",
    "ReflectionRewardConfig",
    "RunConfig",
    "SamplingConfig",
    "Seconds",
    "Section",
    "Share",
    "Sink",
    "TaskConfig",
    "TransferConfig",
    "VerifierConfig",
    "WarmStartConfig",
]
