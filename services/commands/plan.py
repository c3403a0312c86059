"""``coevolve plan``: what a step would take on machines that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.errors import UserError

PlanArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PLAN] [KEY=VALUE]...",
        help="A YAML file or the name of a plan, and values that replace those of it.",
    ),
]
Model = Annotated[
    str | None, typer.Option(help="tiny, smollm2, or a Hugging Face folder or config.json.")
]
Parameters = Annotated[float | None, typer.Option(help="Size of the model: 7e9.")]
Layers = Annotated[int | None, typer.Option(min=1, help="Its layers.")]
Gpus = Annotated[str | None, typer.Option(help="How many: 32, or several: 32,64,128.")]
Kind = Annotated[str | None, typer.Option("--accelerator", help="A100-80, H100, H200, B200, H20.")]
Layouts = Annotated[
    str | None,
    typer.Option(
        metavar="G:R,...", help="Generators and learner ranks to predict, instead of a search."
    ),
]
Weak = Annotated[bool, typer.Option("--weak", help="Tasks a step grow with the GPUs.")]
Calibrate = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Costs measured by `coevolve bench plan`, not a datasheet."),
]
Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the answer there as JSON.")
]
Plot = Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it into this PNG.")]


def plan(  # noqa: PLR0917 (an option each)
    arguments: PlanArgument = None,
    model: Model = None,
    parameters: Parameters = None,
    layers: Layers = None,
    gpus: Gpus = None,
    accelerator: Kind = None,
    layouts: Layouts = None,
    weak: Weak = False,
    calibrate: Calibrate = None,
    json: Json = None,
    plot: Plot = None,
) -> None:
    """Predict step time, idle shares, memory and cost of a run, and propose how to split GPUs.

    Simulates the loop with the costs of a datasheet, or with measured ones.
    """
    from rich.console import Console

    from services.bench.display import live_line
    from services.plan.answer import answer
    from services.plan.inputs import find_plan, load_plan
    from services.plan.show import plot as draw
    from services.plan.show import show

    given = list(arguments or [])
    name = given.pop(0) if given and "=" not in given[0] else None
    options = _options(model, parameters, layers, accelerator)
    loaded = load_plan(None if name is None else find_plan(name), given, options)
    numbers = _numbers(gpus, "--gpus") or ((loaded.gpus,) if loaded.gpus else ())
    pairs = _pairs(layouts)
    with live_line(Console(stderr=True)) as say:
        if calibrate is not None:
            from services.plan.calibrated import answer_measured, read_calibration

            found = answer_measured(loaded, read_calibration(calibrate), pairs)
        else:
            if not numbers and not pairs:
                raise UserError("how many GPUs?", where="--gpus", remedy="For example --gpus 32.")
            found = answer(loaded, numbers, say, layouts=pairs, weak=weak)
    if json is not None:
        found.write(json)
    if plot is not None:
        draw(found, plot)
    show(found, Console())


def _options(
    model: str | None, parameters: float | None, layers: int | None, accelerator: str | None
) -> dict[str, Any]:
    """Options as they would stand in a plan file."""
    spec = {"name": model, "parameters": parameters, "layers": layers}
    data: dict[str, Any] = {"model": {k: v for k, v in spec.items() if v is not None}}
    if accelerator is not None:
        data["cluster"] = {"accelerator": accelerator}
    return data


def _numbers(text: str | None, where: str) -> tuple[int, ...]:
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    if not all(part.isdigit() and int(part) for part in parts):
        raise UserError(f"{text!r} are no numbers", where=where, remedy="For example 32,64,128.")
    return tuple(int(part) for part in parts)


def _pairs(text: str | None) -> tuple[tuple[int, int], ...]:
    """``2:1,4:2`` as pairs."""
    found = []
    for part in (text or "").split(","):
        if not part.strip():
            continue
        left, colon, right = part.strip().partition(":")
        if not (colon and left.isdigit() and right.isdigit() and int(left) and int(right)):
            raise UserError(
                f"{part!r} is not GENERATORS:RANKS", where="--layouts", remedy="For example 4:2."
            )
        found.append((int(left), int(right)))
    return tuple(found)
