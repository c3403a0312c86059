"""The result of ``coevolve bench broadcast``: cases and ratios, intervals, checksums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from services.bench.records import Benchmark, Case, Ratio, Record, case, ratio
from services.statistics import mean_by_task

OURS, BARE = "broadcast", "gloo"
GB = 1e9


class Interval(Record):
    """95 % interval of the mean of a ratio over its rounds, which are resampled (BCa)."""

    model: str
    mix: str
    of: str
    to: str
    mean: float
    low: float
    high: float
    n: int


class Checksums(Record):
    """What was compared: weights of engines with those of the learner's export, after each round.

    ``changed``: of the learner's weights, how many differed from the round before, at least.
    A difference between engine and export ends the command, so there is no count of them.
    """

    model: str
    mix: str
    broadcasts: int
    compared: int
    changed: int
    weights: int


class BroadcastBenchmark(Benchmark):
    """A whole result."""

    intervals: tuple[Interval, ...]
    checksums: tuple[Checksums, ...]


@dataclass(slots=True)
class Measured:
    """Both broadcasts to one number of receivers, in seconds, round by round."""

    receivers: int
    nbytes: int
    ours: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    phases: list[dict[str, float]] = field(default_factory=list)
    compared: int = 0
    changed: int = 0
    weights: int = 0

    @property
    def mix(self) -> str:
        """The case in words."""
        return f"{self.receivers} receiver" + ("s" if self.receivers > 1 else "")


@dataclass(slots=True)
class Result:
    """What the records are gathered in, model by model."""

    cases: list[Case] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)
    checksums: list[Checksums] = field(default_factory=list)

    def add(self, model: str, found: Sequence[Measured]) -> None:
        """Take in one model, measured with growing numbers of receivers."""
        for each in found:
            self._speeds(model, each)
            self.checksums.append(
                Checksums(
                    model=model,
                    mix=each.mix,
                    broadcasts=len(each.ours) + 1,
                    compared=each.compared,
                    changed=each.changed,
                    weights=each.weights,
                )
            )
        first = found[0]
        for each in found[1:]:
            mix = f"{each.mix} / {first.mix}"
            ours, bare = _quotients(each.ours, first.ours), _quotients(each.bare, first.bare)
            self._compare(model, mix, (f"{OURS}, growth", ours), (f"{BARE}, growth", bare))

    def _speeds(self, model: str, each: Measured) -> None:
        speeds = {
            OURS: [each.nbytes / GB / seconds for seconds in each.ours],
            f"{OURS}, transfer": [each.nbytes / GB / phase["transfer"] for phase in each.phases],
            BARE: [each.nbytes / GB / seconds for seconds in each.bare],
        }
        for variant, values in speeds.items():
            self.cases.append(case(model, each.mix, variant, "GB/s", values))
        for variant, seconds in ((OURS, each.ours), (BARE, each.bare)):
            self.cases.append(case(model, each.mix, variant, "s", seconds))
        for phase in each.phases[0]:
            values = [phases[phase] for phases in each.phases]
            self.cases.append(case(model, each.mix, OURS, f"s {phase}", values))
        for variant in (OURS, f"{OURS}, transfer"):
            self._compare(model, each.mix, (variant, speeds[variant]), (BARE, speeds[BARE]))

    def _compare(
        self,
        model: str,
        mix: str,
        of: tuple[str, Sequence[float]],
        to: tuple[str, Sequence[float]],
    ) -> None:
        self.ratios.append(ratio(model, mix, of, to))
        mean = mean_by_task([[share] for share in _quotients(of[1], to[1])])
        if mean.value is not None and mean.low is not None and mean.high is not None:
            self.intervals.append(
                Interval(
                    model=model,
                    mix=mix,
                    of=of[0],
                    to=to[0],
                    mean=mean.value,
                    low=mean.low,
                    high=mean.high,
                    n=mean.n,
                )
            )


def _quotients(of: Sequence[float], to: Sequence[float]) -> list[float]:
    return [mine / other for mine, other in zip(of, to, strict=True)]


def show_more(result: BroadcastBenchmark, console: Console) -> None:
    """Print what other benchmarks do not have."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for head in ("model", "mix", "of", "to"):
        table.add_column(head)
    for head in ("mean", "95 % from", "to", "rounds"):
        table.add_column(head, justify="right")
    for one in result.intervals:
        numbers = (f"{value:.2f}" for value in (one.mean, one.low, one.high))
        table.add_row(one.model, one.mix, one.of, one.to, *numbers, str(one.n))
    console.print(table)
    compared = sum(one.compared for one in result.checksums)
    broadcasts = sum(one.broadcasts for one in result.checksums)
    console.print(
        f"{compared:,} weights of engines compared after {broadcasts} broadcasts: all are those "
        "of the learner's export",
        highlight=False,
    )
