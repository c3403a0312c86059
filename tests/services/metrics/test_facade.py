"""What goes into the façade of metrics comes out of its port, and survives a resume."""

from __future__ import annotations

import shutil
import socket
import subprocess
import urllib.request
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from synthetic_run import evaluation, metrics, timing

from actors.faults import Fault
from actors.transfer.report import TransferReport
from contracts.config import CheckpointConfig, FaultConfig, MetricsConfig, RunConfig
from contracts.errors import CoevolveError, DeadlineError
from contracts.types import Objective
from services.metrics import Metrics
from services.metrics.catalogue import MEASURES, OTHER, PREFIX
from services.metrics.page import PAGE, page
from services.records import JUDGE_SCORES, JudgeRecord
from services.statistics import Score

PROMTOOL = shutil.which("promtool")

Samples = dict[str, float]
"""By name and label values without that of the run: ``reward_mean/solve``."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def facade(folder: Path | None = None, **more: object) -> Metrics:
    return Metrics(RunConfig(name="demo", **more), folder)  # type: ignore[arg-type]


def scraped(given: Metrics) -> Samples:
    """What Prometheus would read."""
    found = {}
    text = generate_latest(given.registry).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert sample.labels.pop("run") == "demo"
            found["/".join([sample.name.removeprefix(PREFIX), *sample.labels.values()])] = (
                sample.value
            )
    return found


def steps(count: int, first: int = 1):
    draw = np.random.default_rng(0)
    return [(metrics(draw, n, 10), timing(draw, n)) for n in range(first, first + count)]


def test_everything_that_happens_can_be_scraped():
    given = facade()
    given.activity("generating")
    for done, clock in steps(2):
        given.step(done, clock)
    given.evaluation(evaluation(np.random.default_rng(0), 2, 0.5, "greedy", 512))
    given.sync(TransferReport(3, 1200, {"start": 0.1, "transfer": 0.5, "finish": 0.1}, 2))
    given.checkpoint(2, 1.5)
    seen = scraped(given)
    assert seen["step"] == 2
    assert seen["activity/generating"] == 1
    assert seen["activity/training"] == 0
    assert seen["groups_total/solve"] == 64
    assert seen["grades_total/truncated"] == 8
    assert seen["recycled_prompts_total/pairwise/A"] == 16
    assert seen["trained_tokens_total/solve"] == 8000
    assert seen["syncs_total"] == 1
    assert seen["sync_seconds_total/transfer"] == 0.5
    assert seen["sync_bytes"] == 1200
    assert seen["sync_generators"] == 2
    assert seen["objective_gradient_norm/solve"] == pytest.approx(0.48)
    assert seen["planned_generators"] == 1
    assert seen["checkpoint_step"] == 2
    assert 0 < seen["held_out_ratio/greedy/policy_accuracy"] < 1
    assert seen["phase_seconds_total/generate"] > seen["step_phase_seconds/generate"]


def test_judging_of_held_out_answers_is_there_by_the_set_of_answers():
    given = facade()
    found = evaluation(np.random.default_rng(0), 2, 0.5, "sampled", 512)
    given.evaluation(found)
    seen = scraped(given)
    for judged, record in found.judge.items():
        for name in JUDGE_SCORES:
            value = getattr(record, name).value
            assert seen.get(f"held_out_judge_ratio/sampled/{name}/{judged}") == value
        error = seen.get(f"held_out_calibration_error_ratio/{judged}")
        assert error == record.calibration_error
    assert seen["held_out_judge_ratio/sampled/balanced_accuracy/own"] > 0
    assert seen["held_out_judge_ratio/sampled/pairwise_consistency/fixed"] > 0


def test_every_score_of_judging_is_in_the_catalogue():
    scores = {name for name, kind in JudgeRecord.model_fields.items() if kind.annotation is Score}
    assert scores == set(JUDGE_SCORES)


def test_names_and_labels_are_those_of_the_catalogue_and_bounded():
    given = facade()
    for done, clock in steps(2):
        given.step(done, clock)
    given.fault(Fault("a kind nobody knows", "x", CoevolveError("x")))
    seen = scraped(given)
    allowed = {
        "/".join([m.exposed.removeprefix(PREFIX), *values])
        for m in MEASURES.values()
        for values in product(*[(*known, OTHER) for known in m.labels.values()])
    }
    assert set(seen) <= allowed
    assert [name for name in seen if OTHER in name.split("/")] == [
        f"faults_total/{OTHER}",
        f"timeouts_total/{OTHER}",
    ]
    assert len(allowed) < 500


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not here: Debian's prometheus has it")
def test_prometheus_own_lint_finds_nothing():
    given = facade()
    for done, clock in steps(2):
        given.step(done, clock)
    given.evaluation(evaluation(np.random.default_rng(0), 2, 0.5, "sampled", 512))
    given.sync(TransferReport(3, 1200, {"start": 0.1}, 2))
    given.checkpoint(2, 1.5)
    done = subprocess.run(
        [str(PROMTOOL), "check", "metrics"],
        input=generate_latest(given.registry),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_counters_are_there_before_they_count_anything():
    given = facade()
    seen = scraped(given)
    assert seen["faults_total/broadcast"] == 0
    assert seen["groups_dropped_total/solve/stale"] == 0


def test_dropped_groups_are_counted_by_reason():
    done, clock = steps(1)[0]
    changed = done.model_copy(
        update={
            "dropped": {Objective.SOLVE: 5},
            "all_right": {Objective.SOLVE: 3},
            "all_wrong": {Objective.SOLVE: 1},
            "stale": {Objective.SOLVE: 2},
        }
    )
    given = facade()
    given.step(changed, clock)
    seen = scraped(given)
    reasons = ("all_right", "all_wrong", "equal_rewards", "stale")
    assert [seen[f"groups_dropped_total/solve/{reason}"] for reason in reasons] == [3, 1, 1, 2]


def test_counters_never_shrink_over_a_kill_and_a_resume(tmp_path):
    """Steps 3 and 4 are lost and done again: they count twice, as they took their time twice."""
    all_steps = steps(4)
    given = facade(tmp_path)
    for done, clock in all_steps:
        given.step(done, clock)
    given.sync(TransferReport(4, 1200, {"transfer": 0.5}))
    before = scraped(given)
    given = facade(tmp_path)
    given.resume([m for m, _ in all_steps[:2]], [t for _, t in all_steps[:2]], [])
    resumed = scraped(given)
    for done, clock in all_steps[2:]:
        given.step(done, clock)
    after = scraped(given)
    counters = [name for name in before if "_total" in name]
    assert len(counters) > 50
    assert all(resumed[name] == before[name] for name in counters)
    assert resumed["step"] == 2
    assert after["groups_total/solve"] == 6 * 32


def test_without_kept_counters_they_are_added_up_from_the_steps(tmp_path):
    all_steps = steps(2)
    given = facade(tmp_path)
    given.resume([m for m, _ in all_steps], [t for _, t in all_steps], [])
    assert scraped(given)["groups_total/solve"] == 64


def test_taking_up_a_run_in_the_same_process_counts_nothing_twice(tmp_path):
    all_steps = steps(2)
    given = facade(tmp_path)
    for done, clock in all_steps:
        given.step(done, clock)
    given.resume([m for m, _ in all_steps[:1]], [t for _, t in all_steps[:1]], [])
    seen = scraped(given)
    assert seen["groups_total/solve"] == 64
    assert seen["step"] == 1


def test_faults_timeouts_and_the_budget_they_use_up():
    given = facade(faults=FaultConfig(restarts=4))
    given.fault(Fault("generators", "generator 0", DeadlineError("generator 0", 3)))
    given.fault(Fault("generators", "generator 1", CoevolveError("died")))
    seen = scraped(given)
    assert seen["faults_total/generators"] == 2
    assert seen["timeouts_total/generators"] == 1
    assert seen["restart_budget_used_ratio/generators"] == 0.5
    assert seen["restart_budget_used_ratio/verifiers"] == 0


def test_faults_are_forgotten_by_the_budget_but_not_by_the_counter():
    given = facade(faults=FaultConfig(restarts=1, window=1e-6))
    given.fault(Fault("generators", "generator 0", CoevolveError("died")))
    seen = scraped(given)
    assert seen["restart_budget_used_ratio/generators"] == 0
    assert seen["faults_total/generators"] == 1


def test_a_run_without_checkpoints_has_no_age_of_one():
    given = facade(checkpoints=CheckpointConfig(every=0))
    assert "checkpoint_timestamp_seconds" not in scraped(given)


def test_the_port_is_on_loopback_unless_told_otherwise_and_closed_afterwards():
    port = free_port()

    def is_open(address: str) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((address, port)) == 0

    with Metrics(RunConfig(metrics=MetricsConfig(port=port))):
        assert is_open("127.0.0.1")
        # Another address of this machine.
        assert not is_open("127.0.0.2")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert "coevolve_step" in answer.read().decode()
    assert not is_open("127.0.0.1")
    with Metrics(RunConfig(metrics=MetricsConfig(host="0.0.0.0", port=port))):
        assert is_open("127.0.0.2")


def test_the_page_is_that_of_the_catalogue():
    assert PAGE.read_text() == page(), "python -m services.metrics.page"


@pytest.mark.parametrize("measure", MEASURES.values(), ids=list(MEASURES))
def test_names_follow_the_conventions_of_prometheus(measure):
    assert measure.name == measure.name.lower()
    assert not measure.name.endswith(("_total", "_count", "_sum", "_bucket"))
    assert measure.text.endswith(".")
    assert "|" not in measure.text
    if "share" in measure.text.lower().split() and measure.kind == "gauge":
        assert measure.name.endswith("_ratio")
    if measure.text.startswith("Seconds"):
        assert measure.name.endswith("_seconds")
