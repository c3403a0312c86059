"""A short run of the fuzzer; in full: ``python tests/actors/fuzz_graders.py --count 100000``."""

from __future__ import annotations

from itertools import islice

import psutil

from tests.actors.fuzz_graders import KINDS, cases, fuzz


def test_hostile_responses_all_get_a_grade_in_time_and_leave_nothing_behind() -> None:
    before = psutil.Process().num_fds()
    found = fuzz(500, seed=4, workers=1, deadline=0.5, progress=False)
    assert found.graded == found.reasons.total() == 500
    assert found.bad == []
    assert found.late == []
    assert found.left_over == 0
    # The fork server, once started, keeps a few files open for the next pool.
    assert psutil.Process().num_fds() <= before + 8


def test_the_strings_depend_on_the_seed_alone_and_are_of_every_kind() -> None:
    first, again = (list(islice(cases(5), 1500)) for _ in range(2))
    assert first == again
    assert first != list(islice(cases(6), 1500))
    assert {case.kind for case in first} == {kind.__name__ for kind in KINDS}
