"""The report of a study, as a page that needs no other file."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from services.report.wording import duration
from services.run_folder import write_atomically
from services.statistics import Score, smallest_p
from services.study.charts import Entry, Plot, colour_of, law_text, plots_of, title_of
from services.study.comparing import (
    Against,
    Line,
    against_baseline,
    along,
    efficiencies,
    numeric_axes,
)
from services.study.expand import Planned
from services.study.measures import MEASURES, Measure
from services.study.place import STUDIES, Place
from services.study.results import Result, Spread
from services.study.spec import Study, shipped_names
from services.study.states import last_error
from services.study.table import Collected

HERE = Path(__file__).parent
STYLE = HERE.parent / "report" / "style.css"
SHARES = ("share", "difference")
"""Units that are shown as per cent."""
SHORT = 0.98
"""A run that used less than this share of what is held equal is pointed out."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot, drawn."""

    plot: Plot
    svg: Markup

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Its legend; none where there is one line."""
        return self.plot.entries if len(self.plot.entries) > 1 else ()


@dataclass(frozen=True, slots=True)
class Row:
    """A configuration in the tables."""

    title: str
    look: Entry
    result: Result

    def end(self, measure: Measure) -> Spread | None:
        """A measure at the end, or of the run."""
        found = self.result.measures.get(measure.name, {})
        return found.get("end" if measure.kind == "score" else "run")

    def own(self, common: Mapping[str, Any]) -> dict[str, Any]:
        """What it sets that not all set."""
        return {k: v for k, v in self.result.changes.items() if k not in common}


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run in the list of runs."""

    name: str
    state: str
    steps: int
    time: str
    error: str


@dataclass(frozen=True, slots=True)
class Law:
    """A power law in the table of fits."""

    measure: Measure
    axis: str
    line: Line

    @property
    def text(self) -> str:
        """The exponent and its interval."""
        return law_text(self.line)


def write_page(found: Collected, results: Sequence[Result], place: Place) -> Path:
    """Write plots and the page; returns the page's path."""
    place.plots.mkdir(parents=True, exist_ok=True)
    sections = plots_of(found)
    keep = {f"{plot.id}.png" for plots in sections.values() for plot in plots}
    for file in place.plots.glob("*.png"):
        if file.name not in keep:
            file.unlink()
    pictures = {
        section: [Picture(plot, Markup(plot.save(place.plots))) for plot in plots]
        for section, plots in sections.items()
    }
    write_atomically(place.report, page(found, results, place, pictures))
    return place.report


def page(
    found: Collected,
    results: Sequence[Result],
    place: Place,
    pictures: dict[str, list[Picture]],
) -> str:
    """The page, as HTML."""
    study = found.study
    measures = [MEASURES[name] for name in study.measure]
    rows = [
        Row(title_of(run), colour_of(i), result)
        for i, (run, result) in enumerate(zip(found.configurations, results, strict=True))
    ]
    lines = [run_line(found, run, place) for run in found.planned]
    titles = {run.configuration: title_of(run) for run in found.configurations}
    return _template().render(
        study=study,
        rows=rows,
        titles=titles,
        scores=[m for m in measures if m.kind == "score"],
        figures=[m for m in measures if m.kind == "figure"],
        lines=lines,
        done=sum(line.state == "finished" for line in lines),
        failed=[line for line in lines if line.error],
        facts=facts(found, results, lines),
        pictures=pictures,
        against=compared(found),
        smallest=smallest_p(len(study.seed_list)),
        seeds_only=study.seed_fields == ("seed",),
        efficiency=efficiencies(found),
        laws=laws(found),
        short=short_of_budget(found),
        common=common_changes(results),
        notes=found.notes,
        commands=commands_of(study, place),
        css=Markup(STYLE.read_text(encoding="utf-8")),
    )


def commands_of(study: Study, place: Place) -> list[str]:
    """The commands that do the study again, or go on with it."""
    shipped = study.name in shipped_names() and not study.force
    which = [study.name if shipped else str(place.study)]
    if place.root.parent != STUDIES:
        which += ["--dir", str(place.root.parent)]
    commands = [["coevolve", "study", "run", *which]]
    if place.at is not None:
        commands.append(["coevolve", "study", "report", *which, "--at", str(place.at)])
    return [shlex.join(command) for command in commands]


