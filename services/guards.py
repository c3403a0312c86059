"""A run that looks after itself: the four ways in which training goes wrong, step by step.

The same thresholds as the alerts of Prometheus (``services.dashboards.alerts``), over steps
instead of minutes. Everything depends on the steps alone: the same run does the same again, and a
resumed one is where it was once it has seen its former steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, median

from contracts.config import GuardAction, GuardConfig, LearnerConfig
from contracts.errors import CoevolveError
from contracts.types import Objective
from services.records import StepMetrics
from services.signatures import (
    BLIND_DISCRIMINATION,
    BLIND_YES_DISTANCE,
    COLLAPSED_FROM,
    COLLAPSED_SHARE,
    GRADIENT_TIMES,
    KL_NATS,
    SIGNATURES,
    STUCK_FIX_RATIO,
    Signature,
)


class GuardError(CoevolveError):
    """A guard ended the run."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A guard found its signature. ``action`` is to be done; ``why`` tells a person."""

    guard: Signature
    action: GuardAction
    why: str


class Guards:
    """Watches a run.

    Args:
        config: the window, and what is to be done about each signature.
        learner: weights of the objectives in the loss, as configured.
    """

    def __init__(self, config: GuardConfig, learner: LearnerConfig) -> None:
        self._config, self._window = config, config.window
        self._configured = {Objective(name): weight for name, weight in learner.weights.items()}
        self._factor = 1.0
        self._acted: dict[Signature, int] = {}
        self._reward: list[float] = []
        self._best = 0.0
        self._judge: list[tuple[float, float, float]] = []
        self._gradient: list[float] = []
        self._kl: list[float] = []
        self._fix: list[float] = []

    @property
    def weights(self) -> dict[Objective, float]:
        """The weights of the objectives now: those of judging and reflecting may be lowered."""
        return {
            objective: weight if objective is Objective.SOLVE else weight * self._factor
            for objective, weight in self._configured.items()
        }

    @property
    def lowered(self) -> bool:
        """Whether any weight is other than configured."""
        return self._factor != 1.0

    def replay(self, steps: Iterable[StepMetrics]) -> None:
        """See the steps of an earlier part of the run; what was done then is not done again."""
        for metrics in steps:
            self.see(metrics)

    def see(self, metrics: StepMetrics) -> list[Finding]:
        """Look at a step together with those before it.

        Returns:
            What is to be done now. ``weights`` are already lowered where that is part of it.
        """
        self._remember(metrics)
        findings = []
        for guard in SIGNATURES:
            action: GuardAction = getattr(self._config, guard)
            if action == "off" or metrics.step - self._acted.get(guard, 0) < self._window:
                continue
            if why := _LOOKS[guard](self):
                self._acted[guard] = metrics.step
                if action == "lower_judge_weights":
                    self._factor *= self._config.judge_weight_factor
                findings.append(Finding(guard, action, why))
        return findings

    def _remember(self, metrics: StepMetrics) -> None:
        """Keep what the looks need. A step in which something was not measured does not count."""
        reward = metrics.reward.get(Objective.SOLVE)
        if reward is not None:
            self._reward.append(reward)
            before = self._reward[: -self._window]
            if len(before) >= self._window:
                self._best = max(self._best, fmean(before[-self._window :]))
        judge = metrics.judge
        told = judge.true_positive_rate, judge.false_positive_rate, metrics.yes_rate
        right, wrong, yes = told
        if right is not None and wrong is not None and yes is not None:
            self._judge.append((right, wrong, yes))
        if metrics.reflection.fix is not None:
            self._fix.append(metrics.reflection.fix)
        if metrics.update is not None:
            self._gradient.append(metrics.update.gradient_norm)
            reports = metrics.update.objectives.values()
            self._kl.append(max((report.kl_sampler for report in reports), default=0.0))

    def _reward_collapse(self) -> str:
        now = self._recent(self._reward)
        if now is None or self._best < COLLAPSED_FROM or now >= COLLAPSED_SHARE * self._best:
            return ""
        return (
            f"the reward of solving is {now:.2f} on average over {self._window} steps, after "
            f"{self._best:.2f} at its best"
        )

    def _misalignment(self) -> str:
        if len(self._judge) < self._window:
            return ""
        right, wrong, yes = (
            fmean(each) for each in zip(*self._judge[-self._window :], strict=True)
        )
        settled = abs(yes - 0.5) > BLIND_YES_DISTANCE
        if not settled or right - wrong >= BLIND_DISCRIMINATION:
            return ""
        return (
            f"the judge says yes to {right:.0%} of the right and to {wrong:.0%} of the wrong "
            f"answers over {self._window} steps"
        )

    def _instability(self) -> str:
        quarter = max(1, self._window // 4)
        if len(self._gradient) < self._window:
            return ""
        now, kl = fmean(self._gradient[-quarter:]), fmean(self._kl[-quarter:])
        usual = median(self._gradient[-self._window - quarter : -quarter])
        if not isfinite(now) or now > GRADIENT_TIMES * usual > 0:
            return (
                f"the gradient norm is {now:.3g} on average over {quarter} steps, after "
                f"{usual:.3g} commonly"
            )
        if kl > KL_NATS:
            return f"the learner is {kl:.2g} nats from the sampler over {quarter} steps"
        return ""

    def _reflection_stuck(self) -> str:
        now = self._recent(self._fix)
        if now is None or now >= STUCK_FIX_RATIO:
            return ""
        return f"reflections mended {now:.1%} of wrong answers over {self._window} steps"

    def _recent(self, values: list[float]) -> float | None:
        """The mean of the last window; None: there is none yet."""
        return fmean(values[-self._window :]) if len(values) >= self._window else None


_LOOKS: dict[Signature, Callable[[Guards], str]] = {
    "reward_collapse": Guards._reward_collapse,
    "misalignment": Guards._misalignment,
    "instability": Guards._instability,
    "reflection_stuck": Guards._reflection_stuck,
}
