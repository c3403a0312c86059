"""What ``coevolve plan`` answers: predictions, how they were come to, and what was assumed."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.config import RunConfig
from services.bench.records import Record
from services.plan.inputs import PlanFile
from services.plan.predict import Layout, Prediction, predict
from services.plan.search import Say, propose
from services.plan.shape import ModelShape


class Answer(Record):
    """The result. ``chosen``: one prediction for each number of GPUs, or for each layout.

    ``tried``: everything that was simulated on the way. ``assumed``: in words.
    """

    title: str
    costs: str
    model: str
    parameters: float
    chosen: tuple[Prediction, ...]
    tried: tuple[Prediction, ...]
    assumed: tuple[str, ...]


def answer(
    plan: PlanFile,
    gpus: Sequence[int],
    say: Say,
    *,
    layouts: Sequence[tuple[int, int]] = (),
    weak: bool = False,
) -> Answer:
    """Propose a layout for each number of ``gpus``, or predict the given ``layouts``.

    Args:
        plan: what is planned.
        gpus: numbers of GPUs.
        say: told what is simulated.
        layouts: generators and learner ranks, instead of a search.
        weak: tasks a step grow with the GPUs, from those of the plan for the first number.

    Raises:
        UserError: nothing fits, or values do not go together.
    """
    config, model = plan.config(), plan.model.shape()
    chosen: list[Prediction] = []
    tried: list[Prediction] = []
    for generators, ranks in layouts:
        layout = layout_of(config, generators, ranks)
        say(f"{generators} generators, {ranks} learner ranks")
        chosen.append(predict(plan, config, model, layout))
    for count in gpus if not layouts else ():
        scaled = grown(config, count / gpus[0]) if weak else config
        best, found = propose(plan, scaled, model, count, say)
        chosen.append(best)
        tried += found
    return Answer(
        title=plan.title,
        costs=f"datasheet of {plan.gpu().name}",
        model=model.name,
        parameters=model.parameters,
        chosen=tuple(chosen),
        tried=tuple(tried),
        assumed=assumptions(plan, config, model),
    )


def layout_of(config: RunConfig, generators: int, ranks: int) -> Layout:
    """The layout of so many generators and ranks, all else as in ``config``."""
    ways, shared = config.generators.tensor_parallel, config.placement == "shared"
    return Layout(
        gpus=ranks if shared else generators * ways + ranks,
        generators=generators,
        tensor_parallel=ways,
        ranks=ranks,
        staleness=config.max_staleness,
        tasks=config.tasks_per_step,
        shared=shared,
    )


def grown(config: RunConfig, times: float) -> RunConfig:
    """``config`` with so many times the tasks and judge prompts a step."""
    recycle = config.recycle
    caps = {
        name: round(getattr(recycle, name) * times) for name in ("pointwise", "pairwise", "reflect")
    }
    return config.model_copy(
        update={
            "tasks_per_step": round(config.tasks_per_step * times),
            "recycle": recycle.model_copy(update=caps),
        }
    )


def assumptions(plan: PlanFile, config: RunConfig, model: ModelShape) -> tuple[str, ...]:
    """What a prediction by datasheet rests on, in words."""
    gpu, assumed, cluster = plan.gpu(), plan.assume, plan.cluster
    work = plan.workload.solve
    length = work.completion
    drawn = (
        f"measured quantiles, mean {length.average:.0f}"
        if length.quantiles
        else f"log-normal, mean {length.mean:g}, standard deviation {length.spread:g} of it"
    )
    return (
        f"{gpu.name}: {gpu.tflops:g} TFLOP/s, {gpu.memory_gb:g} GB, {gpu.bandwidth_gbs:g} GB/s, "
        f"NVLink {gpu.nvlink_gbs:g} GB/s, ${gpu.price:g} an hour; nodes of "
        f"{cluster.gpus_per_node}, network {cluster.network_gbs:g} GB/s a GPU",
        f"{model.name}: {model.parameters / 1e9:.3g} billion parameters in "
        f"{config.model.dtype}, {model.shape.layers} layers of width {model.shape.hidden}, "
        f"{model.kv_bytes / 1024:.0f} KiB of key-value cache a token",
        f"solve: prompts of {work.prompt:g} tokens, completions {drawn}, at most "
        f"{min(length.longest, config.sampling.max_tokens)}; {work.signal:.0%} of groups have "
        "signal; lengths are independent of each other and of the weights",
        f"training at {assumed.training_mfu:.0%} and prompts at {assumed.prefill_mfu:.0%} of the "
        f"peak, sampling at {assumed.decode_bandwidth:.0%} of memory bandwidth, links at "
        f"{assumed.network_bandwidth:.0%}; {assumed.overlap:.0%} of ZeRO-3's communication under "
        "computation",
        f"an engine step takes {assumed.engine_step_ms:g} ms and {assumed.sequence_us:g} us a "
        f"sequence of its own; grading and routing {assumed.completion_ms:g} ms a completion, "
        "beside sampling",
        "not simulated: evaluations, faults, checks of weights, start-up, preemption in engines",
    )
