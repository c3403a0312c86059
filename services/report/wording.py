"""What a report says in words: names of scores, and sentences on how they moved."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.types import Objective
from services.records import SCORES
from services.statistics import Score

SPACE = "\N{NO-BREAK SPACE}"
HALF = f"50{SPACE}%"

OBJECTIVES = {
    Objective.SOLVE: "solve",
    Objective.POINTWISE: "judge one (pointwise)",
    Objective.PAIRWISE: "judge two (pairwise)",
    Objective.REFLECT: "reflect",
}

SCORE_TITLES = {
    "policy_accuracy": "Solving",
    "judge_accuracy": "Judging one answer",
    "pairwise_accuracy": "Judging two answers",
    "reflection_fix_rate": "Mending wrong answers",
    "reflection_keep_rate": "Keeping right answers",
    "judge_yes_rate": "Share of “yes”",
}
"""Held-out scores in the order they are shown."""

SCORE_MEANINGS = {
    "policy_accuracy": "share of questions answered right",
    "judge_accuracy": "is the answer right? balanced over right and wrong ones; chance is 50"
    + SPACE
    + "%",
    "pairwise_accuracy": f"which of two answers is right? chance is {HALF}",
    "reflection_fix_rate": "shown a wrong answer, ends with the right one",
    "reflection_keep_rate": "shown a right answer, ends with it",
    "judge_yes_rate": "share of yes among the verdicts; half of the cases are right",
}

JUDGE_FIGURES = {
    "balanced_accuracy": ("Judging one answer", f"balanced over right and wrong; chance is {HALF}"),
    "true_positive_rate": ("Yes to right answers", "higher is better"),
    "false_positive_rate": ("Yes to wrong answers", "lower is better"),
    "yes_rate": ("Share of “yes”", "among the verdicts that could be read"),
    "calibration_error": (
        "Calibration error",
        "how far the share of yes among repeated verdicts is from how often answers are right",
    ),
    "pairwise_accuracy": ("Judging two answers", f"each pair in both orders; chance is {HALF}"),
    "pairwise_consistency": ("Same choice in both orders", "wherever the right answer stands"),
    "pairwise_first_rate": ("First answer chosen", f"{HALF} without a preference"),
    "reflection_fix": ("Wrong answers mended", "fix"),
    "reflection_keep": ("Right answers kept", "keep"),
    "reflection_break": ("Right answers made wrong", "break"),
}
"""Title and meaning of each figure of ``services.records.JudgeRecord``, in the order shown."""

REASONS = {
    "ok": "read and graded",
    "no_answer": "no answer found",
    "truncated": "cut at the length limit",
    "timeout": "grader ran out of time",
    "error": "grader failed",
}


def per_cent(value: float | None) -> str:
    """``0.364`` as ``36.4 %``; a dash where there is no value."""
    return "–" if value is None else f"{100 * value:.1f}{SPACE}%"


def interval(score: Score | None) -> str:
    """The interval of a score: ``33.5–41.9``."""
    if score is None or score.low is None or score.high is None:
        return ""
    return f"{100 * score.low:.1f}–{100 * score.high:.1f}"


def duration(seconds: float) -> str:
    """Seconds as ``1 h 02 min``, ``6 min 12 s`` or ``41 s``."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{seconds:.0f} s"


def change(before: Score | None, after: Score | None) -> str:
    """The change in points, signed; empty if one end was not measured."""
    if before is None or after is None or before.value is None or after.value is None:
        return ""
    return f"{100 * (after.value - before.value):+.1f}".replace("-", "−")


def moved(before: Score | None, after: Score | None) -> str:
    """``rose``, ``fell`` or ``unclear``: only intervals that are apart count as a change."""
    if before is None or after is None or not before.is_apart_from(after):
        return "unclear"
    assert before.value is not None
    assert after.value is not None
    return "rose" if after.value > before.value else "fell"


def findings(before: Mapping[str, Score], after: Mapping[str, Score]) -> list[str]:
    """A sentence for each way the scores went; none where an end was not measured."""
    by_way: dict[str, list[str]] = {"rose": [], "fell": [], "unclear": []}
    for name in SCORES:
        start, end = before.get(name), after.get(name)
        if start and end and start.value is not None and end.value is not None:
            figures = f"{per_cent(start.value)} to {per_cent(end.value)}"
            text = f"{SCORE_TITLES[name].lower()} ({figures})"
            by_way[moved(start, end)].append(text)
    heads = {
        "rose": "Up: ",
        "fell": "Down: ",
        "unclear": "No change beyond the 95 % intervals: ",
    }
    return [heads[way] + ", ".join(texts) + "." for way, texts in by_way.items() if texts]
