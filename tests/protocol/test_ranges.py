"""Ranges of clocks: the same as sets of clocks would have it, whatever the order and however many there are."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.protocol import ranges as module
from canvas_collab.protocol.delete_set import DeleteSet, read_delete_set
from canvas_collab.protocol.lib0 import TooLarge, encode_var_uint
from canvas_collab.protocol.ranges import Ranges
from canvas_collab.protocol.steps import run_to_completion

RANGES = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40)), max_size=60)


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> object:
    """Blocks so small that a few ranges fill several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_SIZE", 3)
        yield


def filled(stretches: list[tuple[int, int]]) -> tuple[Ranges, set[int]]:
    ranges, clocks = Ranges(), set()
    for start, length in stretches:
        ranges.add(start, start + length)
        clocks.update(range(start, start + length))
    return ranges, clocks


@given(RANGES)
def test_ranges_hold_what_was_added_in_order_apart_and_counted(stretches: list[tuple[int, int]]) -> None:
    ranges, clocks = filled(stretches)
    assert {clock for start, end in ranges for clock in range(start, end)} == clocks
    assert all(one[1] < other[0] for one, other in pairwise(ranges))
    assert len(ranges) == len(list(ranges))
    count, encoded = run_to_completion(ranges.encode())
    assert count == len(ranges)
    assert encoded == b"".join(encode_var_uint(start) + encode_var_uint(end - start) for start, end in ranges)


@given(RANGES, st.integers(0, 350), st.integers(1, 100), st.integers(1, 5))
def test_gaps_are_what_is_not_there(stretches: list[tuple[int, int]], start: int, length: int, limit: int) -> None:
    ranges, clocks = filled(stretches)
    end = start + length
    missing: list[int] = []
    clock = start
    while clock < end:
        gaps, reached = ranges.gaps(clock, end, limit)
        assert reached > clock
        missing += [one for gap in gaps for one in range(*gap)]
        clock = reached
    assert missing == [one for one in range(start, end) if one not in clocks]
    assert ranges.covers(start, end) == (not missing)
    overlapping = list(ranges.overlapping(start, end))
    assert overlapping == [one for one in ranges if one[0] < end and one[1] > start]


@given(RANGES, RANGES)
def test_a_delete_set_takes_in_another_and_tells_what_was_new(
    known: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    mine, theirs = DeleteSet(), DeleteSet()
    for deletions, stretches in ((mine, known), (theirs, other)):
        for start, length in stretches:
            deletions.add(start % 2, start, start + length)
    new, both, before = theirs.difference(mine), mine.intersection(theirs), DeleteSet()
    before.update(mine)
    news = run_to_completion(mine.merge(theirs))
    assert news == new
    assert (news is theirs) == (new == theirs and not both)
    assert mine.covers(theirs)
    assert mine.covers(before)
    before.update(theirs)
    assert mine == before
    assert mine.weight == before.weight


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled", "overlapping", "one client many times"])
def test_delete_sets_are_canonical_whatever_they_were_and_tell_whether_they_were(order: str) -> None:
    stretches = [(index * 4, 2) for index in range(2000)]
    if order == "descending":
        stretches.reverse()
    elif order == "shuffled":
        random.Random(1).shuffle(stretches)
    elif order == "overlapping":
        stretches = [(index * 2, 3) for index in range(2000)]
    groups = [[stretch] for stretch in stretches] if order == "one client many times" else [stretches]
    data = encode_var_uint(len(groups))
    for group in groups:
        data += b"\x07" + encode_var_uint(len(group))
        data += b"".join(encode_var_uint(start) + encode_var_uint(length) for start, length in group)
    deletions, stop, in_order = run_to_completion(read_delete_set(data + b"more", 0, None))
    assert stop == len(data)
    assert in_order == (order == "ascending")
    expected = [(0, 4001)] if order == "overlapping" else [(index * 4, index * 4 + 2) for index in range(2000)]
    assert list(deletions.ranges(7)) == expected
    again, _, is_canonical = run_to_completion(read_delete_set(deletions.encode(), 0, None))
    assert is_canonical
    assert again == deletions


def test_a_delete_set_that_would_take_more_memory_than_it_may_is_refused() -> None:
    stretches = b"".join(encode_var_uint(index * 2) + b"\x01" for index in range(10_000))
    data = b"\x01\x07" + encode_var_uint(10_000) + stretches
    with pytest.raises(TooLarge):
        run_to_completion(read_delete_set(data, 0, 20_000))
    authors = b"".join(encode_var_uint(client) + b"\x01\x00\x01" for client in range(1000))
    with pytest.raises(TooLarge):
        run_to_completion(read_delete_set(encode_var_uint(1000) + authors, 0, 20_000))
    several = encode_var_uint(500) + b"".join(encode_var_uint(index * 2) + b"\x01" for index in range(500))
    together = b"\x0a" + b"".join(encode_var_uint(client) + several for client in range(10))
    with pytest.raises(TooLarge):
        run_to_completion(read_delete_set(together, 0, 60_000))
    # The same author's ranges again weigh what they add.
    again = b"\x0a" + (b"\x07" + several) * 10
    assert run_to_completion(read_delete_set(again, 0, 60_000))[0].weight < 60_000
