"""A run from configuration to report: check, prepare, start the actors, loop, tidy up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from actors.generator_pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.recycler_actor import Recycler
from actors.runtime import ray_session
from actors.verifier_pool import VerifierPool
from contracts.config import RunConfig
from contracts.loading import dump_config
from learner.checkpoint import Checkpoint
from services import preflight
from services.controller import Actors, Controller
from services.evaluation import Evaluator
from services.live import LiveView
from services.metrics import Metrics
from services.models.resolve import ModelInfo, prepare_model
from services.prompt_lengths import check_prompts
from services.recorder import Recorder
from services.records import SCORES, EvaluationRecord, ModelSummary, Scores, Summary
from services.report import write_report
from services.resuming import is_finished, resumable
from services.rollouts import PhaseClock, Rollouts
from services.run_folder import RunFolder, held, read_run
from services.run_state import RunState
from services.tasks import TaskSplit, load_tasks
from services.tasks.stream import TaskStream
from services.versions import versions

Status = Literal["finished", "interrupted", "failed"]

Existing = Literal["refuse", "replace", "resume"]
"""What to do about a run of the same name that is there already."""


@dataclass(frozen=True)
class Prepared:
    """What a run needs before any actor starts. ``checkpoint``: where it goes on from."""

    config: RunConfig
    tasks: TaskSplit
    model: ModelInfo
    folder: RunFolder
    checkpoint: Checkpoint | None


def train(config: RunConfig, *, existing: Existing = "refuse") -> Path:
    """Run ``config`` to its end and return the run folder, with its report.

    Args:
        config: the run.
        existing: a run of the same name is refused, replaced, or gone on with from its last
            checkpoint (from the start, where it has none; not at all, where it is finished).

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
    with held(config.folder), LiveView(config, config.model.name) as view:
        prepared = prepare(config, tasks, view, existing)
        with Metrics(config.name, config.metrics_port) as metrics:
            recorder = Recorder(prepared.folder, view, metrics)
            with ended_well(prepared, recorder, started):
                run_loop(prepared, recorder)
    return prepared.folder.path


def prepare(config: RunConfig, tasks: TaskSplit, view: LiveView, existing: Existing) -> Prepared:
    """Build or find the model, check that prompts fit it, and make or take up the run folder.

    Raises:
        UserError: what is wrong, where, and what to do.
    """
    checkpoint = resumable(config, view.note) if existing == "resume" else None
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
    else:
        state = RunState.of(checkpoint)
        view.note(f"going on after step {state.step} from {checkpoint.folder}")
        folder = RunFolder.resume(
            config.folder, text, step=state.step, evaluations=state.evaluations
        )
    return Prepared(config, tasks, model, folder, checkpoint)


def run_loop(prepared: Prepared, recorder: Recorder) -> None:
    """Start the actors, run every step, keep the trained model, stop the actors."""
    config, folder = prepared.config, prepared.folder
    clock = PhaseClock()
    if prepared.checkpoint is not None:
        recorder.resume(read_run(folder.path))
    recorder.phase("starting")
    with ExitStack() as stack:
        stack.enter_context(ray_session(folder.logs))
        actors = start_actors(prepared, clock, stack)
        controller = Controller(
            config,
            tasks=TaskStream(prepared.tasks.train, config.tasks.seed),
            actors=actors,
            evaluator=Evaluator(actors.rollouts, prepared.tasks.held_out, config),
            recorder=recorder,
            clock=clock,
        )
        controller.run(prepared.checkpoint)
        recorder.phase("saving")
        actors.learner.export(folder.path / "model", card=controller.card())


def start_actors(prepared: Prepared, clock: PhaseClock, stack: ExitStack) -> Actors:
    """Start every actor; ``stack`` stops them again, whatever happens."""
    config, logs, model = prepared.config, prepared.folder.logs, prepared.model.folder
    verifiers = VerifierPool.start(config, logs)
    stack.callback(verifiers.stop)
    recycler = Recycler.start(config, logs)
    stack.callback(recycler.stop)
    generators = GeneratorPool.launch(config, model, logs)
    stack.callback(generators.stop)
    learner = LearnerGroup.start(config, model, logs)
    stack.callback(learner.stop)
    generators.wait_until_started()
    learner.connect(generators)
    rollouts = Rollouts(generators, verifiers, config, clock)
    return Actors(generators, rollouts, recycler, learner)


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
        whole = [e for e in recorder.evaluations if e.mode == mode and e.step in (0, config.steps)]
        chosen = [e for e in whole if (e.step == config.steps) == last]
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
