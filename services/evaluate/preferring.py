"""Reward benchmarks: does the model prefer the response that people prefer?

Pointwise, each response is judged alone, several times; its share of yes is its score, and the
best score wins. Equal scores share the win, as a draw by lot would. Of RewardBench 2's part Ties,
where several responses are right alike, all of them must score above all others.
Pairwise, two responses are compared in both orders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from contracts.grammar import FIRST, NO, SECOND, YES
from contracts.types import Candidate, Group, GroupSummary, Prompt
from recycler.prompts import pairwise_prompt, pointwise_prompt
from services.evaluate.judging import judge_record, read_verdicts, summaries_of
from services.evaluate.records import Ranking
from services.statistics import mean_by_task
from services.tasks.preferences import TIES, Preference

Sample = Callable[[Sequence[Prompt], int], Sequence[Group | None]]
"""So many graded completions of each prompt; None where it did not fit."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One record and what it earned; of how many verdicts how many could not be read."""

    preference: Preference
    earned: tuple[float, ...]
    summaries: tuple[GroupSummary, ...]


def rank(
    preferences: Sequence[Preference], sample: Sample, *, style: str, verdicts: int, seed: int
) -> dict[str, tuple[Ranking, ...]]:
    """Rankings of a reward benchmark by how the judge was asked, each whole and by its parts."""
    found = {"pointwise": _rankings(_pointwise(preferences, sample, style, verdicts, seed))}
    if all(len(p.good) == len(p.bad) == 1 for p in preferences):
        found["pairwise"] = _rankings(_pairwise(preferences, sample, style, verdicts, seed))
    return found


def _pointwise(
    preferences: Sequence[Preference], sample: Sample, style: str, verdicts: int, seed: int
) -> list[Judged]:
    shown = [preference.candidates(seed) for preference in preferences]
    flat = [candidate for several in shown for candidate in several]
    prompts = [pointwise_prompt(c, style, seed, reasoning=True) for c in flat]
    groups = iter(sample(prompts, verdicts))
    judged = []
    for preference, several in zip(preferences, shown, strict=True):
        mine = [next(groups) for _ in several]
        scores = [_share_of_yes(group) for group in mine]
        earned = credit(preference, several, scores)
        judged.append(Judged(preference, (earned,), tuple(summaries_of(mine))))
    return judged


def credit(
    preference: Preference, candidates: Sequence[Candidate], scores: Sequence[float]
) -> float:
    """What scores earn: 1 for the right order, 0 for a wrong one, between them for a draw."""
    good = [score for c, score in zip(candidates, scores, strict=True) if c.correct]
    bad = [score for c, score in zip(candidates, scores, strict=True) if not c.correct]
    if preference.subset == TIES:
        return float(min(good) > max(bad))
    top = max((*good, *bad))
    return good.count(top) / (good.count(top) + bad.count(top))


def _share_of_yes(group: Group | None) -> float:
    if group is None:
        return 0.0
    said = read_verdicts(GroupSummary.of(group))
    return sum(verdict == YES for verdict in said) / len(said)


def _pairwise(
    preferences: Sequence[Preference], sample: Sample, style: str, verdicts: int, seed: int
) -> list[Judged]:
    prompts = []
    for preference in preferences:
        right, wrong = sorted(preference.candidates(seed), key=lambda c: not c.correct)
        prompts += [
            pairwise_prompt(right, wrong, style, seed, right_first=first, reasoning=True)
            for first in (True, False)
        ]
    groups = iter(sample(prompts, verdicts))
    judged = []
    for preference in preferences:
        summaries = summaries_of([next(groups), next(groups)])
        hits = [float(hit) for summary in summaries for hit in summary.correct]
        judged.append(Judged(preference, tuple(hits) or (0.0,), tuple(summaries)))
    return judged


def _rankings(judged: Sequence[Judged]) -> tuple[Ranking, ...]:
    parts = sorted({one.preference.subset for one in judged} - {""})
    whole = _ranking("", judged)
    if len(parts) < 2:
        return (whole,)
    return (
        whole,
        *(_ranking(part, [j for j in judged if j.preference.subset == part]) for part in parts),
    )


def _ranking(part: str, judged: Sequence[Judged]) -> Ranking:
    summaries = [summary for one in judged for summary in one.summaries]
    consistency = judge_record(summaries).pairwise_consistency
    return Ranking(
        part=part,
        accuracy=mean_by_task([one.earned for one in judged]),
        consistency=consistency if consistency.n else None,
        unread=_unread(summaries),
    )


def _unread(summaries: Iterable[GroupSummary]) -> float:
    said = [verdict for summary in summaries for verdict in read_verdicts(summary)]
    readable = (YES, NO, FIRST, SECOND)
    return sum(verdict not in readable for verdict in said) / len(said) if said else 0.0
