"""The files of an evaluation: results, every answer, candidates for another judge, pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.evaluate.plots import draw_accuracy, draw_reliability
from services.evaluate.records import Results
from services.run_folder import write_atomically

if TYPE_CHECKING:
    from services.evaluate.run import Measured
    from services.evaluation import BankEntry

RESULTS, ANSWERS, CANDIDATES = "results.json", "answers.jsonl", "candidates.jsonl"


def write(results: Results, measured: Mapping[str, Mapping[str, Measured]], out: Path) -> None:
    """Write everything into ``out``; files of a former evaluation there are replaced."""
    write_atomically(out / RESULTS, results.model_dump_json(indent=2) + "\n")
    _write_lines(out / ANSWERS, answers(measured))
    _write_lines(out / CANDIDATES, candidates(measured))
    for dataset in sorted({d.name for model in results.models for d in model.datasets}):
        draw_accuracy(results, dataset, out / f"accuracy-{safe(dataset)}.png")
        draw_reliability(results, dataset, out / f"reliability-{safe(dataset)}.png")


def safe(name: str) -> str:
    """``name`` as part of a file name."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


def answers(measured: Mapping[str, Mapping[str, Measured]]) -> Iterator[dict[str, Any]]:
    """Every answer of every strategy, a line each."""
    for model, datasets in measured.items():
        for dataset, one in datasets.items():
            for scored in one.scored:
                for outcome in scored.outcomes:
                    yield {
                        "model": model,
                        "dataset": dataset,
                        "strategy": scored.strategy.label,
                        "task": outcome.task.id,
                        "gold": outcome.task.gold,
                        "answers": [None if r is None else r.answer for r in outcome.chosen],
                        "correct": [value > 0 for value in scored.worth(outcome)],
                        "accepted": outcome.accepted,
                        "rounds": outcome.rounds,
                        "prompt_tokens": outcome.cost.prompt,
                        "generated_tokens": outcome.cost.generated,
                    }


def candidates(measured: Mapping[str, Mapping[str, Measured]]) -> Iterator[dict[str, Any]]:
    """The answers that judging was measured on, as ``--judge-set`` and ``recycle`` read them.

    Those of the first model alone: they are the fixed set of the others.
    """
    for datasets in list(measured.values())[:1]:
        for one in datasets.values():
            for entry in one.bank:
                yield from _candidates(entry)


def _candidates(entry: BankEntry) -> Iterator[dict[str, Any]]:
    task = entry.task
    for candidate in (entry.right, entry.wrong):
        if candidate is not None:
            yield {
                "task": {
                    "id": task.id,
                    "question": task.question,
                    "gold": task.gold,
                    "verifier": task.verifier,
                    "images": list(task.images),
                },
                "id": candidate.completion_id,
                "response": candidate.reasoning,
                "grade": {
                    "reward": float(candidate.correct),
                    "correct": candidate.correct,
                    "extracted": candidate.answer,
                    "reason": "ok",
                },
            }


def _write_lines(path: Path, lines: Iterator[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    if text:
        write_atomically(path, text)
