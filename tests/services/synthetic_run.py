"""A run folder that looks like a real one, drawn from a seed: for tests of what people look at."""

from pathlib import Path

import numpy as np

from contracts.types import Objective, Reason
from services.records import (
    JudgedSet,
    JudgeRates,
    JudgeRecord,
    ObjectiveUpdate,
    Recycled,
    ReflectionRates,
    Reliability,
    Staleness,
    Update,
)
from services.run_folder import (
    EvaluationRecord,
    ExampleRecord,
    ModelSummary,
    RolloutRecord,
    RunFolder,
    StepMetrics,
    StepTiming,
    Summary,
)
from services.statistics import Score, balanced_accuracy, proportion

START = {"solve": 0.36, "pointwise": 0.55, "pairwise": 0.53, "fix": 0.31, "keep": 0.42}
END = {"solve": 0.84, "pointwise": 0.80, "pairwise": 0.78, "fix": 0.66, "keep": 0.81}
OBJECTIVES = dict(zip(Objective, ("solve", "pointwise", "pairwise", "fix"), strict=True))

CONFIG_TEXT = """\
name: demo
seed: 0
steps: 100
tasks_per_step: 32
schedule: merged
model:
  name: tiny
  dtype: float32
learner:
  learning_rate: 0.0003
  weights: {solve: 1.0, pointwise: 1.0, pairwise: 0.5, reflect: 0.25}
"""


def level(name: str, share: float) -> float:
    """The true skill ``share`` of the way through training."""
    return START[name] + (END[name] - START[name]) * (1 - (1 - share) ** 2)


def hits(draw: np.random.Generator, rate: float, n: int) -> tuple[int, int]:
    return int(draw.binomial(n, rate)), n


def evaluation(draw, step: int, share: float, mode: str, tasks: int) -> EvaluationRecord:
    lift = 0.12 if mode == "greedy" else 0.0
    rate = {name: min(0.97, level(name, share) + lift * (1 - share)) for name in START}
    on_yes = hits(draw, rate["pointwise"] + 0.05, tasks)
    on_no = hits(draw, rate["pointwise"] - 0.05, tasks)
    said_yes = on_yes[0] + tasks - on_no[0], 2 * tasks
    scores: dict[str, Score] = {
        "policy_accuracy": proportion(*hits(draw, rate["solve"], tasks)),
        "judge_accuracy": balanced_accuracy(*on_yes, *on_no),
        "judge_true_positive_rate": proportion(*on_yes),
        "judge_true_negative_rate": proportion(*on_no),
        "judge_yes_rate": proportion(*said_yes),
        "pairwise_accuracy": proportion(*hits(draw, rate["pairwise"], tasks)),
        "reflection_fix_rate": proportion(*hits(draw, rate["fix"], tasks)),
        "reflection_keep_rate": proportion(*hits(draw, rate["keep"], tasks)),
    }
    sets: dict[JudgedSet, JudgeRecord] = {
        "fixed": judged(draw, rate, tasks, pairs=True),
        "own": judged(draw, rate, tasks, pairs=False),
    }
    return EvaluationRecord(step=step, mode=mode, tasks=tasks, scores=scores, judge=sets)