def run_line(found: Collected, run: Planned, place: Place) -> RunLine:
    """How a run went."""
    there = found.runs.get(run.name)
    if there is None:
        return RunLine(run.name, "to do", 0, "–", "")
    state = there.summary.status if there.summary else "cut off"
    seconds = sum(timing.seconds for timing in there.timing)
    error = last_error(place.log(run.name)) if state == "failed" else ""
    return RunLine(run.name, state, len(there.metrics), duration(seconds), error)


def facts(
    found: Collected, results: Sequence[Result], lines: Sequence[RunLine]
) -> list[tuple[str, str]]:
    """Names and values for the head of the page."""
    study = found.study
    done = sum(line.state == "finished" for line in lines)
    seconds = sum(t.seconds for run in found.runs.values() for t in run.timing)
    models = {
        f"{run.summary.model.name}, {run.summary.model.parameters:,} parameters"
        for run in found.runs.values()
        if run.summary
    }
    held = ", ".join(f"{amount:,g} {what.replace('_', ' ')}" for what, amount in study.hold.items())
    all_facts = [
        ("runs", f"{done} of {len(lines)} done"),
        ("seeds", str(len(study.seed_list))),
        ("held equal", held or equal_steps(found)),
        ("model", "; ".join(sorted(models))),
        ("time of all steps", duration(seconds)),
        ("machine", "; ".join(dict.fromkeys(m for r in results for m in r.machines))),
    ]
    return [(name, value) for name, value in all_facts if value]


def equal_steps(found: Collected) -> str:
    """The number of steps of all finished runs, if it is one."""
    steps = {len(run.metrics) for name, run in found.runs.items() if found.is_done(name)}
    return f"{steps.pop():,} steps" if len(steps) == 1 else ""


def common_changes(results: Sequence[Result]) -> dict[str, Any]:
    """What all configurations set alike."""
    first, *others = (result.changes for result in results)
    return {
        field: value
        for field, value in first.items()
        if others and all(field in each and each[field] == value for each in others)
    }


def compared(found: Collected) -> dict[str, dict[str, Against]]:
    """Comparisons with the baseline in held-out scores, by configuration and measure."""
    table: dict[str, dict[str, Against]] = {}
    for against in against_baseline(found):
        if against.measure.kind == "score":
            table.setdefault(against.configuration, {})[against.measure.name] = against
    return table


def laws(found: Collected) -> list[Law]:
    """All fits."""
    return [
        Law(MEASURES[name], axis.title or field, line)
        for field, axis in numeric_axes(found.study).items()
        for name in found.study.measure
        for line in along(found, field, MEASURES[name])
        if line.law is not None
    ]


def short_of_budget(found: Collected) -> list[str]:
    """Finished runs that ended by their steps before what is held equal was used up."""
    held = {what: amount for what, amount in found.study.hold.items() if what != "steps"}
    short = []
    for what, amount in held.items():
        measure = MEASURES[what]
        for run in found.planned:
            if not found.is_done(run.name):
                continue
            used = [value.value for value in measure.values(found.runs[run.name])]
            if used and used[0] < SHORT * amount:
                short.append(f"{run.name}: {used[0]:,.0f} of {amount:,g} {what.replace('_', ' ')}")
    return short


def amount(value: float | None, unit: str) -> str:
    """A value with its unit, short: ``36.4 %``, ``1,234``, ``0.52``."""
    if value is None:
        return "–"
    if unit in SHARES:
        return f"{100 * value:.1f}\N{NO-BREAK SPACE}%".replace("-", "−")
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def between(low: float | None, high: float | None, unit: str) -> str:
    """An interval without its unit."""
    if low is None or high is None:
        return ""
    if unit in SHARES:
        return f"{100 * low:.1f} to {100 * high:.1f}".replace("-", "−")
    return f"{amount(low, unit)} to {amount(high, unit)}".replace("-", "−")


def points(value: float | None) -> str:
    """A difference of shares in points, signed."""
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def score_interval(score: Score, unit: str) -> str:
    """The interval of a score over seeds."""
    return between(score.low, score.high, unit)


def yaml_like(values: dict[str, object]) -> str:
    """Settings in one line."""
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in values.items())


def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "amount": amount,
        "points": points,
        "between": between,
        "score_interval": score_interval,
        "settings": yaml_like,
    }
    return environment.get_template("study.html")
