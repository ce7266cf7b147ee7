"""Documents: merging, state vectors, diffs, and that no update is ever lost.

Here pycrdt makes the edits and reads the results, of content that it preserves.  Other tests send histories made by Yjs
through a daemon.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Doc, Text

from canvas_collab.document.document import Document
from canvas_collab.document.merging import merge_updates
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.state_vector import EMPTY_STATE_VECTOR, decode_state_vector
from canvas_collab.protocol.structs import Run
from canvas_collab.protocol.update import EMPTY_UPDATE, RUN_WEIGHT, Update, decode_update
from tests.support.updates import content, document_of, edits, update_of_many_clients, update_with_gaps

seeds = st.integers(0, 2**32)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 300))
def test_a_fresh_client_gets_everything_in_whatever_order_it_came(seed: int, count: int) -> None:
    updates = edits(seed, count)
    document = Document()
    for update in random.Random(seed).sample(updates, len(updates)):
        document.append(update)
    assert content(document.encode_diff(EMPTY_STATE_VECTOR)) == content(*updates)
    assert document.encode() == document.encode_diff(EMPTY_STATE_VECTOR)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 100), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(seed: int, count: int, order: random.Random) -> None:
    updates = edits(seed, count)
    shuffled = updates + order.choices(updates, k=10)
    order.shuffle(shuffled)
    one, other = document_of(updates), document_of(shuffled)
    assert decode_state_vector(one.state_vector) == decode_state_vector(other.state_vector)
    assert not one.lacks_any_of(decode_update(other.encode()))
    assert not other.lacks_any_of(decode_update(one.encode()))


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 200), st.floats(0, 1))
def test_the_diff_has_what_a_client_lacks_and_no_more(seed: int, count: int, share: float) -> None:
    updates = edits(seed, count)
    known = updates[: int(share * count)]
    document = document_of(updates)
    behind = document_of(known)
    diff = document.encode_diff(behind.state_vector)
    assert content(*known, diff) == content(*updates)
    theirs = decode_state_vector(behind.state_vector)
    for client, runs in decode_update(diff).runs.items():
        assert runs[0].clock >= theirs.get(client, 0)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 60), st.data())
def test_an_update_has_a_new_part_until_it_is_applied(seed: int, count: int, data: st.DataObject) -> None:
    updates = edits(seed, count)
    document = document_of([])
    for index in data.draw(st.lists(st.integers(0, count - 1), unique=True)):
        before = document.encode()
        lacks_any = document.lacks_any_of(decode_update(updates[index]))
        document.append(updates[index])
        assert lacks_any == (document.encode() != before)
        assert not document.lacks_any_of(decode_update(updates[index]))


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_the_sync_step_2_of_an_up_to_date_client_has_nothing_new_the_second_time(seed: int) -> None:
    document = document_of(edits(seed, 300))
    client: Doc[Any] = Doc()
    client.apply_update(document.encode())
    # Integrating deletes all but one of the values set concurrently for one key; no update has had these deletions.
    document.append(client.get_update(document.state_vector))
    assert not document.lacks_any_of(decode_update(client.get_update(document.state_vector)))
    assert not document.lacks_any_of(decode_update(client.get_update()))


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_a_gap_is_kept_open_until_it_is_filled(seed: int) -> None:
    *before, last = updates = edits(seed, 40, writers=1)
    document = document_of([last])
    assert decode_state_vector(document.state_vector) == {}
    assert not document.lacks_any_of(decode_update(last))
    assert document.lacks_any_of(decode_update(before[0]))
    assert not document_of([document.encode()]).lacks_any_of(decode_update(last))
    for update in before:
        document.append(update)
    assert content(document.encode_diff(EMPTY_STATE_VECTOR)) == content(*updates)


def test_structs_that_overlap_known_ones_are_sliced() -> None:
    doc: Doc[Any] = Doc()
    text = doc.get("text", type=Text)
    text += "abc"
    before = doc.get_update()
    text += "def"
    whole = doc.get_update()
    assert len(decode_update(whole).runs[doc.client_id]) == 1
    document = document_of([before, whole])
    assert content(document.encode())[0] == "abcdef"
    assert decode_state_vector(document.state_vector) == {doc.client_id: 6}
    assert content(before, document.encode_diff(document_of([before]).state_vector))[0] == "abcdef"


def test_a_deletion_alone_is_new() -> None:
    doc: Doc[Any] = Doc()
    text = doc.get("text", type=Text)
    text += "abc"
    document = document_of([doc.get_update()])
    state = doc.get_state()
    del text[0:1]
    deletion = doc.get_update(state)
    assert document.lacks_any_of(decode_update(deletion))
    document.append(deletion)
    assert not document.lacks_any_of(decode_update(deletion))
    assert content(document.encode_diff(state), document.encode_diff(EMPTY_STATE_VECTOR))[0] == "bc"


@pytest.mark.parametrize("update", [b"", b"\x01", b"\xff" * 20, b"\x00", b"\x00\x05"])
def test_other_bytes_are_rejected_and_change_nothing(update: bytes) -> None:
    document = document_of(edits(2, 10))
    before = document.encode()
    with pytest.raises(Malformed):
        document.append(update)
    assert document.encode() == before


@pytest.mark.parametrize("state_vector", [b"", b"\x01", b"\x01\x01"])
def test_a_malformed_state_vector_is_rejected(state_vector: bytes) -> None:
    with pytest.raises(Malformed):
        document_of(edits(3, 10)).encode_diff(state_vector)


def test_an_empty_update_changes_nothing() -> None:
    document = Document()
    assert not document.append(EMPTY_UPDATE)
    assert document.size == 0
    assert document.encode() == document.encode_diff(EMPTY_STATE_VECTOR) == EMPTY_UPDATE
    assert document.state_vector == EMPTY_STATE_VECTOR


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 60), st.integers(0, 20), st.randoms(use_true_random=False))
def test_merged_updates_have_what_all_of_them_have(seed: int, count: int, twice: int, chance: random.Random) -> None:
    updates = edits(seed, count)
    updates += updates[:twice]
    in_order = merge_updates([decode_update(update) for update in updates])
    assert content(in_order) == content(*updates)
    chance.shuffle(updates)
    shuffled = merge_updates([decode_update(update) for update in updates])

    assert in_order == shuffled == document_of(updates).encode()


def test_merging_no_updates_gives_the_empty_update() -> None:
    assert merge_updates([]) == EMPTY_UPDATE


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2), st.integers(0, 30), st.integers(1, 8)), max_size=12))
def test_exactly_the_applied_clocks_are_known(stretches: list[tuple[int, int, int]]) -> None:
    document = Document()
    known: set[tuple[int, int]] = set()
    for client, clock, length in stretches:
        clocks = {(client, clock + offset) for offset in range(length)}
        # A GC of length 1 for each clock.
        run = Run(clock, clock + length, length, b"\x00\x01" * length)
        update = Update({client: [run]}, decode_update(EMPTY_UPDATE).deletions)
        assert document.lacks_any_of(update) == bool(clocks - known)
        document.apply(update)
        known |= clocks
    again = decode_update(document.encode())
    found = {
        (client, clock) for client, runs in again.runs.items() for run in runs for clock in range(run.clock, run.end)
    }
    assert found == known
    for client, clock in decode_state_vector(document.state_vector).items():
        assert {(client, before) for before in range(clock)} <= known
        assert (client, clock) not in known


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 100))
def test_applying_an_update_returns_its_new_part(seed: int, count: int) -> None:
    updates = edits(seed, count)
    known = document_of(updates[: count // 2])
    everything = merge_updates([decode_update(update) for update in updates])
    other = document_of(updates[: count // 2])
    new_part = known.apply(decode_update(everything))
    for client, runs in new_part.runs.items():
        assert runs[0].clock >= decode_state_vector(other.state_vector).get(client, 0)
    other.apply(new_part)
    assert not other.lacks_any_of(decode_update(everything))
    assert not known.apply(decode_update(everything)).runs


def test_the_weight_of_a_document_counts_its_runs() -> None:
    document = Document()
    for update in map(decode_update, (update_with_gaps(100), update_of_many_clients(50))):
        document.apply(update)
    assert document.weight >= 149 * RUN_WEIGHT
    assert document.weight == Document([decode_update(document.encode())]).weight
    filled = decode_update(b"\x01\x01\x07\x00\x00\xc8\x01\x00")
    document.apply(filled)
    # The gaps are filled, and the runs were joined.
    assert document.weight <= 60 * RUN_WEIGHT
