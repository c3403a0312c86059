"""Memory of a broadcast: shared with other processes, and used again and again."""

from __future__ import annotations

import os
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from actors.transfer.rooms import Rooms
from actors.transfer.segment import HEAD, Segment, SegmentPlace, reach


def read_twice(place: SegmentPlace, line: Connection) -> None:
    """Read, write all over what was read, and read again when told to."""
    segment = reach(place)
    assert segment is not None
    first = segment.weights()
    line.send(int(first.sum()))
    first.fill_(1)
    line.recv()
    line.send(int(segment.weights().sum()))


def test_another_process_reads_what_was_written_and_cannot_spoil_it() -> None:
    segment = Segment(1000)
    segment.room.fill_(7)
    context = get_context("fork")
    ours, theirs = context.Pipe()
    reader = context.Process(target=read_twice, args=(segment.place, theirs), daemon=True)
    reader.start()
    assert ours.poll(60)
    assert ours.recv() == 7000
    segment.room[:500] = 9
    ours.send("again")
    assert ours.poll(60)
    assert ours.recv() == 8000
    reader.join(60)
    assert set(segment.room.tolist()) == {9, 7}


def test_a_segment_elsewhere_is_out_of_reach() -> None:
    segment = Segment(10)
    other = Segment(10)
    assert reach(segment.place) is not None
    assert reach(replace(segment.place, process=2**22 + 1)) is None
    # In another container the same numbers may be some other file, or some other segment.
    assert reach(replace(segment.place, descriptor=other.place.descriptor)) is None
    assert reach(replace(segment.place, nbytes=11)) is None


def test_what_was_reached_outlives_the_sender_and_nothing_is_left_open() -> None:
    before = open_files()
    segment = Segment(10)
    segment.room.fill_(3)
    seen = reach(segment.place)
    assert seen is not None
    weights = seen.weights()
    place = segment.place
    del segment
    assert reach(place) is None
    assert weights.tolist() == [3] * 10
    del seen, weights
    assert open_files() == before


def open_files() -> set[str]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(os.readlink(entry))  # noqa: PTH115 (its targets are no paths)
        except FileNotFoundError:
            continue
    return found


def test_the_weights_begin_on_a_page_of_their_own() -> None:
    segment = Segment(64)
    assert segment.room.data_ptr() % HEAD == 0
    assert segment.room.numel() == 64


def test_memory_is_handed_out_again_once_nothing_views_it() -> None:
    rooms = Rooms()
    first = rooms.take(100)
    where = first.data_ptr()
    view = first[10:20].view(torch.uint8)
    del first
    second = rooms.take(100)
    assert second.data_ptr() != where
    view.fill_(5)
    second.fill_(6)
    assert view.tolist() == [5] * 10
    del view
    assert rooms.take(60).data_ptr() == where


@pytest.mark.parametrize("sizes", [[10, 100, 1000], [1000, 10, 100]])
def test_no_more_is_held_than_was_used_at_once(sizes: list[int]) -> None:
    rooms = Rooms()
    for size in sizes:
        room = rooms.take(size)
        assert room.numel() == size
        del room
    assert len(rooms._held) == 1
    assert rooms.take(0).numel() == 0
