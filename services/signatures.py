"""The four ways in which training goes wrong: thresholds of the guards and of the alerts."""

from __future__ import annotations

from typing import Literal, get_args

Signature = Literal["reward_collapse", "misalignment", "instability", "reflection_stuck"]
SIGNATURES: tuple[Signature, ...] = get_args(Signature)

COLLAPSED_SHARE = 0.5
"""The reward of solving has collapsed where it is below this share of its best..."""
COLLAPSED_FROM = 0.1
"""...and had been at least this."""

BLIND_DISCRIMINATION = 0.1
"""The judge tells nothing where its share of yes to right answers is this close to that to wrong
ones..."""
BLIND_YES_DISTANCE = 0.4
"""...and it has settled on one word: its share of yes is this far from a half."""

GRADIENT_TIMES = 10.0
"""Gradients are out of hand where their norm is this many times its median."""
KL_NATS = 0.1
"""The learner is too far from the sampler beyond this KL."""

STUCK_FIX_RATIO = 0.05
"""Reflection is stuck where it mends a smaller share of the wrong answers than this: one of 20."""
