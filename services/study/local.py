"""Runs of a study as processes on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from contracts.config import RunConfig
from contracts.loading import dump_config
from services.run_folder import write_atomically
from services.study.place import Place
from services.study.states import last_error


@dataclass(frozen=True, slots=True)
class LocalRun:
    """A process. ``start``: where its part of the log begins."""

    process: subprocess.Popen[bytes]
    log: Path
    start: int
    note: Path | None = None
    """File with the id of the process."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.process.poll()

    def stop(self) -> None:
        """Ask it to save itself and end."""
        if self.process.poll() is None:
            self.process.terminate()

    def kill(self) -> None:
        """End it, and all that it started and is still in its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)

    def error(self) -> str:
        """What it said last."""
        return last_error(self.log, self.start)

    def close(self) -> None:
        """It has ended."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.note is not None:
            self.note.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Here:
    """Starts runs on this machine, each in a session of its own: Ctrl-C is ours to pass on."""

    place: Place
    leaves: bool = False
    """Whether runs go on when the study is ended."""

    def start(self, config: RunConfig) -> LocalRun:
        """Start a run, or go on with it."""
        file, log = self.place.config(config.name), self.place.log(config.name)
        note = self.place.process(config.name)
        for each in (file, log, note):
            each.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, dump_config(config))
        with log.open("ab") as output:
            start = output.tell()
            process = subprocess.Popen(
                [sys.executable, "-m", "services.study.child", "train", str(file), "--resume"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        note.write_text(str(process.pid), encoding="utf-8")
        return LocalRun(process, log, start, note)
