"""The whole loop of this project, a few steps a turn."""

from __future__ import annotations

from services.ahead import Ahead
from services.bench.loop_work import STALENESS, LoopWork
from services.bench.processes import Turns
from services.controller import Controller
from services.signals import StopRequest
from services.step import Step
from services.tasks import load_tasks
from services.training import opened, running


def run(work: LoopWork, turns: Turns) -> None:
    """Start a run's actors, send the first weights, and do ``work.steps`` steps a turn.

    What a turn is asked for says how far batches are made ahead in it: the same actors do both,
    for memory has no room for two sets. Its value is the tokens that were sampled in it. All else
    is in the run folder.
    """
    config = work.config
    tasks = load_tasks(config.tasks, config.recycle.style)
    with (
        opened(config, tasks, "replace") as (prepared, recorder),
        running(prepared, recorder, StopRequest()) as controller,
    ):
        controller.broadcast()
        while True:
            staleness = STALENESS[turns.begin()]
            turns.end(some_steps(controller, work.steps, staleness))


def some_steps(controller: Controller, count: int, staleness: int) -> float:
    """``count`` further steps, batches ``staleness`` ahead; the tokens sampled in them.

    Nothing is begun that belongs to later ones: between turns the machine is somebody else's.
    """
    config = controller.config
    controller.ahead.close()
    last = controller.version + count * config.batches_per_step
    controller.ahead = Ahead(controller.maker.make, staleness=staleness, last=last)
    controller.recorder.restart_clock()
    tokens = 0
    for number in range(controller.step + 1, controller.step + count + 1):
        step = Step(number)
        controller.do(step)
        tokens += sum(sum(group.summary.completion_tokens) for group in step.groups)
    return float(tokens)
