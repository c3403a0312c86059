"""What is sent to a cluster, and what its answers mean; the cluster itself is in tests/e2e."""

from __future__ import annotations

import time

import pytest
from ray.job_submission import JobDetails, JobStatus, JobType

from contracts.config import RunConfig
from contracts.errors import DeadlineError, UserError
from contracts.loading import load_config
from services.submitting import FILE, Cluster, check_paths, exit_code, staged, within

ABSOLUTE = RunConfig(runs_dir="/runs", cache_dir="/runs/models")  # type: ignore[arg-type]


def test_results_must_not_go_where_the_job_s_folder_goes():
    check_paths(ABSOLUTE)
    with pytest.raises(UserError, match="runs_dir=runs: must be an absolute path"):
        check_paths(RunConfig())
    with pytest.raises(UserError, match="cache_dir="):
        check_paths(RunConfig(runs_dir="/runs"))  # type: ignore[arg-type]


def test_the_configuration_comes_back_as_it_was():
    config = ABSOLUTE.model_copy(update={"steps": 7})
    with staged(config, None) as place:
        assert [path.name for path in place.iterdir()] == [FILE]
        assert load_config(place / FILE) == config
    assert not place.exists()


def test_a_folder_is_sent_as_links_and_stays_as_it_is(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text("{}")
    (tmp_path / FILE).write_text("an older one")
    with staged(ABSOLUTE, tmp_path) as place:
        assert (place / "data" / "train.jsonl").read_text() == "{}"
        assert load_config(place / FILE) == ABSOLUTE
    assert (tmp_path / FILE).read_text() == "an older one"
    assert (tmp_path / "data" / "train.jsonl").is_file()
    with pytest.raises(UserError, match="no such folder"), staged(ABSOLUTE, tmp_path / "x"):
        pass


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (JobStatus.SUCCEEDED, 0, 0),
        (JobStatus.FAILED, 2, 2),
        (JobStatus.FAILED, None, 1),
        (JobStatus.STOPPED, None, 143),
    ],
)
def test_a_job_ends_with_the_code_of_the_run(status, code, expected):
    details = JobDetails(
        type=JobType.SUBMISSION, status=status, entrypoint="coevolve", driver_exit_code=code
    )
    assert exit_code(details) == expected


def test_what_takes_too_long_is_given_up_and_named():
    with pytest.raises(DeadlineError, match=r"0\.05 s waiting for the tide"):
        within(lambda: time.sleep(5), 0.05, "the tide")
    assert within(lambda: 7, 5, "seven") == 7
    with pytest.raises(ZeroDivisionError):
        within(lambda: 1 / 0, 5, "nothing")


@pytest.mark.parametrize("address", ["127.0.0.1:8265", "ray://127.0.0.1:10001", "auto"])
def test_only_the_address_of_a_dashboard_will_do(address):
    with pytest.raises(UserError, match="not the address of a Ray dashboard"):
        Cluster(address)
