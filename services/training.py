"""A run from configuration to report: check, prepare, start the actors, loop, tidy up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from actors.broadcaster import Broadcaster
from actors.faults import BudgetSpentError, Fault
from actors.generator_pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.placement import Placement
from actors.recycler_actor import Recycler
from actors.runtime import ray_session
from actors.verifier_pool import VerifierPool
from actors.waiting import ActorError
from contracts.config import RunConfig
from contracts.errors import CoevolveError, DeadlineError
from contracts.loading import dump_config
from contracts.types import Prompt
from learner.checkpoint import Checkpoint, newest
from recycler.recycle import solve_prompt
from services import preflight
from services.batches import BatchMaker
from services.controller import Actors, Controller
from services.evaluation import Evaluator
from services.gate import Gate
from services.live import LiveView
from services.metrics import Metrics
from services.models.resolve import ModelInfo, prepare_model
from services.prompt_lengths import check_prompts
from services.recorder import Recorder
from services.records import SCORES, EvaluationRecord, ModelSummary, Scores, Summary
from services.recycled import PromptsByStep, recycled_by
from services.report import write_report
from services.resuming import is_finished, resumable
from services.rollouts import Rollouts
from services.run_folder import RunFolder, held, read_run
from services.run_state import RunState
from services.signals import StopRequest
from services.tasks import TaskSplit, load_tasks
from services.tasks.stream import TaskStream
from services.versions import versions
from services.weight_checks import PROMPTS, WeightChecks

Status = Literal["finished", "interrupted", "failed"]

Existing = Literal["refuse", "replace", "resume"]
"""What to do about a run of the same name that is there already."""


@dataclass(frozen=True)
class Prepared:
    """What a run needs before any actor starts. ``checkpoint``: where it goes on from.
    ``recycled``: prompts of another run, where that is what it answers. ``broken``: it goes on
    after a fault, with the machines that are left.
    """

    config: RunConfig
    tasks: TaskSplit
    model: ModelInfo
    folder: RunFolder
    checkpoint: Checkpoint | None
    recycled: PromptsByStep | None
    broken: bool = False


class _BrokenError(Exception):
    """The loop ended in an error after which the run can go on from its last checkpoint."""


def train(
    config: RunConfig, *, existing: Existing = "refuse", stop: StopRequest | None = None
) -> Path:
    """Run ``config`` to its end and return the run folder, with its report.

    Where the learner dies, or too much else does, the run goes on from its last checkpoint by
    itself, as often as ``faults.resumes`` says.

    Args:
        config: the run.
        existing: a run of the same name is refused, replaced, or gone on with from its last
            checkpoint (from the start, where it has none; not at all, where it is finished).
        stop: whether a signal has asked the run to end.

    Raises:
        UserError: bad input; no actor was started.
        CoevolveError: the run failed; its folder can be read, the logs tell more.
        KeyboardInterrupt: a signal ended the run; its folder can be read.
    """
    started = time.monotonic()
    preflight.check(config, existing=existing != "refuse")
    if existing == "resume" and is_finished(config):
        return config.folder
    tasks = load_tasks(config.tasks, config.recycle.style)
    with (
        opened(config, tasks, existing) as (prepared, recorder),
        ended_well(prepared, recorder, started),
    ):
        endure(prepared, recorder, stop or StopRequest())
    return prepared.folder.path


@contextmanager
def opened(
    config: RunConfig, tasks: TaskSplit, existing: Existing
) -> Iterator[tuple[Prepared, Recorder]]:
    """A run folder that is held, with its live view and its metrics, for the length of the block.

    Raises:
        UserError: what is wrong, where, and what to do.
    """
    with held(config.folder), LiveView(config, config.model.name) as view:
        prepared = prepare(config, tasks, view, existing)
        with Metrics(config, prepared.folder.path) as metrics:
            yield (
                prepared,
                Recorder(
                    prepared.folder,
                    view,
                    metrics,
                    config.learner.advantage,
                    answered=config.recycle.answered,
                ),
            )


def prepare(config: RunConfig, tasks: TaskSplit, view: LiveView, existing: Existing) -> Prepared:
    """Build or find the model, check that prompts fit it, and make or take up the run folder.

    Raises:
        UserError: what is wrong, where, and what to do.
    """
    checkpoint = resumable(config, view.note) if existing == "resume" else None
    recycled = recycled_by(config)
    view.phase("preparing the model")
    model = prepare_model(
        config.model,
        config.cache_dir,
        log=config.cache_dir / "build.log",
        questions=[task.question for task in tasks.train],
        progress=view.phase,
    )
    check_prompts(config, tasks, model.folder)
    text = dump_config(config)
    if checkpoint is None:
        folder = RunFolder.create(config.folder, text, overwrite=existing != "refuse")
        folder.write_task_ids([task.id for task in tasks.train])
    else:
        state = RunState.of(checkpoint)
        view.note(f"going on after step {state.step} from {checkpoint.folder}")
        folder = RunFolder.resume(
            config.folder, text, step=state.step, evaluations=state.evaluations
        )
    return Prepared(config, tasks, model, folder, checkpoint, recycled)


def endure(prepared: Prepared, recorder: Recorder, stop: StopRequest) -> None:
    """Run the loop to its end; after a fault it goes on from the last checkpoint.

    Raises:
        CoevolveError: the fault that was one too many, or that cannot be mended so.
    """
    for left in range(prepared.config.faults.resumes, -1, -1):
        try:
            run_loop(prepared, recorder, stop)
        except _BrokenError as broken:
            error = broken.__cause__
            assert isinstance(error, CoevolveError)
            if left == 0 or stop.requested:
                raise error from None
            prepared = taken_up(prepared, recorder, error)
        else:
            return


def taken_up(prepared: Prepared, recorder: Recorder, error: CoevolveError) -> Prepared:
    """The run as it goes on after ``error``: from its last checkpoint, or from the start."""
    config = prepared.config
    recorder.fault(Fault("run", config.name, error))
    checkpoint = newest(config.checkpoints_folder, recorder.note)
    step = evaluations = 0
    if checkpoint is not None:
        state = RunState.of(checkpoint)
        step, evaluations = state.step, state.evaluations
    RunFolder.resume(config.folder, dump_config(config), step=step, evaluations=evaluations)
    recorder.note(f"going on after step {step}")
    return replace(prepared, checkpoint=checkpoint, broken=True)


def run_loop(prepared: Prepared, recorder: Recorder, stop: StopRequest) -> None:
    """Start the actors, run every step, keep the trained model, stop the actors.

    Raises:
        _BrokenError: caused by a fault that a resume may mend.
    """
    folder = prepared.folder
    recorder.resume(read_run(folder.path))
    recorder.phase("starting")
    with running(prepared, recorder, stop) as controller:
        try:
            controller.run(prepared.checkpoint)
        except (ActorError, DeadlineError, BudgetSpentError) as error:
            raise _BrokenError from error
        recorder.phase("saving")
        controller.actors.learner.export(folder.path / "model", card=controller.card())


@contextmanager
def running(prepared: Prepared, recorder: Recorder, stop: StopRequest) -> Iterator[Controller]:
    """A controller with its actors, in a Ray session, for the length of the block."""
    with ExitStack() as stack:
        stack.enter_context(ray_session(prepared.folder.logs))
        yield start(prepared, recorder, stop, stack)


def start(
    prepared: Prepared, recorder: Recorder, stop: StopRequest, stack: ExitStack
) -> Controller:
    """Start every actor, and the loop's parts; ``stack`` ends the actors, whatever happens."""
    config, logs, model = prepared.config, prepared.folder.logs, prepared.model.folder
    tell = recorder.fault
    verifiers = VerifierPool.start(config, logs, tell=tell)
    stack.callback(verifiers.stop)
    recycler = Recycler.start(config, logs, tell=tell)
    stack.callback(recycler.stop)
    placement = Placement.reserve(config)
    stack.callback(placement.release)
    generators = GeneratorPool.launch(config, model, logs, tell=tell, placement=placement)
    stack.callback(generators.stop)
    if config.placement == "shared":
        # An engine takes stock of its GPU when it starts: it must have it to itself.
        generators.wait_until_started()
        generators.sleep()
    learner = LearnerGroup.start(config, model, logs, placement)
    stack.callback(learner.stop)
    generators.wait_until_started(fewer=prepared.broken)
    rollouts = Rollouts(generators, verifiers, config, tell=tell)
    maker = BatchMaker(
        config,
        tasks=TaskStream(prepared.tasks.train, config.tasks.seed),
        rollouts=rollouts,
        recycler=recycler,
        gate=Gate(closed=config.transfer.when == "between_batches"),
        recycled=prepared.recycled,
    )
    return Controller(
        config,
        actors=Actors(generators, learner, Broadcaster(config, learner, generators, tell)),
        maker=maker,
        checks=WeightChecks(config, generators, learner, probes(prepared)),
        evaluator=Evaluator(rollouts, prepared.tasks.held_out, config),
        recorder=recorder,
        stop=stop,
    )


