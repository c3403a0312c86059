"""``coevolve recycle``: what the recycler makes of given rollouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from contracts.config import RecycleConfig, RunConfig
    from contracts.types import Group, Objective, Prompt

RolloutsArgument = Annotated[
    str,
    typer.Argument(
        metavar="ROLLOUTS",
        help='JSON Lines: {"task": {"id", "question", "gold"}, "response"}, see '
        "docs/recycling.md. - reads standard input.",
    ),
]
RecycleOverrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="For example recycle.pairwise=8 or seed=3."),
]
ConfigOption = Annotated[
    str | None,
    typer.Option("--config", metavar="CONFIG", help="A YAML file, or the name of a preset."),
]

BASE = {"model": {"name": "smollm2"}, "recycle": {"style": "natural"}}
"""Below the overrides where no configuration is named: the wordings for language models. The
model is only named: the tiny one, which is the default, knows no such wording."""


def recycle(
    rollouts: RolloutsArgument, overrides: RecycleOverrides = None, config: ConfigOption = None
) -> None:
    """Show what would be made of rollouts: prompts as JSON Lines, a summary on standard error.

    Rollouts without a grade are graded first.
    """
    from rich.console import Console

    from recycler.recycle import recycle as make_prompts
    from services.commands.lines import print_json

    settings = _settings(config, overrides or [])
    groups = _groups(rollouts, settings)
    prompts = make_prompts(groups, settings.recycle, settings.seed)
    for prompt in prompts:
        print_json(record_of(prompt))
    console = Console(stderr=True, highlight=False)
    console.print(summary_of_rollouts(groups, settings.recycle.longest_answer), soft_wrap=True)
    console.print(summary_of_prompts(prompts, settings.recycle))


def _settings(config: str | None, overrides: Sequence[str]) -> RunConfig:
    from contracts.loading import find_config, load_config

    if config is None:
        return load_config(None, overrides, base=BASE)
    return load_config(find_config(config), overrides)


def _groups(rollouts: str, settings: RunConfig) -> list[Group]:
    from actors.graders.processes import GraderProcesses
    from services.commands.lines import opened
    from services.commands.rollout_rows import read_groups

    verifiers = settings.verifiers
    with (
        opened(rollouts) as lines,
        GraderProcesses(workers=verifiers.workers, deadline=verifiers.deadline) as processes,
    ):
        return read_groups(lines, lines.name, settings.recycle.style, processes)


def record_of(prompt: Prompt) -> dict[str, Any]:
    """A prompt as JSON: all of it but the task's images, which are among the messages."""
    return {
        "id": prompt.id,
        "objective": str(prompt.objective),
        "label": prompt.label,
        "verifier": prompt.verifier,
        "template": prompt.template,
        "task": prompt.task.id,
        "parents": list(prompt.parents),
        "shown": list(prompt.shown),
        "shown_correct": list(prompt.shown_correct),
        "messages": [
            {"role": message.role, "content": _content(message.content)}
            for message in prompt.messages
        ],
    }


def _content(content: Any) -> Any:
    """Text, or parts as chat templates take them."""
    from contracts.types import TextPart

    if isinstance(content, str):
        return content
    return [
        {"type": "text", "text": part.text}
        if isinstance(part, TextPart)
        else {"type": "image", "image": part.path}
        for part in content
    ]


def summary_of_rollouts(groups: Sequence[Group], longest_answer: int) -> str:
    """What the rollouts are, and how many of them may be shown to the judge."""
    from recycler.candidates import may_be_shown

    rollouts = [rollout for group in groups for rollout in group.rollouts]
    shown = [[r for r in group.rollouts if may_be_shown(r, longest_answer)] for group in groups]
    verdicts = [[rollout.grade.correct for rollout in group] for group in shown]
    right, wrong = sum(map(sum, verdicts)), sum(len(v) - sum(v) for v in verdicts)
    reasons = Counter(str(rollout.grade.reason) for rollout in rollouts)
    counted = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return (
        f"{len(rollouts)} rollouts of {len(groups)} tasks: {counted or 'nothing'}.\n"
        f"{right + wrong} may be shown: {right} right, {wrong} wrong; "
        f"{sum(len(set(v)) == 2 for v in verdicts)} tasks have both."
    )


def summary_of_prompts(prompts: Sequence[Prompt], config: RecycleConfig) -> Table:
    """Prompts by objective: how many, at most how many, and the balance of each."""
    from rich.table import Table

    from contracts.types import Objective

    caps = {
        Objective.POINTWISE: config.pointwise,
        Objective.PAIRWISE: config.pairwise,
        Objective.REFLECT: config.reflect,
    }
    table = Table(box=None)
    for title in ("objective", "prompts", "at most", "share", "wanted", "balance", "templates"):
        table.add_column(title, no_wrap=True)
    for objective, cap in caps.items():
        ours = [prompt for prompt in prompts if prompt.objective is objective]
        table.add_row(
            str(objective),
            str(len(ours)),
            str(cap),
            _percent(len(ours), len(prompts)),
            _percent(cap, sum(caps.values())),
            _balance(objective, ours),
            str(len({prompt.template for prompt in ours})),
        )
    return table


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def _balance(objective: Objective, prompts: Sequence[Prompt]) -> str:
    """Labels of judge prompts; of reflections, what they show."""
    from contracts.types import Objective

    if objective is Objective.REFLECT:
        counts = Counter("right" if p.shown_correct[0] else "wrong" for p in prompts)
    else:
        counts = Counter(p.label for p in prompts)
    return ", ".join(f"{count} {label}" for label, count in sorted(counts.items())) or "-"
