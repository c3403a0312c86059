"""The one form of all benchmarks."""

import json

import pytest
from pydantic import ValidationError

from contracts.errors import UserError
from services.bench.records import Benchmark, Case, case, ratio


def test_a_case_is_median_least_and_most():
    assert case("tiny", "solve", "learner", "s", [5.0, 1.0, 2.0]) == Case(
        model="tiny", mix="solve", variant="learner", unit="s", median=2.0, min=1.0, max=5.0, n=3
    )
    assert case("tiny", "solve", "learner", "s", [4.0, 1.0]).median == 2.5
    with pytest.raises(ValueError, match="no values of learner"):
        case("tiny", "solve", "learner", "s", [])


def test_ratios_are_taken_round_by_round():
    # The machine was half as fast in the second round: neither ratio shows it.
    found = ratio("tiny", "solve", ("a", [30.0, 15.0, 40.0]), ("b", [10.0, 5.0, 10.0]))
    assert (found.median, found.min, found.max) == (3.0, 3.0, 4.0)
    with pytest.raises(ValueError, match="zip"):
        ratio("tiny", "solve", ("a", [1.0, 2.0]), ("b", [1.0]))
    with pytest.raises(ValueError, match="no rounds of a and b"):
        ratio("tiny", "solve", ("a", []), ("b", []))


def test_the_file_has_exactly_the_fields_that_are_promised(tmp_path):
    result = Benchmark(
        benchmark="learner",
        machine="2 cores",
        versions={"torch": "2"},
        cases=(case("tiny", "solve", "a", "s", [1.0]),),
        ratios=(ratio("tiny", "solve", ("a", [1.0]), ("b", [2.0])),),
    )
    file = tmp_path / "new" / "result.json"
    result.write(file)
    assert json.loads(file.read_text()) == {
        "benchmark": "learner",
        "machine": "2 cores",
        "versions": {"torch": "2"},
        "cases": [
            {
                "model": "tiny",
                "mix": "solve",
                "variant": "a",
                "unit": "s",
                "median": 1.0,
                "min": 1.0,
                "max": 1.0,
                "n": 1,
            }
        ],
        "ratios": [
            {
                "model": "tiny",
                "mix": "solve",
                "of": "a",
                "to": "b",
                "median": 0.5,
                "min": 0.5,
                "max": 0.5,
            }
        ],
    }
    assert Benchmark.model_validate_json(file.read_text()) == result
    with pytest.raises(ValidationError):
        result.benchmark = "another"
    with pytest.raises(ValidationError, match="extra"):
        Benchmark.model_validate({**json.loads(file.read_text()), "host": "x"})
    with pytest.raises(UserError, match="cannot be written"):
        result.write(tmp_path)