def probes(prepared: Prepared) -> list[Prompt]:
    """Prompts that are never trained on, to compare engines and learner by."""
    style = prepared.config.recycle.style
    return [solve_prompt(task, style) for task in prepared.tasks.held_out[:PROMPTS]]


@contextmanager
def ended_well(prepared: Prepared, recorder: Recorder, started: float) -> Iterator[None]:
    """However the block ends, leave a summary and a report behind."""
    status: Status = "failed"
    try:
        yield
        status = "finished"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        seconds = time.monotonic() - started
        prepared.folder.write_summary(summarise(prepared, recorder, status, seconds))
        write_report(prepared.folder.path)


def summarise(prepared: Prepared, recorder: Recorder, status: Status, seconds: float) -> Summary:
    """What came of the run."""
    config, model = prepared.config, prepared.model

    def scores(mode: str, *, last: bool) -> Scores | None:
        if last and not recorder.spending.is_all(config):
            return None
        step = recorder.steps if last else 0
        chosen = [e for e in recorder.evaluations if e.mode == mode and e.step == step]
        return headline(chosen[0]) if chosen else None

    return Summary(
        status=status,
        steps=recorder.steps,
        seconds=seconds,
        seed=config.seed,
        model=ModelSummary(
            name=model.name, parameters=model.parameters, warm_start=model.warm_start
        ),
        before=scores("sampled", last=False),
        after=scores("sampled", last=True),
        before_greedy=scores("greedy", last=False),
        after_greedy=scores("greedy", last=True),
        versions=versions(),
    )


def headline(evaluation: EvaluationRecord) -> Scores:
    """The five scores of the summary."""
    return {name: evaluation.scores[name] for name in SCORES}
