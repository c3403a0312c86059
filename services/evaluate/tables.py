"""Results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from rich.console import Console
from rich.table import Table

from services.evaluate.records import DatasetResult, Results, Versus
from services.records import JudgeRecord
from services.report.wording import interval, per_cent
from services.statistics import Difference, Score


def show(results: Results, console: Console) -> None:
    """Print everything that was found out, model by model."""
    for table in tables(results):
        console.print(table)
        console.print()


def tables(results: Results) -> Iterator[Table]:
    """The tables of all models and data sets, and of their comparison."""
    for model in results.models:
        for found in model.datasets:
            title = f"{model.name}, {found.name}, {found.tasks} tasks"
            if found.strategies:
                yield _strategies(title, found)
            if found.judge:
                yield _judge(title, found)
            for asked in found.rankings:
                yield _rankings(f"{title}, {asked}", found, asked)
    yield from _comparisons(results)


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.header_style = "dim"
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left", no_wrap=True)
    return table


def _strategies(title: str, found: DatasetResult) -> Table:
    table = _table(
        title,
        *("strategy", "accuracy (95 %)", "read", "sampled", "accepted"),
        *("to single", "to a majority as dear", "at equal tokens"),
    )
    for one in found.strategies:
        table.add_row(
            one.label,
            _with_interval(one.accuracy),
            f"{one.prompt_tokens:,.0f}",
            f"{one.generated_tokens:,.0f}",
            per_cent(one.accepted) if one.accepted is not None else "",
            _points(one.against_single),
            _beside_majority(one.against_majority),
            _points(one.against_mixture),
        )
    table.caption = (
        "Tokens of a task. Differences in points; * where p < 0.05 (McNemar, or permutations); "
        "in brackets the k of the majority. At equal tokens: to the best mixture of single pass "
        "and majorities."
    )
    table.caption_justify = "left"
    if found.too_long:
        table.caption += f" {found.too_long} prompts left no room in the context."
    return table


def _beside_majority(versus: Versus | None) -> str:
    """A difference in points, and the majority that it is to."""
    return "" if versus is None else f"{_points(versus)} ({versus.label.rsplit(maxsplit=1)[-1]})"


def _points(versus: Versus | None) -> str:
    """A difference in points, signed; a star where it is not chance."""
    return "" if versus is None else difference(versus.difference)


def difference(found: Difference) -> str:
    """``+4.2*``: in points; the star says that p is below 5 %."""
    if found.value is None:
        return ""
    return f"{100 * found.value:+.1f}".replace("-", "−") + ("*" if found.significant else " ")


def _span(found: Difference) -> str:
    """Its interval: ``-1.2 to +4.0``."""
    if found.low is None or found.high is None:
        return ""
    return f"{100 * found.low:+.1f} to {100 * found.high:+.1f}".replace("-", "−")


def _p(found: Difference) -> str:
    if found.p is None:
        return ""
    return "<0.001" if found.p < 0.001 else f"{found.p:.3f}"


def _judge(title: str, found: DatasetResult) -> Table:
    names = list(found.judge)
    table = _table(f"{title}: judging", "", *(f"{name} answers" for name in names))
    for label, text in JUDGE_ROWS:
        table.add_row(label, *(text(found.judge[name]) for name in names))
    return table


def _with_interval(score: Score) -> str:
    return f"{per_cent(score.value)} ({interval(score)})" if score.value is not None else "–"


JUDGE_ROWS: tuple[tuple[str, Callable[[JudgeRecord], str]], ...] = (
    ("candidates, verdicts", lambda r: f"{r.candidates}, {r.verdicts}"),
    ("balanced accuracy", lambda r: _with_interval(r.balanced_accuracy)),
    ("true positive rate", lambda r: _with_interval(r.true_positive_rate)),
    ("false positive rate", lambda r: _with_interval(r.false_positive_rate)),
    ("yes-rate", lambda r: _with_interval(r.yes_rate)),
    ("not read", lambda r: f"{r.unread}"),
    ("calibration error", lambda r: per_cent(r.calibration_error)),
    ("pairwise accuracy", lambda r: _with_interval(r.pairwise_accuracy)),
    ("same choice in both orders", lambda r: _with_interval(r.pairwise_consistency)),
    ("choices of the first", lambda r: _with_interval(r.pairwise_first_rate)),
    ("reflection: fix", lambda r: _with_interval(r.reflection_fix)),
    ("reflection: keep", lambda r: _with_interval(r.reflection_keep)),
    ("reflection: break", lambda r: _with_interval(r.reflection_break)),
)
"""Rows of the table on judging, each with how a record is shown."""


def _rankings(title: str, found: DatasetResult, asked: str) -> Table:
    table = _table(title, "part", "accuracy", "95 %", "both orders", "not read", "records")
    for one in found.rankings[asked]:
        consistency = one.consistency
        table.add_row(
            one.part or "all",
            per_cent(one.accuracy.value),
            interval(one.accuracy),
            per_cent(consistency.value) if consistency else "",
            per_cent(one.unread),
            str(one.accuracy.n),
        )
    return table


def _comparisons(results: Results) -> Iterator[Table]:
    """One for each two models, whose comparisons follow each other."""
    for pair, found in groupby(results.comparisons, key=lambda one: (one.second, one.first)):
        heads = ("data", "strategy", "difference", "95 %", "p", "tasks")
        table = _table(" against ".join(pair), *heads)
        for one in found:
            table.add_row(
                one.dataset,
                one.label,
                difference(one.difference),
                _span(one.difference),
                _p(one.difference),
                str(one.difference.n),
            )
        yield table
