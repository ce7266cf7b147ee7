"""Ranges of clocks, compared with sets of clocks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.protocol.lib0 import encode_var_uint
from canvas_collab.protocol.ranges import Ranges
from canvas_collab.protocol.steps import run_to_completion

pytestmark = pytest.mark.usefixtures("small_blocks")

RANGES = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40)), max_size=60)


def ranges_and_clocks(added: list[tuple[int, int]]) -> tuple[Ranges, set[int]]:
    """Return ranges and the set of clocks in them.

    :param added: the first clock and the length of each range.
    """
    ranges = Ranges()
    clocks: set[int] = set()
    for start, length in added:
        ranges.add(start, start + length)
        clocks.update(range(start, start + length))
    return ranges, clocks


@given(RANGES)
def test_ranges_are_ordered_disjoint_and_counted(added: list[tuple[int, int]]) -> None:
    ranges, clocks = ranges_and_clocks(added)
    assert {clock for start, end in ranges for clock in range(start, end)} == clocks
    assert all(one[1] < other[0] for one, other in pairwise(ranges))
    assert len(ranges) == len(list(ranges))
    count, encoded = run_to_completion(ranges.encode())
    assert count == len(ranges)
    assert encoded == b"".join(encode_var_uint(start) + encode_var_uint(end - start) for start, end in ranges)


@given(RANGES, st.integers(0, 350), st.integers(1, 100), st.integers(1, 5))
def test_gaps_are_the_clocks_outside_the_ranges(
    added: list[tuple[int, int]], start: int, length: int, limit: int
) -> None:
    ranges, clocks = ranges_and_clocks(added)
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
