"""The lossless document: what it knows, what it answers, and that nothing is ever lost.

Here the engine pycrdt makes the edits and reads the results, of content that it keeps as it is.  Histories that Yjs
makes, and reads, are sent through a daemon in other tests.
"""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text
from pycrdt import merge_updates as engine_merge

from canvas_collab.document.document import Document, merge_updates
from canvas_collab.document.run_list import SIZE_RATIO
from canvas_collab.protocol.layout import decode_with_layout
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.state_vector import EMPTY_STATE_VECTOR, decode_state_vector
from canvas_collab.protocol.structs import RUN_SIZE, Run, slice_run
from canvas_collab.protocol.update import EMPTY_UPDATE, Update, decode_update, encode_update


def edits(seed: int, count: int, writers: int = 3) -> list[bytes]:
    """The updates of some writers who hear of each other now and then."""
    chance = random.Random(seed)
    docs = [Doc() for _ in range(writers)]
    updates: list[bytes] = []
    for doc in docs:
        doc.observe(lambda event: updates.append(event.update))
    while len(updates) < count:
        doc = chance.choice(docs)
        text = doc.get("text", type=Text)
        kind = chance.randrange(6)
        if kind <= 2:
            text.insert(chance.randint(0, len(str(text))), chance.choice(["a", "bc", "def"]))
        elif kind == 3 and len(str(text)) > 1:
            at = chance.randrange(len(str(text)) - 1)
            del text[at : at + 1]
        elif kind == 4:
            doc.get("map", type=Map)[chance.choice("xyz")] = chance.random()
        else:
            doc.get("array", type=Array).extend([chance.random(), None, True])
        if chance.random() < 0.1:
            other = chance.choice(docs)
            before = len(updates)
            other.apply_update(doc.get_update(other.get_state()))
            # That is not an edit of anybody.
            del updates[before:]
    return updates[:count]


def content(*updates: bytes) -> tuple[str, object, object]:
    """What a fresh client makes of updates."""
    doc: Doc = Doc()
    doc.apply_update(engine_merge(*updates))
    return (
        str(doc.get("text", type=Text)),
        doc.get("map", type=Map).to_py() or {},
        doc.get("array", type=Array).to_py() or [],
    )


def document_of(updates: list[bytes]) -> Document:
    return Document(map(decode_update, updates))


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
def test_the_order_of_arrival_makes_no_difference_to_what_is_known(seed: int, count: int, order: random.Random) -> None:
    updates = edits(seed, count)
    shuffled = updates + order.choices(updates, k=10)
    order.shuffle(shuffled)
    one, other = document_of(updates), document_of(shuffled)
    assert decode_state_vector(one.state_vector) == decode_state_vector(other.state_vector)
    assert not one.lacks_any_of(decode_update(other.encode()))
    assert not other.lacks_any_of(decode_update(one.encode()))


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 200), st.floats(0, 1))
def test_a_client_that_is_behind_gets_what_it_lacks_and_no_more(seed: int, count: int, share: float) -> None:
    updates = edits(seed, count)
    known = updates[: int(share * count)]
    document = document_of(updates)
    behind = document_of(known)
    encode_diff = document.encode_diff(behind.state_vector)
    assert content(*known, encode_diff) == content(*updates)
    theirs = decode_state_vector(behind.state_vector)
    for client, runs in decode_update(encode_diff).runs.items():
        assert runs[0].clock >= theirs.get(client, 0)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 60), st.data())
def test_an_update_adds_something_exactly_until_it_has_come(seed: int, count: int, data: st.DataObject) -> None:
    updates = edits(seed, count)
    document = document_of([])
    for index in data.draw(st.lists(st.integers(0, count - 1), unique=True)):
        before = document.encode()
        lacks_any_of = document.lacks_any_of(decode_update(updates[index]))
        document.append(updates[index])
        assert lacks_any_of == (document.encode() != before)
        assert not document.lacks_any_of(decode_update(updates[index]))


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_the_step_2_of_a_client_that_is_up_to_date_adds_nothing_after_the_first_time(seed: int) -> None:
    document = document_of(edits(seed, 300))
    client: Doc = Doc()
    client.apply_update(document.encode())
    # Of values set concurrently for one key, integrating deletes all but one, which no update has said before.
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


def test_structs_that_overlap_what_is_known_are_cut_where_that_ends() -> None:
    doc: Doc = Doc()
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


@settings(max_examples=60, deadline=None)
@given(st.text("a😀é", min_size=2, max_size=12), st.data())
def test_a_stretch_of_text_can_be_cut_anywhere(text: str, data: st.DataObject) -> None:
    doc: Doc = Doc()
    shared = doc.get("text", type=Text)
    shared += text
    [run] = decode_update(doc.get_update()).runs[doc.client_id]
    cut = data.draw(st.integers(1, run.end - 1))
    first, second = slice_run(run, 0, cut, doc.client_id), slice_run(run, cut, run.end, doc.client_id)
    deletions = decode_update(EMPTY_UPDATE).deletions
    parts = [encode_update({doc.client_id: [part]}, deletions) for part in (first, second)]
    units = text.encode("utf-16-le")
    halves = [units[: 2 * cut].decode("utf-16-le", "replace"), units[2 * cut :].decode("utf-16-le", "replace")]
    fresh: Doc = Doc()
    for part in parts:
        fresh.apply_update(part)
    assert str(fresh.get("text", type=Text)) == "".join(halves)


