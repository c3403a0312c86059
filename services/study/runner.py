"""Does the runs of a study: so many at once, what is needed first, whatever fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from contracts.config import RunConfig
from contracts.errors import CoevolveError, DeadlineError, UserError
from services.run_folder import held
from services.signals import StopRequest
from services.study.expand import Planned
from services.study.states import State, state_of

TICK_SECONDS = 0.2
ORPHAN_SECONDS = 180.0
"""How long a run whose study was killed may take to save itself and let go of its folder."""
END_SECONDS = 60.0
"""How long a run may take to end, besides the grace it has to save itself."""


class Running(Protocol):
    """A run that was started."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""

    def stop(self) -> None:
        """Ask it to save itself and end."""

    def kill(self) -> None:
        """End it at once."""

    def error(self) -> str:
        """What it said last."""

    def close(self) -> None:
        """It has ended, or is left alone."""


class Launcher(Protocol):
    """Starts runs. ``leaves``: they go on when the study is ended."""

    @property
    def leaves(self) -> bool:
        """Whether runs go on when the study is ended."""

    def start(self, config: RunConfig) -> Running:
        """Start a run, or go on with it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run. ``error``: why it did not end well."""

    run: Planned
    seconds: float = 0.0
    error: str = ""

    @property
    def is_done(self) -> bool:
        """Whether it has all its steps."""
        return not self.error


@dataclass
class _Live:
    run: Planned
    config: RunConfig
    process: Running
    began: float = field(default_factory=time.monotonic)
    stopped: float | None = None
    """When it was asked to end, as it took too long."""

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def patience(self) -> float:
        """Seconds it may take to end."""
        return self.config.deadlines.grace + self.config.deadlines.stop + END_SECONDS


class Runner:
    """Does runs.

    Args:
        configs: the configuration of every run, by name.
        launcher: starts them.
        jobs: how many at once.
        longest: seconds after which a run is ended.
        tell: told of each start (None) and of each outcome.
    """

    def __init__(
        self,
        configs: Mapping[str, RunConfig],
        launcher: Launcher,
        *,
        jobs: int,
        longest: float,
        tell: Callable[[Planned, Outcome | None], None],
    ) -> None:
        self.configs, self.launcher, self.tell = configs, launcher, tell
        self.jobs, self.longest = jobs, longest
        self.live: list[_Live] = []
        self.outcomes: dict[str, Outcome] = {}

    def do(self, planned: Sequence[Planned], stop: StopRequest) -> list[Outcome]:
        """Do all that is not done; outcomes in the order the runs ended.

        Raises:
            KeyboardInterrupt: a signal asked to end; what ran has ended, or was left alone.
        """
        waiting = [run for run in planned if self.state(run) != "done"]
        patience = max((self.configs[r.name].deadlines.grace for r in waiting), default=0.0)
        try:
            with stop.put_off(patience + 2 * END_SECONDS):
                while waiting or self.live:
                    if stop.requested:
                        raise KeyboardInterrupt
                    self.start_next(waiting, stop)
                    self.look()
                    time.sleep(TICK_SECONDS)
                return list(self.outcomes.values())
        finally:
            self.end_all()

    def state(self, run: Planned) -> State:
        """How a run stands."""
        return state_of(self.configs[run.name])

    def start_next(self, waiting: list[Planned], stop: StopRequest) -> None:
        """Start one that can be started; what needs a failed one is given up."""
        for run in list(waiting):
            failed = [n for n in run.needs if n in self.outcomes and not self.outcomes[n].is_done]
            if failed:
                waiting.remove(run)
                self.note(Outcome(run, error=f"it needs {failed[0]}, which failed"))
        if len(self.live) >= self.jobs:
            return
        busy = {live.run.name for live in self.live} | {run.name for run in waiting}
        for run in waiting:
            if busy.isdisjoint(run.needs):
                waiting.remove(run)
                self.launch(run, stop)
                return

    def launch(self, run: Planned, stop: StopRequest) -> None:
        """Start a run, once nobody else holds its folder."""
        config = self.configs[run.name]
        try:
            wait_until_free(config, stop)
            if stop.requested:
                return
            self.tell(run, None)
            self.live.append(_Live(run, config, self.launcher.start(config)))
        except (CoevolveError, OSError) as error:
            self.note(Outcome(run, error=str(error)))

    def look(self) -> None:
        """See which have ended, and end those that take too long."""
        for live in list(self.live):
            try:
                code = live.process.poll()
            except CoevolveError as error:
                self.let_go(live, Outcome(live.run, live.seconds, str(error)))
                continue
            if code is not None:
                self.let_go(live, self.outcome(live, code))
            elif live.stopped is not None:
                if time.monotonic() - live.stopped > live.patience:
                    live.process.kill()
                    self.let_go(live, self.outcome(live, 137))
            elif live.seconds > self.longest:
                live.stopped = time.monotonic()
                live.process.stop()

    def outcome(self, live: _Live, code: int) -> Outcome:
        """What came of a run that ended with ``code``."""
        error = ""
        if live.stopped is not None:
            error = f"it took longer than {self.longest:g} s (longest)"
        elif code:
            error = f"exit code {code}\n{live.process.error()}"
        elif self.state(live.run) != "done":
            error = (
                f"it ended well, but {live.config.folder} does not hold a finished run; on a "
                "cluster the study's folder must be on a volume that the cluster has, too"
            )
        return Outcome(live.run, live.seconds, error)

    def let_go(self, live: _Live, outcome: Outcome) -> None:
        """A run has ended."""
        live.process.close()
        self.live.remove(live)
        self.note(outcome)

    def note(self, outcome: Outcome) -> None:
        """Keep an outcome, and tell it."""
        self.outcomes[outcome.run.name] = outcome
        self.tell(outcome.run, outcome)

    def end_all(self) -> None:
        """End what runs, each with time to save itself; on a cluster leave it alone."""
        if not self.launcher.leaves:
            for live in self.live:
                live.process.stop()
            end = time.monotonic() + max((live.patience for live in self.live), default=0.0)
            while any(live.process.poll() is None for live in self.live):
                if time.monotonic() > end:
                    break
                time.sleep(TICK_SECONDS)
            for live in self.live:
                if live.process.poll() is None:
                    live.process.kill()
        for live in self.live:
            live.process.close()
        self.live.clear()


def wait_until_free(config: RunConfig, stop: StopRequest) -> None:
    """Wait until no other process writes to the run folder.

    Raises:
        DeadlineError: one does for too long.
    """
    end = time.monotonic() + ORPHAN_SECONDS
    while not stop.requested:
        try:
            with held(config.folder):
                return
        except UserError:
            if time.monotonic() > end:
                raise DeadlineError(
                    f"another process to let go of {config.folder}", ORPHAN_SECONDS
                ) from None
        time.sleep(TICK_SECONDS)
