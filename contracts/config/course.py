"""The course of a run: evaluations, budget, faults, checkpoints, deadlines."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from contracts.config.base import Count, OptionalCount, Seconds, Section


class EvaluationConfig(Section):
    """Held-out evaluation of solving, judging and reflecting."""

    every: OptionalCount = 25
    """Steps between evaluations; 0: only at start and end."""
    tasks: Count = 512
    """Held-out tasks at start and end."""
    tasks_between: Count = 128
    """Held-out tasks in between."""
    candidates: Annotated[int, Field(ge=2)] = 4
    """Answers per held-out task sampled at start; the fixed set that judging is measured on."""
    greedy: bool = True
    """Also evaluate greedily at start and end."""
    verdicts: Count = 4
    """Verdicts on each candidate at start and end, for calibration; 1: it is not measured. The
    candidates are those of the first `tasks_between` tasks."""


class BudgetConfig(Section):
    """What a run may use up: it ends with the step that reaches the first of these, at the latest
    after `steps`. The learning rate's schedule counts `steps` all the same. Evaluations are free.
    """

    sampled_tokens: Count | None = None
    """Completion tokens, of all objectives."""
    trained_tokens: Count | None = None
    """Completion tokens that were trained on."""
    seconds: Seconds | None = None
    """Wall-clock of the steps."""


class FaultConfig(Section):
    """What is put up with before a run ends."""

    restarts: OptionalCount = 5
    """Restarts of each kind of actor (generator, verifier, recycler) within `window`."""
    window: Seconds = 600.0
    """Seconds after which a restart is forgotten."""
    resumes: OptionalCount = 3
    """How often the whole run goes on from its last checkpoint by itself, after the learner
    died or a budget was spent."""


class CheckpointConfig(Section):
    """Checkpoints, which `--resume` goes on from."""

    every: OptionalCount = 25
    """Steps between checkpoints, with one at the last step; 0: none."""
    keep: Count = 2
    """Checkpoints left in the run folder; older ones are removed."""


class DeadlineConfig(Section):
    """Longest waits, in seconds. A timeout names what it waited for."""

    start: Seconds = 300.0
    """Start of an actor with its model."""
    generate: Seconds = 600.0
    """A batch of generation."""
    grade: Seconds = 120.0
    """A batch of grading."""
    update: Seconds = 1800.0
    """An update of the learner."""
    stop: Seconds = 15.0
    """Orderly end of an actor, before it is killed."""
    health: Seconds = 30.0
    """Sign of life of an actor that is asked for one; a frozen one is killed after it."""
    grace: Seconds = 25.0
    """Time to save a checkpoint after SIGTERM or Ctrl-C; a second signal ends the run at once."""
