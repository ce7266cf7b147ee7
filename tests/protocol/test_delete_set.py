"""Delete sets, compared with sets of clocks."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canvas_collab.protocol.delete_set import DeleteSet, read_delete_set
from canvas_collab.protocol.lib0 import TooLarge, encode_var_uint
from canvas_collab.protocol.steps import run_to_completion

pytestmark = pytest.mark.usefixtures("small_blocks")

RANGES = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40)), max_size=60)


@given(RANGES, RANGES)
def test_merging_a_delete_set_returns_its_new_part(known: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    mine, theirs = DeleteSet(), DeleteSet()
    for deletions, stretches in ((mine, known), (theirs, other)):
        for start, length in stretches:
            deletions.add(start % 2, start, start + length)
    new, both, before = theirs.difference(mine), mine.intersection(theirs), DeleteSet()
    before.update(mine)
    new_part = run_to_completion(mine.merge(theirs))
    assert new_part == new
    assert (new_part is theirs) == (new == theirs and not both)
    assert mine.covers(theirs)
    assert mine.covers(before)
    before.update(theirs)
    assert mine == before
    assert mine.weight == before.weight


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled", "overlapping", "one client many times"])
def test_decoding_normalizes_a_delete_set_and_returns_whether_it_was_normalized(order: str) -> None:
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


def test_a_delete_set_that_would_take_too_much_memory_is_rejected() -> None:
    stretches = b"".join(encode_var_uint(index * 2) + b"\x01" for index in range(10_000))
    data = b"\x01\x07" + encode_var_uint(10_000) + stretches
    with pytest.raises(TooLarge):
        run_to_completion(read_delete_set(data, 0, 20_000))
    clients = b"".join(encode_var_uint(client) + b"\x01\x00\x01" for client in range(1000))
    with pytest.raises(TooLarge):
        run_to_completion(read_delete_set(encode_var_uint(1000) + clients, 0, 20_000))
    several = encode_var_uint(500) + b"".join(encode_var_uint(index * 2) + b"\x01" for index in range(500))
    together = b"\x0a" + b"".join(encode_var_uint(client) + several for client in range(10))
    with pytest.raises(TooLarge):
        run_to_completion(read_delete_set(together, 0, 60_000))
    # Ranges of a client that occurs again only count as far as they add any.
    again = b"\x0a" + (b"\x07" + several) * 10
    assert run_to_completion(read_delete_set(again, 0, 60_000))[0].weight < 60_000


ranges = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60), st.integers(1, 12)), max_size=25)


@settings(max_examples=300, deadline=None)
@given(ranges, ranges)
def test_a_delete_set_holds_exactly_what_was_added(
    first: list[tuple[int, int, int]], second: list[tuple[int, int, int]]
) -> None:
    def clocks(stretches: list[tuple[int, int, int]]) -> set[tuple[int, int]]:
        return {(client, clock) for client, start, length in stretches for clock in range(start, start + length)}

    def delete_set(stretches: list[tuple[int, int, int]]) -> DeleteSet:
        deletions = DeleteSet()
        for client, start, length in stretches:
            deletions.add(client, start, start + length)
        return deletions

    one, other = delete_set(first), delete_set(second)
    assert one.covers(other) == (clocks(second) <= clocks(first))
    one.encode()
    one.update(other)
    assert {(c, clock) for c, found in one.items() for a, b in found for clock in range(a, b)} == clocks(first + second)
    again = DeleteSet.decode(one.encode())
    assert sorted(again.items()) == sorted(one.items())
    for _, found in one.items():
        assert all(before[1] < after[0] for before, after in pairwise(found))
