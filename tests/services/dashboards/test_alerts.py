"""Every alert fires on its signature, and none on a healthy run: by promtool's own engine."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.dashboards.alerts import ALERTS, RUNBOOK, rules
from services.dashboards.export import DEPLOY
from services.metrics.catalogue import MEASURES

ROOT = DEPLOY.parent
PROMTOOL = shutil.which("promtool")
HOURS = 8
MINUTES = HOURS * 60
STEP_SECONDS = 60
"""A step a minute, as one point a minute is recorded."""

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not here: Debian's package prometheus has it"
)

Series = dict[str, str]
"""Values of each series over time, in promtool's notation, by name and labels."""


def constant(value: float) -> str:
    return f"{value}x{MINUTES}"


def clock(until: int = MINUTES) -> str:
    """A time stamp that is renewed every minute, and not any more after ``until`` minutes."""
    renewed = f"0+60x{until}"
    return renewed if until == MINUTES else f"{renewed} {60 * until}x{MINUTES - until}"


def turning(before: float, after: float, at: int = 300) -> str:
    """A value that changes after ``at`` minutes."""
    return f"{before}x{at} {after}x{MINUTES - at}"


HEALTHY: Series = {
    'reward_mean{objective="solve"}': "0.2+0.001x480",
    'reward_mean{objective="pointwise"}': "0.5+0.0005x480",
    "judge_true_positive_ratio": constant(0.8),
    "judge_false_positive_ratio": constant(0.3),
    "judge_yes_ratio": constant(0.55),
    "gradient_norm": " ".join(["0.5 0.9 0.4 1.5"] * (MINUTES // 4)),
    'sampler_kl_nats{objective="solve"}': constant(0.02),
    'reflection_ratio{outcome="fix"}': constant(0.3),
    'groups_total{objective="reflect"}': f"0+8x{MINUTES}",
    'faults_total{kind="broadcast"}': constant(0),
    'faults_total{kind="generators"}': f"0x200 1x{MINUTES - 200}",
    'restart_budget_used_ratio{kind="generators"}': f"0x200 0.2x10 0x{MINUTES - 210}",
    # One was gone for a moment.
    "sync_generators": f"4x200 3x5 4x{MINUTES - 205}",
    "planned_generators": constant(4),
    "progress_timestamp_seconds": clock(),
    "step_seconds": constant(STEP_SECONDS),
    "checkpoint_timestamp_seconds": " ".join(f"{1500 * n}x24" for n in range(MINUTES // 25 + 1)),
    "checkpoint_interval_steps": constant(25),
}
"""A run that does well, with one generator that died and was restarted."""

JUDGE = {"judge_true_positive_ratio": 0.97, "judge_false_positive_ratio": 0.95}
SIGNATURES: dict[str, tuple[str, Series]] = {
    "a reward that falls": (
        "CoevolveRewardCollapse",
        {'reward_mean{objective="solve"}': turning(0.5, 0.1)},
    ),
    "a judge that always says yes": (
        "CoevolvePolicyRewardMisalignment",
        {
            **{name: turning(0.7, value) for name, value in JUDGE.items()},
            "judge_yes_ratio": turning(0.6, 0.96),
        },
    ),
    "a judge that always says no": (
        "CoevolvePolicyRewardMisalignment",
        {
            "judge_true_positive_ratio": turning(0.7, 0.04),
            "judge_false_positive_ratio": turning(0.2, 0.02),
            "judge_yes_ratio": turning(0.5, 0.03),
        },
    ),
    "gradients that explode": (
        "CoevolveTrainingInstability",
        {"gradient_norm": turning(0.5, 40, 400)},
    ),
    "a learner far from the sampler": (
        "CoevolveTrainingInstability",
        {'sampler_kl_nats{objective="solve"}': turning(0.02, 0.4)},
    ),
    "reflections that mend nothing": (
        "CoevolveReflectionStuck",
        {'reflection_ratio{outcome="fix"}': turning(0.3, 0.01)},
    ),
    "a broadcast that failed": (
        "CoevolveSyncFailing",
        {'faults_total{kind="broadcast"}': turning(0, 1, MINUTES - 10)},
    ),
    "many restarts": (
        "CoevolveRestartBudgetLow",
        {'restart_budget_used_ratio{kind="generators"}': turning(0.2, 0.8)},
    ),
    "a generator whose machine is gone": (
        "CoevolveGeneratorsMissing",
        {"sync_generators": turning(4, 3)},
    ),
    "a step that does not end": (
        "CoevolveStepStalled",
        {"progress_timestamp_seconds": clock(MINUTES - 50)},
    ),
    "checkpoints that are not written": (
        "CoevolveCheckpointOld",
        {"checkpoint_timestamp_seconds": constant(1500)},
    ),
}

HARMLESS: dict[str, Series] = {
    "a healthy run": {},
    "a reward that was never much": {'reward_mean{objective="solve"}': turning(0.04, 0.01)},
    "a reward that dips for a moment": {
        'reward_mean{objective="solve"}': f"0.5x300 0.1x5 0.5x{MINUTES - 305}"
    },
    "a judge at chance that has not settled": {
        "judge_true_positive_ratio": constant(0.5),
        "judge_false_positive_ratio": constant(0.5),
        "judge_yes_ratio": constant(0.5),
    },
    "many right answers that the judge knows": {
        "judge_true_positive_ratio": constant(0.98),
        "judge_false_positive_ratio": constant(0.6),
        "judge_yes_ratio": constant(0.92),
    },
    "one large gradient": {"gradient_norm": f"0.5x300 40 0.5x{MINUTES - 301}"},
    "no reflections any more": {
        'reflection_ratio{outcome="fix"}': constant(0.0),
        'groups_total{objective="reflect"}': constant(8),
    },
    "long steps": {
        "step_seconds": constant(1800),
        "progress_timestamp_seconds": " ".join(f"{1800 * n}x29" for n in range(MINUTES // 30 + 1)),
    },
}


def exposed(name: str) -> str:
    """``coevolve_reward_mean{run="demo",...}`` of ``reward_mean{...}``."""
    bare, _, labels = name.partition("{")
    assert bare.removesuffix("_total") in MEASURES, bare
    more = f",{labels}" if labels else "}"
    return f'coevolve_{bare}{{cluster="c",job="j",instance="i",run="demo"{more}'


def firing(folder: Path, changes: Series) -> set[str]:
    """Names of the alerts that fire at the end of the recorded hours."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules()))
    series = [
        {"series": exposed(name), "values": values} for name, values in (HEALTHY | changes).items()
    ]
    tests: dict[str, Any] = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "5m",
        "tests": [
            {
                "interval": "1m",
                "input_series": series,
                "alert_rule_test": [
                    # Nothing is expected: what fires is named in the complaint.
                    {"eval_time": f"{MINUTES - 1}m", "alertname": alert.name, "exp_alerts": []}
                    for alert in ALERTS
                ],
            }
        ],
    }
    (folder / "tests.yaml").write_text(yaml.safe_dump(tests, width=1_000_000))
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", "tests.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    output = done.stdout + done.stderr
    found = set(re.findall(r"alertname: (\w+)", output))
    assert (done.returncode == 0) == (not found), output
    return found


@needs_promtool
@pytest.mark.parametrize("what", SIGNATURES)
def test_an_alert_fires_on_its_signature_and_no_other_does(what, tmp_path):
    name, changes = SIGNATURES[what]
    assert firing(tmp_path, changes) == {name}


@needs_promtool
@pytest.mark.parametrize("what", HARMLESS)
def test_nothing_fires_on(what, tmp_path):
    assert firing(tmp_path, HARMLESS[what]) == set()


@needs_promtool
def test_promtool_finds_nothing_wrong_with_the_rules(tmp_path):
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", str(DEPLOY / "prometheus" / "rules.yaml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


def test_every_alert_is_tested_and_in_the_runbook():
    assert {name for name, _ in SIGNATURES.values()} == {alert.name for alert in ALERTS}
    text = (ROOT / RUNBOOK).read_text()
    headings = re.findall(r"^## (Coevolve\w+)$", text, re.MULTILINE)
    assert headings == [alert.name for alert in ALERTS]
    for section in re.split(r"^## Coevolve\w+$", text, flags=re.MULTILINE)[1:]:
        for part in ("**What it means.**", "**Look at.**", "**Do.**"):
            assert part in section


def test_the_operator_gets_the_same_rules():
    path = DEPLOY / "kuberay" / "components" / "monitoring" / "prometheus-rule.yaml"
    assert yaml.safe_load(path.read_text())["spec"] == rules()
