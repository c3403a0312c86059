"""What a person sees while a run goes: one calm table, or plain lines where there is no terminal.

Only numbers that help to decide whether to go on are shown; everything else is in the run
folder and in its report.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from contracts.config import RunConfig
from contracts.types import Objective
from services.records import SCORES, EvaluationRecord, StepMetrics, StepTiming
from services.statistics import Score

SMOOTHING = 0.9
"""Share of the past in a smoothed value; early values are corrected for the missing past."""

ETA_WINDOW = 900.0
"""Seconds of past steps the time to go is reckoned from."""

HEADS = {
    "policy_accuracy": "solving",
    "judge_accuracy": "judging",
    "pairwise_accuracy": "pairwise",
    "reflection_fix_rate": "fixes",
    "reflection_keep_rate": "keeps",
}
V = TypeVar("V")
NONE = "–"


@dataclass
class Smoothed:
    """An exponential mean without the pull of a made-up first value (Adam's correction)."""

    total: float = 0.0
    weight: float = 0.0

    def add(self, value: float) -> None:
        """Take in a value; one that is not finite is passed over."""
        if math.isfinite(value):
            self.total = SMOOTHING * self.total + (1 - SMOOTHING) * value
            self.weight = SMOOTHING * self.weight + (1 - SMOOTHING)

    @property
    def value(self) -> float | None:
        """The mean so far; None before the first value."""
        return self.total / self.weight if self.weight else None


@dataclass
class Seen:
    """What a view was told so far."""

    phase: str = "starting"
    phase_start: float = 0.0
    metrics: StepMetrics | None = None
    timing: StepTiming | None = None
    first: dict[str, EvaluationRecord] = field(default_factory=dict)
    last: dict[str, EvaluationRecord] = field(default_factory=dict)
    reward: dict[Objective, Smoothed] = field(default_factory=dict)
    accuracy: dict[Objective, Smoothed] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def step(self, metrics: StepMetrics, timing: StepTiming) -> None:
        """Take in a step."""
        self.metrics, self.timing = metrics, timing
        for smoothed, values in ((self.reward, metrics.reward), (self.accuracy, metrics.accuracy)):
            for objective, value in values.items():
                smoothed.setdefault(objective, Smoothed()).add(value)

    def evaluation(self, evaluation: EvaluationRecord) -> None:
        """Take in an evaluation."""
        self.first.setdefault(evaluation.mode, evaluation)
        self.last[evaluation.mode] = evaluation


class LiveView:
    """Shows a run while it goes. A context manager; it only draws, and never waits.

    Args:
        config: the run's configuration.
        model_info_text: the model in a few words, for example ``tiny, 0.3 M parameters``.
        console: where to draw; a terminal gets a live table, anything else plain lines.
        clock: seconds, for the phase and the time to go.
    """

    def __init__(
        self,
        config: RunConfig,
        model_info_text: str,
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steps = config.steps
        self._title = f"{config.name}  ·  {model_info_text}"
        self._console = console or Console()
        self._clock = clock
        self._lock = threading.RLock()  # rich draws from a thread of its own
        self._seen = Seen(phase_start=clock())
        self._progress = _progress(self._console, clock)
        self._bar = self._progress.add_task("steps", total=config.steps)
        self._live = (
            Live(console=self._console, get_renderable=self.render, refresh_per_second=4)
            if self._console.is_terminal and not self._console.is_dumb_terminal
            else None
        )

    def __enter__(self) -> Self:
        self._say(self._title)
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self.phase("ended" if error is None else "stopped")
            self._live.stop()

    def phase(self, name: str) -> None:
        """What the run does now: ``generating``, ``training``, ``broadcasting``, ..."""
        with self._lock:
            self._seen.phase, self._seen.phase_start = name, self._clock()

    def step(self, metrics: StepMetrics, timing: StepTiming) -> None:
        """A step is done."""
        self.resume(metrics, timing)
        self._say(step_line(metrics, timing, self._steps))

    def resume(self, metrics: StepMetrics, timing: StepTiming) -> None:
        """A step was done in an earlier part of the run."""
        with self._lock:
            self._seen.step(metrics, timing)
        self._progress.update(self._bar, completed=metrics.step)

    def evaluation(self, evaluation: EvaluationRecord) -> None:
        """Held-out scores are there."""
        with self._lock:
            self._seen.evaluation(evaluation)
        self._say(evaluation_line(evaluation))

    def note(self, text: str) -> None:
        """Something a person should know; the last three stay in sight."""
        with self._lock:
            self._seen.notes = [*self._seen.notes, text][-3:]
        self._say(text)

    def render(self) -> RenderableType:
        """The table as it is now."""
        with self._lock:
            parts = self._parts(self._seen)
        return Panel(Group(*parts), title=Text(self._title, style="bold"), title_align="left")

    def _parts(self, seen: Seen) -> list[RenderableType]:
        parts: list[RenderableType] = [self._phase_line(), self._progress, Text()]
        if seen.metrics and seen.timing:
            parts += [_objectives(seen), _figures(seen.metrics, seen.timing), Text()]
        if seen.first:
            parts.append(_held_out(seen))
        parts += [Text(f"! {note}", style="yellow") for note in seen.notes]
        return parts

    def _phase_line(self) -> Text:
        seconds = self._clock() - self._seen.phase_start
        text = Text(self._seen.phase, style="bold cyan")
        if self._seen.phase not in ("ended", "stopped"):
            text.append(f"  {seconds:.0f} s", style="dim")
        return text

    def _say(self, line: str) -> None:
        """Print a line, where there is no table."""
        if not self._live:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def step_line(metrics: StepMetrics, timing: StepTiming, steps: int) -> str:
    """A step on one line, for logs."""
    update = metrics.update
    rewards = " ".join(f"{name} {value:.2f}" for name, value in _ordered(metrics.reward))
    parts = [
        f"step {metrics.step}/{steps}",
        f"reward {rewards or NONE}",
        f"yes-rate {_share(metrics.yes_rate)}",
        f"dropped {sum(metrics.dropped.values())}/{sum(metrics.groups.values())}",
        f"{timing.tokens_per_second:,.0f} tokens/s",
        f"{timing.seconds:.1f} s",
        f"gradient {update.gradient_norm:.3g}" if update else "nothing trained",
        f"weights v{metrics.version}",
    ]
    return " | ".join(parts)


def evaluation_line(evaluation: EvaluationRecord) -> str:
    """An evaluation on one line, for logs."""
    scores = ", ".join(
        f"{HEADS[name]} {score_text(evaluation.scores[name])}"
        for name in SCORES
        if name in evaluation.scores
    )
    head = f"held out after step {evaluation.step}, {evaluation.mode}, {evaluation.tasks} tasks"
    return f"{head} | {scores}"


def score_text(score: Score | None) -> str:
    """A score with its interval, in per cent: ``62 (58–66)``."""
    if score is None or score.value is None or score.low is None or score.high is None:
        return NONE
    return f"{100 * score.value:.0f} ({100 * score.low:.0f}–{100 * score.high:.0f})"


def _progress(console: Console, clock: Callable[[], float]) -> Progress:
    return Progress(
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TimeElapsedColumn(),
        TextColumn("to go"),
        TimeRemainingColumn(),
        console=console,
        auto_refresh=False,
        expand=True,
        get_time=clock,
        speed_estimate_period=ETA_WINDOW,
    )


def _objectives(seen: Seen) -> Table:
    """The training batch by objective: this step, and smoothed over the last ones."""
    assert seen.metrics is not None
    metrics = seen.metrics
    table = _table("training batch", list(Objective))
    table.add_row("reward", *_row(metrics.reward, _share))
    table.add_row("  smoothed", *_row(seen.reward, lambda s: _share(s.value)))
    table.add_row("accuracy", *_row(metrics.accuracy, _share))
    table.add_row("  smoothed", *_row(seen.accuracy, lambda s: _share(s.value)))
    table.add_row("groups", *_row(metrics.groups, str))
    table.add_row("  without signal", *_row(metrics.dropped, str))
    return table


def _figures(metrics: StepMetrics, timing: StepTiming) -> Table:
    """The figures of a step that belong to no objective, in two rows of names and values."""
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), show_header=False, pad_edge=False)
    update = metrics.update
    figures = [
        ("yes-rate", _share(metrics.yes_rate)),
        ("step", f"{timing.seconds:.1f} s"),
        ("speed", f"{timing.tokens_per_second:,.0f} tok/s"),
        ("weights", f"v{metrics.version}"),
        ("gradient", f"{update.gradient_norm:.3g}" if update else NONE),
        ("rate", f"{update.learning_rate:.1e}" if update else NONE),
    ]
    for row in (figures[:3], figures[3:]):
        table.add_row(*(Text.assemble((f"{name} ", "dim"), value) for name, value in row))
    return table


def _held_out(seen: Seen) -> Table:
    """Last evaluation under the first, with 95 % intervals, sampled and greedy."""
    table = _table("held out, %", [HEADS[name] for name in SCORES])
    for mode, first in seen.first.items():
        rows = [first] if seen.last[mode] is first else [first, seen.last[mode]]
        for evaluation in rows:
            cells = [score_text(evaluation.scores.get(name)) for name in SCORES]
            step = evaluation.step
            label = f"{step} greedy" if mode == "greedy" else f"step {step}"
            table.add_row(label, *cells, style="bold" if evaluation is not first else "")
    return table


def _table(head: str, columns: list[str] | list[Objective]) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(head, no_wrap=True)
    for column in columns:
        table.add_column(str(column), justify="right", no_wrap=True)
    return table


def _row(values: Mapping[Objective, V], show: Callable[[V], str]) -> list[str]:
    return [show(values[name]) if name in values else NONE for name in Objective]


def _ordered(values: Mapping[Objective, V]) -> list[tuple[Objective, V]]:
    return [(name, values[name]) for name in Objective if name in values]


def _share(value: float | None) -> str:
    return NONE if value is None or not math.isfinite(value) else f"{value:.2f}"
