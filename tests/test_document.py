"""The lossless document: what it knows, what it answers, and that nothing is ever lost.

The engine's own documents make the edits; Yjs itself is asked in the tests with real clients.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text

from canvas_collab import engine
from canvas_collab.document import TAIL_LENGTH, Document, Knowledge
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.state_vector import EMPTY_STATE_VECTOR, decode_state_vector


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
            doc.get("array", type=Array).append(chance.random())
        if chance.random() < 0.1:
            other = chance.choice(docs)
            before = len(updates)
            other.apply_update(doc.get_update(other.get_state()))
            # That is not an edit of anybody.
            del updates[before:]
    return updates[:count]


def content(*updates: bytes) -> tuple[str, dict[str, object], list[object], dict[int, int]]:
    """What a fresh client makes of updates, and their state vector."""
    doc: Doc = Doc()
    merged = engine.merge(*updates)
    doc.apply_update(merged)
    return (
        str(doc.get("text", type=Text)),
        doc.get("map", type=Map).to_py() or {},
        doc.get("array", type=Array).to_py() or [],
        decode_state_vector(engine.state_vector(merged)),
    )


seeds = st.integers(0, 2**32)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 3 * TAIL_LENGTH))
def test_a_fresh_client_gets_everything_in_whatever_order_it_came(seed: int, count: int) -> None:
    updates = edits(seed, count)
    document = Document()
    for update in random.Random(seed).sample(updates, len(updates)):
        document.append(update)
    assert content(*document.lacking(EMPTY_STATE_VECTOR)) == content(*updates)
    assert content(document.whole()) == content(*updates)
    assert decode_state_vector(document.state_vector) == content(*updates)[3]


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 2 * TAIL_LENGTH), st.floats(0, 1))
def test_a_client_that_is_behind_gets_what_it_lacks(seed: int, count: int, share: float) -> None:
    updates = edits(seed, count)
    known = updates[: int(share * count)]
    document = Document(known)
    for update in updates[len(known) :]:
        document.append(update)
    behind: Doc = Doc()
    if known:
        behind.apply_update(engine.merge(*known))
    lacking = document.lacking(behind.get_state())
    assert content(*known, *lacking) == content(*updates)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 60), st.data())
def test_an_update_adds_something_exactly_until_it_has_come(seed: int, count: int, data: st.DataObject) -> None:
    updates = edits(seed, count)
    come = data.draw(st.sets(st.integers(0, count - 1)))
    document = Document()
    for index in come:
        document.append(updates[index])
    before = document.whole()
    for index, update in enumerate(updates):
        merged = engine.merge(before, update)
        assert document.adds(update) == (merged != engine.merge(before, engine.EMPTY_UPDATE))
        if index in come:
            assert not document.adds(update)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_the_step_2_of_a_client_that_is_up_to_date_adds_nothing_after_the_first_time(seed: int) -> None:
    updates = edits(seed, 300)
    document = Document(updates[:100])
    for update in updates[100:]:
        document.append(update)
    client: Doc = Doc()
    client.apply_update(document.whole())
    # Of values set concurrently for one key, integrating deletes all but one, which no update has said before.
    document.append(client.get_update(document.state_vector))
    assert not document.adds(client.get_update(document.state_vector))
    assert not document.adds(client.get_update())


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_a_gap_is_kept_open_until_it_is_filled(seed: int) -> None:
    first, *_, last = updates = edits(seed, 40, writers=1)
    document = Document()
    document.append(last)
    assert decode_state_vector(document.state_vector) == {}
    assert not document.adds(last)
    assert document.adds(first)
    for update in updates[:-1]:
        document.append(update)
    assert content(*document.lacking(EMPTY_STATE_VECTOR)) == content(*updates)
    assert decode_state_vector(document.state_vector) == content(*updates)[3]


def test_a_deletion_alone_is_news() -> None:
    doc: Doc = Doc()
    text = doc.get("text", type=Text)
    text += "abc"
    document = Document([doc.get_update()])
    state = doc.get_state()
    del text[0:1]
    deletion = doc.get_update(state)
    assert document.adds(deletion)
    document.append(deletion)
    assert not document.adds(deletion)
    assert content(*document.lacking(state), *document.lacking(EMPTY_STATE_VECTOR))[0] == "bc"


def test_knowledge_stays_small_while_the_document_grows() -> None:
    doc: Doc = Doc()
    text = doc.get("text", type=Text)
    document = Document()
    doc.observe(lambda event: document.append(event.update))
    for _ in range(1000):
        text += "some text "
    assert document.size > 10_000
    assert len(document.knowledge.rest) + len(document.state_vector) < 50


def test_few_chunks_are_kept_however_many_updates_come() -> None:
    document = Document()
    for update in edits(1, 20 * TAIL_LENGTH):
        document.append(update)
    assert len(document._chunks) < 5
    assert len(document._tail) < TAIL_LENGTH


@pytest.mark.parametrize("update", [b"", b"\x01", b"\xff" * 20, b"\x00", bytes(100)[:1] + b"\x05"])
def test_what_is_no_update_is_refused_and_changes_nothing(update: bytes) -> None:
    document = Document(edits(2, 10))
    before = document.whole()
    with pytest.raises(Malformed):
        document.append(update)
    with pytest.raises(Malformed):
        document.adds(update)
    assert document.whole() == before


@pytest.mark.parametrize("state_vector", [b"", b"\x01", b"\x01\x01"])
def test_what_is_no_state_vector_is_refused(state_vector: bytes) -> None:
    with pytest.raises(Malformed):
        Document(edits(3, 10)).lacking(state_vector)


def test_an_update_that_holds_nothing_leaves_no_trace() -> None:
    document = Document()
    assert document.append(b"\x00\x00") == engine.EMPTY_UPDATE
    assert document.size == 0
    assert not document.adds(engine.EMPTY_UPDATE)
    assert document.lacking(EMPTY_STATE_VECTOR) == [engine.EMPTY_UPDATE]


def test_knowledge_of_nothing_is_empty() -> None:
    assert Knowledge().including([]) == Knowledge(EMPTY_STATE_VECTOR, engine.EMPTY_UPDATE)


def test_many_updates_are_merged_as_a_tree_to_the_same_bytes() -> None:
    updates = edits(4, 3 * engine.FAN_IN)
    flat = updates[0]
    for update in updates[1:]:
        flat = engine.merge(flat, update)
    assert content(engine.merge(*updates)) == content(flat)
    assert engine.merge() == engine.EMPTY_UPDATE
