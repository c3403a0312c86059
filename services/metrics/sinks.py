"""Where the figures of a run go besides Prometheus: TensorBoard, Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from contracts.config import MetricsConfig, Sink

PACKAGES: dict[Sink, str] = {"tensorboard": "tensorboardX", "wandb": "wandb"}
"""What each needs to be installed."""


class Writer(Protocol):
    """Takes all figures of a run, again and again."""

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Take the figures after ``step``, by name and label values: ``reward_mean/solve``."""

    def close(self) -> None:
        """Nothing more will come."""


class TensorBoard:
    """Event files for TensorBoard in a folder of the run.

    Args:
        folder: of the event files.
        step: the last step of an earlier part of the run; what it wrote after that is hidden.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Write one scalar for each figure."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases, by default without a network: files in the run folder.

    Args:
        settings: project and mode.
        run: its name; the same one is gone on with.
        folder: where wandb makes its own folder.
    """

    def __init__(self, settings: MetricsConfig, run: str, folder: Path) -> None:
        import wandb

        self._wandb = wandb
        self._run: Any = wandb.init(
            project=settings.wandb_project,
            name=run,
            id=run,
            resume="allow" if settings.wandb_mode == "online" else None,
            dir=str(folder),
            mode=settings.wandb_mode,
            # Figures only: no sources, no console, no machine.
            settings=wandb.Settings(
                console="off",
                disable_git=True,
                quiet=True,
                save_code=False,
                silent=True,
                x_disable_machine_info=True,
                x_disable_meta=True,
                x_disable_stats=True,
            ),
        )
        # A resumed run goes back a few steps; W&B's own step may only grow.
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Log all figures at once."""
        self._run.log({**figures, "step": step})

    def close(self) -> None:
        """Write what is left. wandb's own process has written it when it has ended, no sooner."""
        self._run.finish()
        self._wandb.teardown()


def writers(settings: MetricsConfig, run: str, folder: Path, step: int) -> list[Writer]:
    """The sinks that ``settings`` ask for.

    Args:
        settings: which.
        run: name of the run.
        folder: the run folder.
        step: steps that were done before.
    """
    made: list[Writer] = []
    for sink in settings.sinks:
        if sink == "tensorboard":
            made.append(TensorBoard(folder / sink, step))
        else:
            made.append(WeightsAndBiases(settings, run, folder))
    return made
