import copy
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.plan.decoding import Sampled, Schedule


@dataclass
class Costs:
    """A second an engine step, a tenth for each sequence in it, a hundredth a prompt token."""

    step: float = 1.0
    each: float = 0.1
    prompt: float = 0.01
    block: int = 1

    def prefill(self, sequences: int, tokens: int, pairs: float) -> float:
        return self.prompt * tokens

    def decode(self, running: int, context: float) -> float:
        return self.step + self.each * running


def sequences(*lengths: int, prompt: int = 0, size: int = 1) -> list[Sampled]:
    return [Sampled(place // size, prompt, length) for place, length in enumerate(lengths)]


def test_shorter_completions_leave_the_batch_first():
    # 2 steps of three, then 3 of two, then 5 of one.
    schedule = Schedule(sequences(2, 5, 10), 8, Costs())
    assert schedule.seconds == pytest.approx(2 * 1.3 + 3 * 1.2 + 5 * 1.1)


def test_a_free_place_is_taken_at_once():
    # Two places: 4 and 6 begin, then 3 in the place of 4, which ends at 7, after 6 at 6.
    schedule = Schedule(sequences(4, 6, 3), 2, Costs())
    assert schedule.seconds == pytest.approx(6 * 1.2 + 1 * 1.1)


def test_a_prompt_is_computed_once_a_group():
    one = Schedule(sequences(1, 1, 1, 1, prompt=100, size=4), 8, Costs(each=0))
    four = Schedule(sequences(1, 1, 1, 1, prompt=100, size=1), 8, Costs(each=0))
    # Of 100 tokens 96 fill blocks of 16.
    blocks = Schedule(sequences(1, 1, 1, 1, prompt=100, size=4), 8, Costs(each=0, block=16))
    assert blocks.seconds == pytest.approx(1 + 0.01 * (100 + 3 * 4))
    assert one.seconds == pytest.approx(1 + 1.0)
    assert four.seconds == pytest.approx(4 + 1.0)


def test_what_is_left_goes_on_and_is_read_again():
    schedule = Schedule(sequences(2, 10, 4, prompt=5), 2, Costs(prompt=0))
    # 3 engine steps of two sequences each.
    rest = schedule.rest(3 * 1.2 + 0.01)
    assert [(one.group, one.done, one.left) for one in rest] == [(1, 3, 7), (2, 1, 3)]
    # Both prompts, and the 4 tokens that had been sampled.
    again = Schedule(rest, 2, Costs())
    assert again.seconds == pytest.approx(0.01 * (10 + 4) + 3 * 1.2 + 4 * 1.1)


def test_a_sequence_keeps_the_version_it_began_with():
    schedule = Schedule(sequences(5, 5, 5), 2, Costs(prompt=0))
    schedule.stamp(1.0, 3)
    assert [one.version for one in schedule.sequences] == [3, 3, None]
    schedule.stamp(schedule.seconds, 4)
    assert [one.version for one in schedule.sequences] == [3, 3, 4]


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=25),
    slots=st.integers(1, 30),
    share=st.floats(0, 1),
)
def test_no_token_is_lost_by_a_pause(lengths, slots, share):
    whole = sequences(*lengths, prompt=3)
    schedule = Schedule(copy.deepcopy(whole), slots, Costs())
    rest = schedule.rest(share * schedule.seconds)
    left = {one.group: one for one in rest}
    for group, length in enumerate(lengths):
        if group in left:
            assert left[group].done + left[group].left == length
            assert left[group].left > 0
    assert len(left) == len(rest)
    if share == 0:
        assert len(rest) == len(lengths)
    if share == 1:
        assert not rest


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=25), slots=st.integers(1, 30))
def test_time_is_bounded_by_the_tokens_and_by_the_longest(lengths, slots):
    schedule = Schedule(sequences(*lengths), slots, Costs(each=0))
    # With 1 s a step: no less than the longest, no less than full batches; no more than one by one.
    assert schedule.seconds >= max(*lengths, sum(lengths) / slots) - 1e-9
    assert schedule.seconds <= sum(lengths) + 1e-9
