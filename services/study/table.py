"""The tidy table of a study: a row for every value that was measured in any of its runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.errors import UserError
from services.run_folder import CONFIG, Run, read_run
from services.study.expand import Planned, labels, points, run_name
from services.study.expand import configuration_name as name_of
from services.study.measures import MEASURES, Value, When
from services.study.place import Place
from services.study.spec import Study, is_number


@dataclass(frozen=True, slots=True)
class Row:
    """A measured value, with what it was measured on. ``point``: values of the axes by field."""

    configuration: str
    arm: str
    point: tuple[tuple[str, Any], ...]
    seed: int
    measure: str
    when: When
    step: int
    value: float


@dataclass(frozen=True)
class Collected:
    """All that a study has measured so far. ``runs``: by name, as far as they can be read."""

    study: Study
    planned: tuple[Planned, ...]
    rows: tuple[Row, ...]
    runs: Mapping[str, Run]
    notes: tuple[str, ...]

    @property
    def configurations(self) -> list[Planned]:
        """One run of each configuration, in the order of the study."""
        first: dict[str, Planned] = {}
        for arm in self.study.arms or ("",):
            for point in points(self.study):
                name = name_of(self.study, arm, point)
                first[name] = next(run for run in self.planned if run.configuration == name)
        return list(first.values())

    def is_done(self, name: str) -> bool:
        """Whether a run has ended by itself."""
        run = self.runs.get(name)
        return run is not None and run.summary is not None and run.summary.status == "finished"

    def by_seed(self, configuration: str, measure: str, when: When) -> dict[int, float]:
        """Values of finished runs by seed."""
        return {
            row.seed: row.value
            for row in self.rows
            if (row.configuration, row.measure, row.when) == (configuration, measure, when)
            and self.is_done(run_name(configuration, row.seed))
        }


def collect(study: Study, planned: Sequence[Planned], place: Place) -> Collected:
    """Read every run that is there, of unfinished ones what they have.

    Of a ``place`` with a step the runs are read as they were after it, and steps are what is held
    equal; what has not come that far is left out.
    """
    runs: dict[str, Run] = {}
    notes: list[str] = []
    for run in planned:
        folder = place.runs / run.name
        if not (folder / CONFIG).is_file():
            continue
        try:
            found = read_run(folder)
        except UserError as error:
            notes.append(str(error))
            continue
        if place.at is None:
            runs[run.name] = found
        elif len(found.metrics) >= place.at:
            runs[run.name] = found.until(place.at)
    values = {
        name: [v for measure in study.measure for v in MEASURES[measure].values(run)]
        for name, run in runs.items()
    }
    rows = [row for run in planned for row in _rows(study, run, values)]
    if place.at is not None:
        study = study.model_copy(update={"hold": {"steps": place.at}})
        notes.append(f"Held equal: {place.at:,} steps; runs are read as they were then.")
    return Collected(study, tuple(planned), tuple(rows), runs, tuple(notes))


def _rows(study: Study, run: Planned, values: Mapping[str, Iterable[Value]]) -> Iterator[Row]:
    """The rows of a run; what its arm takes from another is read there."""
    arm = study.arms.get(run.arm)
    take = arm.take if arm else {}
    own = [value for value in values.get(run.name, ()) if value.measure not in take]
    taken = [
        value
        for measure, other in take.items()
        for value in values.get(run_name(name_of(study, other, run.point), run.seed), ())
        if value.measure == measure
    ]
    for v in own + taken:
        yield Row(
            run.configuration, run.arm, run.point, run.seed, v.measure, v.when, v.step, v.value
        )


def write_table(found: Collected, place: Place) -> None:
    """Write ``table.csv`` and ``table.parquet``; numbers of axes are numbers there, too."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    rows = found.rows
    columns: dict[str, Any] = {
        "study": pa.array([found.study.name] * len(rows), pa.string()),
        "configuration": pa.array([row.configuration for row in rows], pa.string()),
        "arm": pa.array([row.arm for row in rows], pa.string()),
    }
    for field in labels(found.study):
        cells = [dict(row.point)[field] for row in rows]
        if all(is_number(cell) for cell in cells):
            columns[field] = pa.array([float(cell) for cell in cells], pa.float64())
        else:
            columns[field] = pa.array([str(cell) for cell in cells], pa.string())
    columns |= {
        "seed": pa.array([row.seed for row in rows], pa.int64()),
        "measure": pa.array([row.measure for row in rows], pa.string()),
        "when": pa.array([row.when for row in rows], pa.string()),
        "step": pa.array([row.step for row in rows], pa.int64()),
        "value": pa.array([row.value for row in rows], pa.float64()),
    }
    table = pa.table(columns)
    place.written.mkdir(parents=True, exist_ok=True)
    pyarrow.csv.write_csv(table, place.written / "table.csv")
    pyarrow.parquet.write_table(table, place.written / "table.parquet")
