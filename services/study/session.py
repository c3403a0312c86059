"""``coevolve study``: a study run, shown and reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.config import RunConfig
from contracts.errors import UserError
from contracts.problems import together
from contracts.yaml_lines import Document
from services.run_folder import write_atomically
from services.signals import StopRequest
from services.study.expand import Planned, configure, configure_all, expand
from services.study.place import Place
from services.study.results import Result, note_machine, read_machines, results_of, write_results
from services.study.runner import Launcher, Outcome, Runner
from services.study.spec import Study, find_study, load_study
from services.study.states import State, changes_of, is_running, state_of
from services.study.table import Collected, collect, write_table

Say = Callable[[str], None]


@dataclass(frozen=True)
class Session:
    """A study that is checked: its runs and all their configurations."""

    study: Study
    place: Place
    planned: list[Planned]
    configs: dict[str, RunConfig]

    def states(self) -> dict[str, State]:
        """How every run stands."""
        return {run.name: state_of(self.configs[run.name]) for run in self.planned}


def prepare(study: Study, folder: Path, path: Path, document: Document) -> Session:
    """Check a study whole.

    Args:
        study: what is asked for.
        folder: where studies are.
        path: the file it came from.
        document: its lines.

    Raises:
        UserError: all that is wrong with it.
    """
    place = Place(folder / study.name)
    planned = expand(study, place)
    configs = configure_all(planned, place, path, document)
    changed = changes_of([(run, configs[run.name]) for run in planned])
    if changed:
        raise together(changed, "runs were started otherwise")
    return Session(study, place, planned, configs)


def run(
    session: Session, launcher: Launcher, *, jobs: int, machine: str, stop: StopRequest, say: Say
) -> list[Outcome]:
    """Do all runs that are not done, and report.

    Returns:
        What came of those that were done now; the others were done before.

    Raises:
        UserError: the study is being run already.
        KeyboardInterrupt: a signal asked to end; the report is of what is there.
    """
    place = session.place
    with place.held():
        place.root.mkdir(parents=True, exist_ok=True)
        write_atomically(place.study, session.study.text())
        note_machine(place, machine)
        states = session.states()
        done = sum(state == "done" for state in states.values())
        say(f"{session.study.name}: {len(states)} runs, {done} done, {len(states) - done} to do")
        progress = Progress(session, say, done)
        runner = Runner(
            session.configs,
            launcher,
            jobs=jobs,
            longest=session.study.longest,
            tell=progress.tell,
        )
        with reported(session):
            return runner.do(session.planned, stop)


@contextmanager
def reported(session: Session) -> Iterator[None]:
    """However the block ends, leave tables, results and a report behind."""
    try:
        yield
    finally:
        write_all(session.study, session.planned, session.place)


class Progress:
    """Tells of starts and ends, a line each."""

    def __init__(self, session: Session, say: Say, done: int) -> None:
        self.session, self.say, self.done = session, say, done

    def tell(self, run: Planned, outcome: Outcome | None) -> None:
        """A run was started (None), or has ended."""
        if outcome is None:
            self.say(f"  {run.name}: started")
            return
        if not outcome.is_done:
            first, *rest = outcome.error.splitlines()
            more = "".join(f"\n    {line}" for line in rest)
            self.say(f"  {run.name}: failed after {outcome.seconds:.0f} s: {first}{more}")
            return
        self.done += 1
        of = f"{self.done} of {len(self.session.planned)}"
        self.say(f"  {run.name}: done in {outcome.seconds:.0f} s ({of})")
        found = collect(self.session.study, self.session.planned, self.session.place)
        write_figures(found, self.session.place)


def write_figures(found: Collected, place: Place) -> list[Result]:
    """Write the table and the results."""
    results = results_of(found, read_machines(place))
    write_table(found, place)
    write_results(results, place)
    return results


def write_all(study: Study, planned: Sequence[Planned], place: Place) -> Path:
    """Write table, results, plots and the report out of what is there."""
    found = collect(study, planned, place)
    results = write_figures(found, place)
    from services.study.page import write_page

    return write_page(found, results, place)


def known_study(argument: str, folder: Path) -> tuple[Study, Place]:
    """The study meant by STUDY for `status` and `report`: as it was run, where it was.

    Raises:
        UserError: there is none.
    """
    for root in (folder / argument, Path(argument)):
        if (root / "study.yaml").is_file():
            place = Place(root)
            return load_study(place.study)[0], place
    try:
        study = load_study(find_study(argument))[0]
    except UserError as error:
        ran = sorted(file.parent.name for file in folder.glob("*/study.yaml"))
        hint = f" Run so far: {', '.join(ran)}." if ran else ""
        raise UserError(error.what, where=error.where, remedy=f"{error.remedy}{hint}") from error
    return study, Place(folder / study.name)


def states_of(planned: Sequence[Planned], place: Place) -> dict[str, State]:
    """How every run of a study stands now."""
    states: dict[str, State] = {}
    for run in planned:
        state = state_of(configure(run, place))
        runs = state != "done" and is_running(run.name, place)
        states[run.name] = "running" if runs else state
    return states
