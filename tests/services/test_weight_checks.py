"""The checks of engines against the learner, with what both say made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from made_steps import prompt

from actors.gap import Gap, gap_of
from actors.waiting import NamedActor
from contracts.config import RunConfig
from contracts.errors import IntegrityError
from services.weight_checks import PROMPTS, WeightChecks


class Engines:
    """Two generators with weights ``sums``."""

    def __init__(self, *sums: dict[str, str]) -> None:
        self.sums = sums
        self.asked: list[list[str]] = []

    def checksums(self) -> dict[str, dict[str, str]]:
        return {f"generator {i}": found for i, found in enumerate(self.sums)}

    def sample_each(self, prompts: Any, _sampling: Any) -> list[tuple[NamedActor, Any]]:
        self.asked.append([p.id for p in prompts])
        names = [f"generator {i}" for i in range(2)]
        return [(NamedActor(cast("Any", None), name, Path(name)), name) for name in names]


class Learner:
    """A learner whose log-probabilities are ``gaps`` away."""

    def __init__(self, gaps: dict[str, float]) -> None:
        self.gaps = gaps

    def checksums(self) -> dict[str, str]:
        return {"a": "1", "b": "2"}

    def gap(self, reference: str) -> Gap:
        return Gap(self.gaps[reference], 2 * self.gaps[reference], 9)


def checks(engines: Engines, gaps: dict[str, float], **transfer: Any) -> WeightChecks:
    config = RunConfig.model_validate({"transfer": transfer})
    prompts = [prompt(str(i)) for i in range(9)]
    return WeightChecks(config, cast("Any", engines), cast("Any", Learner(gaps)), prompts)


SOUND = {"a": "1", "b": "2"}
NEAR = {"generator 0": 1e-7, "generator 1": 2e-7}


def test_checks_are_made_when_they_are_due() -> None:
    engines = Engines(SOUND, SOUND)
    made = checks(engines, NEAR, checksum_every=2, probe_every=3)
    for version in range(7):
        made.when_due(version)
    assert engines.asked == [[str(i) for i in range(PROMPTS)]] * 3
    engines.sums = (SOUND, {"a": "1", "b": "0"})
    made.when_due(7)
    with pytest.raises(IntegrityError, match=r"generator 1 at version 8: 1 of 2 .* first is b"):
        made.when_due(8)


def test_an_engine_that_is_off_is_named() -> None:
    made = checks(Engines(), {**NEAR, "generator 1": 0.2})
    with pytest.raises(IntegrityError, match=r"generator 1 at version 5: .* 0\.2 nats .* stale"):
        made.probe(5)
    checks(Engines(), {**NEAR, "generator 1": 0.2}, probe_tolerance=0.3).probe(5)


def test_a_gap_that_is_no_number_is_no_agreement() -> None:
    with pytest.raises(IntegrityError, match="nan nats"):
        checks(Engines(), {**NEAR, "generator 0": float("nan")}).probe(5)


def test_a_gap_is_over_tokens() -> None:
    one = [np.array([-1.0, -2.0], np.float32), np.array([-3.0], np.float32)]
    other = [np.array([-1.0, -2.5], np.float32), np.array([-2.0], np.float32)]
    assert gap_of(one, other) == Gap(0.5, 1.0, 3)
    assert gap_of([], []) == Gap(0.0, 0.0, 0)