def judged(draw, rate: dict[str, float], n: int, *, pairs: bool) -> JudgeRecord:
    """Judging of ``n`` right and ``n`` wrong answers. A model's own ones are not put in pairs."""
    right, wrong = hits(draw, rate["pointwise"] + 0.05, n), hits(draw, rate["pointwise"] - 0.05, n)
    bins = [
        Reliability(
            low=low,
            high=low + 0.25,
            confidence=low + 0.125,
            accuracy=proportion(*hits(draw, 0.5 + (low - 0.375) * rate["pointwise"], n // 2)),
        )
        for low in (0.0, 0.25, 0.5, 0.75)
    ]
    record = JudgeRecord(
        candidates=2 * n,
        verdicts=2 * n,
        balanced_accuracy=balanced_accuracy(*right, *wrong),
        true_positive_rate=proportion(*right),
        false_positive_rate=proportion(n - wrong[0], n),
        yes_rate=proportion(right[0] + n - wrong[0], 2 * n),
    )
    if not pairs:
        return record
    more = {
        "verdicts": 8 * n,
        "calibration_error": 0.4 * (1 - rate["pointwise"]),
        "reliability": tuple(bins),
        "pairwise_accuracy": proportion(*hits(draw, rate["pairwise"], n)),
        "pairwise_consistency": proportion(*hits(draw, rate["pairwise"], n)),
        "pairwise_first_rate": proportion(*hits(draw, 0.52, n)),
        "reflection_fix": proportion(*hits(draw, rate["fix"], n)),
        "reflection_keep": proportion(*hits(draw, rate["keep"], n)),
        "reflection_break": proportion(*hits(draw, 1 - rate["keep"], n)),
    }
    return record.model_copy(update=more)


def objective_update(draw, share: float) -> ObjectiveUpdate:
    return ObjectiveUpdate(
        loss=float(draw.normal(0, 0.02)),
        ratio=1.0,
        clip_fraction=0.0,
        kl_sampler=float(abs(draw.normal(0, 1e-7))),
        gap=float(abs(draw.normal(2e-5, 5e-6))),
        kl_reference=0.0,
        entropy=float(0.35 - 0.25 * share + draw.normal(0, 0.01)),
        tokens=4000,
        samples=256,
    )


def judge(share: float) -> JudgeRates:
    rate = level("pointwise", share)
    return JudgeRates(
        true_positive_rate=rate + 0.05,
        false_positive_rate=1 - rate + 0.05,
        calibration_error=0.3 * (1 - share),
    )


def metrics(draw, step: int, steps: int) -> StepMetrics:
    share = step / steps
    reward = {
        objective: float(np.clip(level(name, share) + draw.normal(0, 0.04), 0, 1))
        for objective, name in OBJECTIVES.items()
        if step > 1 or objective is Objective.SOLVE
    }
    wrong = int(max(1, 14 * (1 - share) + draw.integers(0, 3)))
    return StepMetrics(
        step=step,
        version=step,
        epoch=0,
        groups={objective: 32 for objective in reward},
        dropped={objective: int(draw.integers(0, 6)) for objective in reward},
        reward=reward,
        accuracy=reward,
        judge=judge(share) if step > 1 else JudgeRates(),
        reflection=ReflectionRates(
            fix=level("fix", share), keep=level("keep", share), broke=1 - level("keep", share)
        ),
        yes_rate=float(np.clip(0.52 + draw.normal(0, 0.07), 0, 1)) if step > 1 else None,
        reasons={Reason.OK: 500, Reason.NO_ANSWER: 8, Reason.TRUNCATED: 4},
        recycled=Recycled(
            pointwise={"yes": wrong, "no": wrong},
            pairwise={"A": 8, "B": 8},
            reflect={"wrong": 4, "right": 4},
        ),
        completion_tokens=11_000 + int(draw.integers(0, 500)),
        staleness=Staleness(mean=0.0, max=0),
        update=Update(
            updates=1,
            learning_rate=3e-4 * min(1.0, step / 5) * (1 - 0.7 * share),
            gradient_norm=float(0.9 - 0.4 * share + abs(draw.normal(0, 0.1))),
            tokens=16_000,
            objectives={objective: objective_update(draw, share) for objective in reward},
            gradient_norms={objective: 0.5 - 0.2 * share for objective in reward}
            if step % 25 == 1
            else {},
        ),
    )


def timing(draw, step: int) -> StepTiming:
    phases = {"generate": 1.3, "grade": 0.2, "recycle": 0.05, "update": 1.4, "broadcast": 0.15}
    phases = {name: float(t * draw.uniform(0.9, 1.2)) for name, t in phases.items()}
    seconds = sum(phases.values()) + 0.02
    return StepTiming(step=step, seconds=seconds, phases=phases, tokens_per_second=11_000 / seconds)


def rollouts(step: int) -> list[RolloutRecord]:
    return [
        RolloutRecord(
            step=step,
            objective=Objective.SOLVE,
            prompt="Solve 47+38",
            completion="7+8=15 4+3+1=8 \\boxed{85}",
            label="85",
            extracted="85",
            reward=1.0,
            reason=Reason.OK,
            version=step - 1,
        ),
        RolloutRecord(
            step=step,
            objective=Objective.REFLECT,
            prompt="Solve 91-17 Proposed 84 Check and answer",
            completion="1-7=-6 " * 20,
            label="74",
            extracted=None,
            reward=0.0,
            reason=Reason.TRUNCATED,
            version=step - 1,
            parents=("91-17/3",),
        ),
    ]


PROMPTS = {
    Objective.SOLVE: ("Solve 47+38", "85", "75"),
    Objective.POINTWISE: ("Solve 63-28 Proposed 45 Correct?", "no", "yes"),
    Objective.PAIRWISE: ("Solve 15+69 A: 74 B: 84 Which is correct?", "B", "A"),
    Objective.REFLECT: ("Solve 91-17 Proposed 84 Check and answer", "74", "84"),
}


def examples(when: str, each: int = 6) -> list[ExampleRecord]:
    made = []
    for objective, (prompt, label, other) in PROMPTS.items():
        for index in range(each):
            right = (index % 3 != 0) if when == "after" else (index % 3 == 1)
            answer = label if right else other
            made.append(
                ExampleRecord(
                    when=when,
                    objective=objective,
                    prompt_id=f"{objective}-{index}",
                    prompt=prompt,
                    completion=f"7+8=15 4+3{'+1' if right else ''} ok01no11 \\boxed{{{answer}}}",
                    label=label,
                    extracted=answer,
                    correct=right,
                )
            )
    return made


def make_run(path: Path, *, steps: int = 100, seed: int = 0, status: str = "finished") -> Path:
    """Write a run folder of ``steps`` steps; one that did not finish has no end scores."""
    draw = np.random.default_rng(seed)
    folder = RunFolder.create(path, CONFIG_TEXT)
    modes = ("sampled", "greedy")
    before = {mode: evaluation(draw, 0, 0.0, mode, 512) for mode in modes}
    for scores in before.values():
        folder.append_evaluation(scores)
    folder.append_examples(examples("before"))
    for step in range(1, steps + 1):
        folder.append_metrics(metrics(draw, step, steps))
        folder.append_timing(timing(draw, step))
        folder.append_rollouts(rollouts(step))
        if step % 25 == 0 and step < steps:
            folder.append_evaluation(evaluation(draw, step, step / steps, "sampled", 128))
    after = {mode: evaluation(draw, steps, 1.0, mode, 512) for mode in modes}
    done = status == "finished"
    if done:
        for scores in after.values():
            folder.append_evaluation(scores)
        folder.append_examples(examples("after"))
    folder.write_summary(summary(before, after if done else {}, steps, seed, status))
    return path


def summary(before, after, steps: int, seed: int, status: str) -> Summary:
    def five(evaluations: dict[str, EvaluationRecord], mode: str) -> dict[str, Score] | None:
        if mode not in evaluations:
            return None
        scores = evaluations[mode].scores
        return {name: score for name, score in scores.items() if not name.startswith("judge_")} | {
            "judge_accuracy": scores["judge_accuracy"]
        }

    return Summary(
        status=status,
        steps=steps,
        seconds=372.4,
        seed=seed,
        model=ModelSummary(
            name="tiny",
            parameters=300_160,
            warm_start=(
                "The tiny model was first taught by 850 supervised updates on faultless "
                "derivations (solving, judging one or two answers, reflecting; digit by digit), on "
                "training questions only. Then 120 updates made it sloppy on purpose: carries "
                "forgotten (60%), columns off by 1 to 3 (15%), verdicts by coin (30%). Much of "
                "what it gains here is the removal of that sloppiness."
            ),
        ),
        before=five(before, "sampled"),
        after=five(after, "sampled"),
        before_greedy=five(before, "greedy"),
        after_greedy=five(after, "greedy"),
        versions={"torch": "2.13.0", "ray": "2.60.0", "deepspeed": "0.19.8", "vllm": "0.32.0"},
    )