def test_a_deletion_alone_is_news() -> None:
    doc: Doc = Doc()
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


def test_few_runs_are_kept_however_many_updates_come() -> None:
    document = document_of(edits(1, 3000))
    for runs in document._runs.values():
        assert len(runs) < 12
        for first, second in pairwise(runs):
            assert first.end == second.clock
            full = len(first.data) + len(second.data) > RUN_SIZE
            assert full or len(first.data) >= SIZE_RATIO * len(second.data)
    assert document.size == sum(len(run.data) for runs in document._runs.values() for run in runs)


def test_no_run_is_so_large_that_looking_for_a_place_in_it_takes_long() -> None:
    doc: Doc = Doc()
    shapes = doc.get("shapes", type=Map)
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    for number in range(4000):
        shapes[f"shape {number}"] = number
    doc.unobserve(subscription)
    typed, loaded = document_of(updates), document_of([doc.get_update()])
    for document in (typed, loaded):
        sizes = [len(run.data) for runs in document._runs.values() for run in runs]
        assert sum(sizes) > 4 * RUN_SIZE
        assert max(sizes) < RUN_SIZE * 1.1
        assert len(sizes) < sum(sizes) / RUN_SIZE * 2 + 12
    behind = document_of(updates[:-10])
    assert len(typed.encode_diff(behind.state_vector)) < 400


@given(seeds, st.integers(1, 300), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_a_snapshot_is_read_by_its_layout_as_it_is_without(seed: int, count: int, chance: random.Random) -> None:
    updates = [update for update in edits(seed, count) if chance.random() < 0.8]
    document = document_of(updates)
    data, layout = document.encode(), document.layout
    again = Document([decode_with_layout(data, layout)])
    assert again.encode() == data
    assert again.state_vector == document.state_vector
    assert again.size == document.size
    assert len(layout) < len(data) + 20


@given(seeds, st.integers(0, 2**16), st.integers(1, 255))
@settings(max_examples=100, deadline=None)
def test_a_layout_of_something_else_is_found_out_or_harmless(seed: int, place: int, change: int) -> None:
    document = document_of(edits(seed, 30))
    layout = bytearray(document.layout)
    layout[place % len(layout)] ^= change
    try:
        found = decode_with_layout(document.encode(), bytes(layout))
    except Malformed:
        return
    assert isinstance(found, Update)


@pytest.mark.parametrize("update", [b"", b"\x01", b"\xff" * 20, b"\x00", b"\x00\x05"])
def test_what_is_no_update_is_refused_and_changes_nothing(update: bytes) -> None:
    document = document_of(edits(2, 10))
    before = document.encode()
    with pytest.raises(Malformed):
        document.append(update)
    assert document.encode() == before


@pytest.mark.parametrize("state_vector", [b"", b"\x01", b"\x01\x01"])
def test_what_is_no_state_vector_is_refused(state_vector: bytes) -> None:
    with pytest.raises(Malformed):
        document_of(edits(3, 10)).encode_diff(state_vector)


def test_an_update_that_holds_nothing_leaves_no_trace() -> None:
    document = Document()
    assert not document.append(EMPTY_UPDATE)
    assert document.size == 0
    assert document.encode() == document.encode_diff(EMPTY_STATE_VECTOR) == EMPTY_UPDATE
    assert document.state_vector == EMPTY_STATE_VECTOR


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 60), st.integers(0, 20), st.randoms(use_true_random=False))
def test_merging_updates_holds_what_all_of_them_hold(seed: int, count: int, twice: int, chance: random.Random) -> None:
    updates = edits(seed, count)
    updates += updates[:twice]
    in_order = merge_updates([decode_update(update) for update in updates])
    assert content(in_order) == content(*updates)
    chance.shuffle(updates)
    shuffled = merge_updates([decode_update(update) for update in updates])

    assert in_order == shuffled == document_of(updates).encode()


def test_nothing_merged_is_the_update_that_holds_nothing() -> None:
    assert merge_updates([]) == EMPTY_UPDATE


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2), st.integers(0, 30), st.integers(1, 8)), max_size=12))
def test_what_is_known_is_exactly_what_has_come(stretches: list[tuple[int, int, int]]) -> None:
    document = Document()
    known: set[tuple[int, int]] = set()
    for client, clock, length in stretches:
        clocks = {(client, clock + offset) for offset in range(length)}
        # A struct for each clock: garbage-collected, of length 1.
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
def test_taking_an_update_in_tells_what_of_it_was_new(seed: int, count: int) -> None:
    updates = edits(seed, count)
    known = document_of(updates[: count // 2])
    everything = merge_updates(map(decode_update, updates))
    listener = document_of(updates[: count // 2])
    taken = known.apply(decode_update(everything))
    for client, runs in taken.runs.items():
        assert runs[0].clock >= decode_state_vector(listener.state_vector).get(client, 0)
    listener.apply(taken)
    assert not listener.lacks_any_of(decode_update(everything))
    assert not known.apply(decode_update(everything)).runs


def test_a_collected_stretch_with_the_bits_of_an_items_fields_is_cut_as_one() -> None:
    known = b"\x01\x01\x05\x00\x00\x02\x00"
    # Yjs does not look at its other bits.
    longer = b"\x01\x01\x05\x00\xc0\x04\x00"
    assert document_of([known, longer]).clocks == {5: 4}
