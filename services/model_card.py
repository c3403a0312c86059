"""The README of an exported model: what it is, how it was trained, how well it does."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.config import RunConfig
from contracts.loading import dump_config
from services.live import HEADS, score_text
from services.records import EvaluationRecord
from services.versions import versions

CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags: [coevolve, spark, reinforcement-learning]
---
# {name}

`{model}` after {step} of {steps} steps of reinforcement learning with verifiable rewards, in
which it learnt to solve and to judge at once: its verified answers were recycled into prompts
that ask it to judge, to compare and to mend them (SPARK, arXiv 2509.22624).

It was made by a research run; it has not been examined for safety or for any use.

## Held-out scores

In per cent, with 95 % intervals. Judging is balanced over right and wrong answers.

{scores}

## How to load it

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(FOLDER)
tokenizer = AutoTokenizer.from_pretrained(FOLDER)
```

Prompts are worded as `coevolve templates {style}` shows.

## How it was trained

With {versions}, and this configuration:

```yaml
{config}```
"""


def model_card(config: RunConfig, step: int, evaluations: Sequence[EvaluationRecord]) -> str:
    """The card of the model of a run after ``step`` steps, in the form of the model hubs."""
    return CARD.format(
        name=config.name,
        model=config.model.name,
        step=step,
        steps=config.steps,
        scores=_scores(evaluations),
        style=config.recycle.style,
        versions=", ".join(f"{name} {number}" for name, number in versions().items()),
        config=dump_config(config),
    )


def _scores(evaluations: Sequence[EvaluationRecord]) -> str:
    """A table of all evaluations so far; a sentence where there is none."""
    if not evaluations:
        return "None yet."
    names = list(HEADS)
    head = ["step", "decoding", "tasks", *(HEADS[name] for name in names)]
    rows = [
        [str(e.step), e.mode, str(e.tasks), *(score_text(e.scores.get(name)) for name in names)]
        for e in evaluations
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
