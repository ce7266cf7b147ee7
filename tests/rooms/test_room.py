"""How a room distributes updates: to the journal, to the other connections, and to those under backpressure later."""

from __future__ import annotations

from typing import Any

import pytest
from pycrdt import Doc, Text

from canvas_collab.document import document
from canvas_collab.document.document import Document, merge_updates
from canvas_collab.protocol import sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.protocol.steps import run_to_completion
from canvas_collab.protocol.update import decode_update
from canvas_collab.rooms import broadcast_queue
from canvas_collab.rooms.awareness import CLOCK_OFFSET
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.rooms.room import MAX_STATELESS_WAITING, STATELESS_AT_ONCE
from tests.support.rooms import WINDOW, RoomHarness, awareness_update, sync_update, update_of


@pytest.fixture(params=[False, True], ids=["edits in steps", "edits at once"])
def harness(request: pytest.FixtureRequest) -> RoomHarness:
    return RoomHarness(edits_at_once=request.param)


def test_an_edit_is_sent_to_all_but_its_sender_and_to_the_journal(harness: RoomHarness) -> None:
    ada, bob, cyd = harness.members
    update = update_of("hello")
    harness.edit(ada, update)
    assert ada.received == []
    assert bob.received == cyd.received == [sync.encode_update(update)]
    assert harness.journal == [("room", "ada", update)]


def test_edits_of_one_window_are_sent_as_one_update_to_all(harness: RoomHarness) -> None:
    ada, bob, cyd = harness.members
    harness.edit(cyd, update_of("first"))
    harness.clear_received()
    one, two = update_of("one"), update_of("two")
    harness.edit(ada, one)
    harness.edit(bob, two)
    assert all(member.received == [] for member in harness.members)
    harness.clock.advance(WINDOW)
    merged = sync.encode_update(merge_updates([decode_update(one), decode_update(two)]))
    assert ada.received == bob.received == cyd.received == [merged]
    assert len(harness.journal) == 3


def test_an_empty_update_is_neither_logged_nor_sent(harness: RoomHarness) -> None:
    harness.edit(harness.members[0], b"\x00\x00")
    harness.clock.advance(1)
    assert harness.journal == []
    assert all(member.received == [] for member in harness.members)


def test_a_closed_room_sends_nothing(harness: RoomHarness) -> None:
    ada, *_ = harness.members
    for clock in range(2):
        harness.edit(ada, update_of("x"))
        harness.set_awareness(ada, Entry(1, clock, "{}"))
    harness.clear_received()
    harness.room.close()
    harness.clock.advance(1)
    assert all(member.received == [] for member in harness.members)
    assert len(harness.journal) == 2


def test_a_connection_under_backpressure_is_sent_what_it_has_missed_once_it_catches_up(harness: RoomHarness) -> None:
    ada, bob, cyd = harness.members
    harness.edit(ada, update_of("before"))
    bob.has_backpressure = True
    missed = [update_of("one"), update_of("two"), update_of("three")]
    for update in missed:
        harness.clock.advance(WINDOW)
        harness.edit(ada, update)
    harness.set_awareness(ada, Entry(1, 0, "{}"))
    # Until it catches up it is sent nothing, even without backpressure: it lacks what newer updates build on.
    bob.has_backpressure = False
    harness.clock.advance(WINDOW)
    harness.edit(ada, update_of("four"))
    assert len(bob.received) == 1
    assert len(cyd.received) == 6

    changes, states = run_to_completion(harness.room.catch_up(bob))
    caught_up = decode_update(sync_update(changes.payload))
    assert len(caught_up.runs) == 4
    bobs = Document([decode_update(sync_update(bob.received[0])), caught_up])
    assert bobs.encode() == harness.room.document.encode()
    assert states.payload == awareness_update(Entry(1, CLOCK_OFFSET, "{}"))
    assert run_to_completion(harness.room.catch_up(bob)) == []
    harness.clock.advance(WINDOW)
    harness.edit(ada, update_of("five"))
    assert len(bob.received) == 2


def test_catching_up_includes_the_update_at_which_backpressure_began(harness: RoomHarness) -> None:
    ada, bob, _ = harness.members
    typist = Doc[Any]()
    text = typist["text"] = Text("a")
    harness.edit(ada, typist.get_update())
    before = typist.get_state()
    text += "b"
    bob.has_backpressure = True
    harness.clock.advance(WINDOW)
    harness.edit(ada, typist.get_update(before))
    [changes] = run_to_completion(harness.room.catch_up(bob))
    bobs = Doc[Any]()
    bobs.apply_update(sync_update(bob.received[0]))
    bobs.apply_update(sync_update(changes.payload))
    assert str(bobs.get("text", type=Text)) == "ab"
    assert sync_update(changes.payload) == typist.get_update(before)


def test_a_connection_that_leaves_under_backpressure_is_forgotten(harness: RoomHarness) -> None:
    ada, bob, _ = harness.members
    bob.has_backpressure = True
    harness.edit(ada, update_of("x"))
    harness.room.leave(bob)
    assert run_to_completion(harness.room.catch_up(bob)) == []


def test_catching_up_includes_an_update_that_is_being_merged_when_backpressure_begins(
    harness: RoomHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, cyd = harness.members
    monkeypatch.setattr(document, "RUNS_PER_STEP", 1)
    merging = harness.room.edit(ada, decode_update(merge_updates([decode_update(update_of(text)) for text in "abc"])))
    next(merging)
    # A part of it is in the document, and was sent to nobody.
    assert harness.room.document.size
    bob.has_backpressure = True
    harness.set_awareness(cyd, Entry(1, 1, "{}"))
    run_to_completion(merging)
    bob.has_backpressure = False
    assert bob.received == []
    [changes, _] = run_to_completion(harness.room.catch_up(bob))
    caught_up = Document([decode_update(sync_update(changes.payload))])
    assert caught_up.encode() == harness.room.document.encode()


def test_updates_that_are_large_together_are_sent_in_several_messages(
    harness: RoomHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, cyd = harness.members
    monkeypatch.setattr(broadcast_queue, "MERGED_SIZE", 300)
    harness.edit(ada, update_of("first"))
    for number, member in enumerate([ada, cyd] * 10):
        harness.edit(member, update_of(str(number) * 50))
    harness.clock.advance(WINDOW)
    assert 3 <= len(bob.received) <= 11
    bobs = Document(map(decode_update, map(sync_update, bob.received)))
    assert bobs.encode() == harness.room.document.encode()


def test_stateless_messages_are_sent_some_at_a_time_in_order_and_those_over_the_limit_are_dropped(
    harness: RoomHarness,
) -> None:
    ada, bob, _ = harness.members
    harness.edit(ada, update_of("before"))
    harness.clear_received()
    messages = [PreparedMessage(str(number).encode()) for number in range(MAX_STATELESS_WAITING + 5)]
    accepted = [harness.room.broadcast_stateless(ada, message) for message in messages]
    assert accepted == [True] * MAX_STATELESS_WAITING + [False] * 5
    harness.clock.advance(WINDOW)
    assert bob.stateless == [message.payload for message in messages[:STATELESS_AT_ONCE]]
    for _ in range(MAX_STATELESS_WAITING // STATELESS_AT_ONCE):
        harness.clock.advance(WINDOW)
    assert bob.stateless == [message.payload for message in messages[:MAX_STATELESS_WAITING]]
    assert ada.stateless == []
