"""Is it learning? Is the judge honest? Does reflection help? Is training stable?"""

from __future__ import annotations

from services.dashboards.panels import Dashboard, Panel, Query, chosen, rate

BY_OBJECTIVE = "{{run}} {{objective}}"


def _held_out_judge(*scores: str) -> tuple[Query, ...]:
    """Sampled scores of judging, by the set of answers."""
    return tuple(
        Query(
            chosen("held_out_judge_ratio", mode="sampled", score=score),
            f"{{{{run}}}} {{{{set}}}}{'' if len(scores) == 1 else ' {{score}}'}",
        )
        for score in scores
    )


def _by_objective(name: str) -> tuple[Query, ...]:
    return (Query(chosen(name), BY_OBJECTIVE),)


_LEARNING = (
    Panel(
        "Steps done",
        "Rises to 100 % at an even pace.",
        (Query(f"{chosen('step')} / {chosen('planned_steps')}"),),
        unit="percentunit",
        kind="figure",
        low=0,
        high=1,
        width=4,
    ),
    Panel(
        "Held-out solving",
        "Higher than at the start of the run, and than the last run of the same task.",
        (Query(chosen("held_out_ratio", mode="sampled", score="policy_accuracy")),),
        unit="percentunit",
        kind="figure",
        low=0,
        high=1,
        width=4,
    ),
    Panel(
        "Held-out scores",
        "Solving, judging, comparing, mending and keeping all rise together; judging stays above "
        "50 %, which is chance.",
        (Query(chosen("held_out_ratio", mode="sampled"), "{{run}} {{score}}"),),
        unit="percentunit",
        low=0,
        high=1,
    ),
    Panel(
        "Accuracy in training",
        "Every objective climbs; one that falls while the others rise pays for them.",
        _by_objective("accuracy_ratio"),
        unit="percentunit",
        low=0,
        high=1,
    ),
    Panel(
        "Reward",
        "Climbs, and levels off high; a fall to a fraction of its best is a collapse.",
        _by_objective("reward_mean"),
    ),
    Panel(
        "Spread of advantages",
        "Well above 0: where it nears 0, groups have no signal, and nothing is learnt.",
        _by_objective("advantage_stddev"),
        low=0,
    ),
    Panel(
        "Groups without signal, by reason",
        "Below half of all groups. All right: tasks are too easy by now; all wrong: too hard.",
        (
            Query(
                f"sum by (run, reason) ({rate('groups_dropped')})"
                f" / ignoring (reason) group_left sum by (run) ({rate('groups')})",
                "{{run}} {{reason}}",
            ),
        ),
        unit="percentunit",
        low=0,
    ),
)

_JUDGE = (
    Panel(
        "Yes to right and to wrong answers",
        "The two lines move apart: towards 100 % for right answers, towards 0 for wrong ones.",
        (
            Query(chosen("judge_true_positive_ratio"), "{{run}} right answers"),
            Query(chosen("judge_false_positive_ratio"), "{{run}} wrong answers"),
        ),
        unit="percentunit",
        low=0,
        high=1,
    ),
    Panel(
        "Share of yes",
        "Near 50 %: as many right as wrong answers are shown. A judge stuck above 90 % or below "
        "10 % says the same whatever it sees.",
        (Query(chosen("judge_yes_ratio")),),
        unit="percentunit",
        low=0,
        high=1,
    ),
    Panel(
        "Discrimination",
        "Share of yes to right answers less that to wrong ones: rises above 0 and stays there.",
        (Query(f"{chosen('judge_true_positive_ratio')} - {chosen('judge_false_positive_ratio')}"),),
        unit="percentunit",
        low=-1,
        high=1,
    ),
    Panel(
        "Calibration error",
        "Falls: the share of yes in a group says how likely the answer is right.",
        (Query(chosen("judge_calibration_error_ratio")),),
        unit="percentunit",
        low=0,
    ),
    Panel(
        "Policy against judge",
        "Both rise. A policy that rises over a judge that falls is not judged by what it learnt.",
        (
            Query(chosen("accuracy_ratio", objective="solve"), "{{run}} policy"),
            Query(chosen("accuracy_ratio", objective="pointwise"), "{{run}} judge of one"),
            Query(chosen("accuracy_ratio", objective="pairwise"), "{{run}} judge of two"),
        ),
        unit="percentunit",
        low=0,
        high=1,
    ),
    Panel(
        "Recycled prompts by label",
        "Yes and no, A and B lie on each other: a judge cannot win by always saying the same.",
        (
            Query(
                f"sum by (run, kind, label) ({rate('recycled_prompts')}) > 0",
                "{{run}} {{kind}} {{label}}",
            ),
        ),
        unit="cps",
        low=0,
    ),
)

