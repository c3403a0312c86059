"""A plan on the terminal, and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from services.plan.answer import Answer
from services.plan.calibrated import Calibration
from services.plan.predict import Prediction

if TYPE_CHECKING:
    from services.plan.scaling import Comparison

DOTS_PER_INCH = 150


def show(answer: Answer, console: Console) -> None:
    """Print a line for each prediction, the proposal in words, and what was assumed."""
    if answer.title:
        console.print(answer.title, highlight=False)
    console.print(
        f"{answer.model}, {answer.parameters / 1e9:.3g} billion parameters; {answer.costs}",
        style="dim",
        highlight=False,
    )
    console.print(_table(answer.chosen))
    if answer.tried:
        for one in answer.chosen:
            console.print(proposal(one), highlight=False)
    console.print("Assumed:", style="dim")
    for line in answer.assumed:
        console.print(f"  {line}", style="dim", highlight=False)


def _table(predictions: Sequence[Prediction]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    heads = (
        "GPUs", "generators", "ranks", "tasks", "stale", "s/step", "generate", "update", "sync",
        "tokens/s", "efficiency", "gen. idle", "learner idle", "GB gen., rank", "$/step",
    )  # fmt: skip
    for head in heads:
        table.add_column(head, justify="right")
    for one in predictions:
        table.add_row(*_row(one, predictions[0]))
    return table


def _row(one: Prediction, first: Prediction) -> list[str]:
    layout, phases = one.layout, one.phases
    ways = f" x {layout.tensor_parallel}" if layout.tensor_parallel > 1 else ""
    need = max(one.memory["generator"], 0) if one.memory else 0.0
    memory = f"{need:.0f}, {one.memory['rank']:.0f}" if one.memory else ""
    return [
        str(layout.gpus),
        f"{layout.generators}{ways}",
        f"{layout.ranks}{' shared' if layout.shared else ''}",
        str(layout.tasks),
        str(layout.staleness),
        _seconds(one.step),
        _seconds(phases.get("generate", 0.0)),
        _seconds(phases.get("update", 0.0)),
        _seconds(phases.get("broadcast", 0.0)),
        f"{one.tokens_per_second:,.0f}",
        f"{efficiency(one, first):.0%}",
        f"{1 - one.sampling:.0%}",
        f"{one.idle['learner']:.0%}",
        memory + ("" if one.fits else " too much"),
        "" if one.cost is None else f"{one.cost:.3g}",
    ]


def efficiency(one: Prediction, first: Prediction) -> float:
    """Tokens a second and GPU, over those of the first."""
    each = one.tokens_per_second / one.layout.gpus
    return each / (first.tokens_per_second / first.layout.gpus)


def proposal(one: Prediction) -> str:
    """What to do, in a sentence."""
    layout = one.layout
    ways = f" of {layout.tensor_parallel} GPUs" if layout.tensor_parallel > 1 else ""
    if layout.shared:
        return f"{layout.gpus} GPUs, shared: {layout.generators} generators and as many ranks."
    return (
        f"{layout.gpus} GPUs: generators.count={layout.generators}{ways}, "
        f"learner.ranks={layout.ranks}, max_staleness={layout.staleness}, "
        f"tasks_per_step={layout.tasks}. {pace(one)} the pace."
    )


def pace(one: Prediction) -> str:
    """Who sets the pace."""
    if one.phases.get("grade", 0.0) > one.step / 4:
        return "Grading and routing set"
    if one.idle["learner"] > one.idle["generators"]:
        return "The generators set"
    return "The learner sets"


def show_calibration(found: Calibration, console: Console) -> None:
    """Print the constants of a machine."""
    console.print(f"{found.model}: {found.machine}", highlight=False)
    fit = found.generator
    console.print(
        f"a sequence {1e6 * fit.sequence:.0f} us, an engine step {1e3 * fit.step:.2f} ms, a token "
        f"{1e6 * fit.token:.1f} us, of a prompt {1e6 * fit.prompt:.1f} us "
        f"(error {fit.error:.0%}); times so much with so many generators at once: "
        + ", ".join(f"{n}: {times:.2f}" for n, times in found.crowd.items()),
        highlight=False,
    )
    for ranks, update in found.updates.items():
        console.print(
            f"an update on {ranks} ranks {1e3 * update.fixed:.1f} ms, a token "
            f"{1e6 * update.token:.1f} us (error {update.error:.0%})",
            highlight=False,
        )
    sends = ", ".join(f"{n}: {1e3 * seconds:.0f}" for n, seconds in found.broadcasts.items())
    console.print(f"a broadcast by receivers, ms: {sends}", highlight=False)
    console.print(
        f"grading and routing {1e6 * found.routing:.0f} us a completion beside sampling; a step "
        f"{1e3 * (found.grading + found.recycling + found.bookkeeping):.1f} ms besides; others "
        f"kept {found.load:.2f} of {found.cores} cores busy",
        highlight=False,
    )


def show_comparison(found: Comparison, console: Console) -> None:
    """Print measured and predicted steps side by side."""
    show_calibration(found.calibration, console)
    # All of it in 80 columns.
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    heads = ("gen.", "ranks", "stale", "s/step", "least", "most", "predicted", "error",
             "learner idle", "predicted", "others")  # fmt: skip
    for head in heads:
        table.add_column(head, justify="right")
    for one in found.points:
        table.add_row(
            str(one.generators),
            str(one.ranks),
            str(one.staleness),
            f"{one.measured:.3f}",
            f"{min(one.rounds):.3f}",
            f"{max(one.rounds):.3f}",
            f"{one.predicted:.3f}",
            "fitted" if one.calibrated else f"{one.error:+.0%}",
            f"{one.idle['learner']:.0%}",
            f"{one.predicted_idle['learner']:.0%}",
            f"{one.load:.2f}",
        )
    console.print(table)
    console.print(
        f"error of those that were not fitted: median {found.median_error:.1%}, "
        f"greatest {found.greatest_error:.1%}",
        highlight=False,
    )


def _seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def plot(answer: Answer, path: Path) -> None:
    """Step time and tokens a second over GPUs; of one number of GPUs, over the split."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    from services.report.charts import STYLE

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        if len(answer.chosen) > 1:
            shown, label = list(answer.chosen), "GPUs"
            places = [one.layout.gpus for one in shown]
        else:
            top = answer.chosen[0].layout
            same = [
                one
                for one in answer.tried
                if (one.layout.staleness, one.layout.tasks) == (top.staleness, top.tasks)
                and one.layout.tensor_parallel == top.tensor_parallel
            ]
            shown, label = same or list(answer.chosen), "learner ranks"
            places = [one.layout.ranks for one in shown]
        for name, colour in (
            ("generate", "#0b6bcb"),
            ("update", "#d9480f"),
            ("broadcast", "#0c8f6a"),
        ):
            left.plot(
                places, [o.phases.get(name, 0.0) for o in shown], "o-", color=colour, label=name
            )
        left.plot(places, [one.step for one in shown], "o-", color="#3b4252", label="step")
        right.plot(places, [one.tokens_per_second for one in shown], "o-", color="#3b4252")
        if len(answer.chosen) > 1 and places[0] != places[-1]:
            ideal = [shown[0].tokens_per_second * place / places[0] for place in places]
            right.plot(places, ideal, ":", color="#9aa5b1", label="ideal")
            right.legend(frameon=False)
            for axes in (left, right):
                axes.set_xscale("log", base=2)
                axes.set_yscale("log")
                axes.set_xticks(places, [str(place) for place in places])
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
                axes.yaxis.set_minor_formatter(NullFormatter())
        for axes, title in ((left, "seconds a step"), (right, "completion tokens a second")):
            axes.set_xlabel(label)
            axes.set_title(title, fontsize=10)
            axes.grid(visible=True)
        left.legend(frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=DOTS_PER_INCH)