_HELD_OUT_JUDGE = (
    Panel(
        "Judging held-out answers",
        "Both sets rise from 50 %, which is chance. The fixed set alone tells a better judge from "
        "answers that are easier to judge.",
        _held_out_judge("balanced_accuracy"),
        unit="percentunit",
        low=0,
        high=1,
    ),
    Panel(
        "Yes to held-out answers, right and wrong",
        "True positives rise towards 100 %, false positives fall towards 0, on both sets.",
        _held_out_judge("true_positive_rate", "false_positive_rate"),
        unit="percentunit",
        low=0,
        high=1,
    ),
    Panel(
        "Share of yes on held-out answers",
        "Near 50 % on the fixed set, half of which is right; near the model's accuracy on its own.",
        _held_out_judge("yes_rate"),
        unit="percentunit",
        low=0,
        high=1,
    ),
    Panel(
        "Calibration error on held-out answers",
        "Falls, and is below 10 % of a judge whose share of yes can be taken for a probability.",
        (Query(chosen("held_out_calibration_error_ratio"), "{{run}} {{set}}"),),
        unit="percentunit",
        low=0,
    ),
    Panel(
        "Choosing between two held-out answers",
        "Right choices and the same choice in both orders rise; half fall on the first answer.",
        _held_out_judge("pairwise_accuracy", "pairwise_consistency", "pairwise_first_rate"),
        unit="percentunit",
        low=0,
        high=1,
    ),
    Panel(
        "Reflecting on held-out answers",
        "Mending (fix) rises, keeping stays high, breaking stays far below mending.",
        _held_out_judge("reflection_fix", "reflection_keep", "reflection_break"),
        unit="percentunit",
        low=0,
        high=1,
    ),
)

_REFLECTION = (
    Panel(
        "What reflection does",
        "Mending (fix) rises, keeping stays high, breaking stays below mending.",
        (Query(chosen("reflection_ratio"), "{{run}} {{outcome}}"),),
        unit="percentunit",
        low=0,
        high=1,
    ),
    Panel(
        "Grades by reason",
        "Nearly all are ok; truncated answers want a higher sampling.max_tokens, timeouts another "
        "verifier.",
        (
            Query(
                f"sum by (run, reason) ({rate('grades')})"
                f" / ignoring (reason) group_left sum by (run) ({rate('grades')})",
                "{{run}} {{reason}}",
            ),
        ),
        unit="percentunit",
        kind="stacked",
        low=0,
        high=1,
    ),
    Panel(
        "Weights of the objectives",
        "Level lines, as configured; a step down is a guard that lowered the judge's.",
        _by_objective("objective_weight"),
        low=0,
    ),
)

_STABILITY = (
    Panel(
        "Gradient norm before clipping",
        "Of one order of magnitude throughout; a jump of ten times and more is instability.",
        (Query(chosen("gradient_norm")),),
        logarithmic=True,
    ),
    Panel(
        "Gradient norm by objective",
        "Of like size: one far above the others steers the whole update, and wants a lower "
        "learner.weights. Measured every metrics.gradient_norms_every steps.",
        _by_objective("objective_gradient_norm"),
        logarithmic=True,
    ),
    Panel(
        "KL of sampler and learner",
        "Near 0 where batches are not made ahead; below 0.1 nats where they are.",
        _by_objective("sampler_kl_nats"),
    ),
    Panel(
        "Gap of log-probabilities",
        "Level: about 0.00001 nats in float32, 0.03 in bfloat16. A step up is a stale cache.",
        _by_objective("sampler_gap_nats"),
        logarithmic=True,
    ),
    Panel(
        "Entropy of a token",
        "Falls slowly and not to 0: without entropy, all completions of a group are the same.",
        _by_objective("entropy_nats"),
        low=0,
    ),
    Panel(
        "Policy ratio",
        "Close to 1; far from it, the learner trains on what it would no longer say.",
        _by_objective("policy_ratio"),
    ),
    Panel(
        "Clipped tokens",
        "Below a few percent.",
        _by_objective("clip_ratio"),
        unit="percentunit",
        low=0,
    ),
    Panel(
        "KL from the initial model",
        "Grows slowly; 0 without learner.kl_coefficient.",
        _by_objective("reference_kl_nats"),
        low=0,
    ),
    Panel("Loss", "Around 0 for policy gradients: its size says little.", _by_objective("loss")),
    Panel(
        "Learning rate",
        "Follows the schedule: up during warm-up, then down.",
        (Query(chosen("learning_rate")),),
    ),
)

COEVOLUTION = Dashboard(
    uid="coevolve-coevolution",
    title="Coevolve: co-evolution",
    description="Is it learning? Is the judge honest?",
    rows={
        "Is it learning?": _LEARNING,
        "Is the judge honest?": _JUDGE,
        "Is it honest on held-out answers?": _HELD_OUT_JUDGE,
        "Does reflection help?": _REFLECTION,
        "Is training stable?": _STABILITY,
    },
)
