"""How a room sends awareness states: to all connections, to those that join or query, and what counts as an echo."""

from __future__ import annotations

import pytest

from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol import sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.rooms.awareness import CLOCK_OFFSET, STALE_AFTER
from canvas_collab.rooms.awareness_broadcaster import MAX_BROADCAST_SIZE, AwarenessBroadcaster
from canvas_collab.rooms.echo_filter import REMEMBERED
from canvas_collab.rooms.prepared_message import PreparedMessage
from tests.support.rooms import (
    WINDOW,
    FakeMember,
    RoomHarness,
    awareness_payload,
    awareness_update,
    entries_in,
    update_of,
)


@pytest.fixture(params=[False, True], ids=["edits in steps", "edits at once"])
def harness(request: pytest.FixtureRequest) -> RoomHarness:
    return RoomHarness(edits_at_once=request.param)


@pytest.fixture
def broadcaster(harness: RoomHarness) -> AwarenessBroadcaster[FakeMember]:
    return harness.room.awareness_broadcaster


def payloads(messages: list[PreparedMessage]) -> list[bytes]:
    return [awareness_payload(message.payload) for message in messages]


def test_the_latest_state_of_a_window_is_sent_to_all_including_its_sender(harness: RoomHarness) -> None:
    ada, *_ = harness.members
    for clock in range(4):
        harness.set_awareness(ada, Entry(1, clock, "{}"))
    harness.clock.advance(WINDOW)
    expected = [awareness_update(Entry(1, clock + CLOCK_OFFSET, "{}")) for clock in (0, 3)]
    assert all(member.received == expected for member in harness.members)


def test_a_cursor_is_sent_after_the_edits_that_it_may_refer_to(harness: RoomHarness) -> None:
    ada, bob, _ = harness.members
    harness.edit(ada, update_of("one"))
    update = update_of("two")
    harness.edit(ada, update)
    harness.set_awareness(ada, Entry(1, 0, "{}"))
    harness.clock.advance(WINDOW)
    assert bob.received[1:] == [sync.encode_update(update), awareness_update(Entry(1, CLOCK_OFFSET, "{}"))]


def test_a_broadcast_update_that_comes_back_byte_for_byte_is_an_echo(
    harness: RoomHarness, broadcaster: AwarenessBroadcaster[FakeMember]
) -> None:
    ada, bob, _ = harness.members
    echo = awareness_format.encode([Entry(1, CLOCK_OFFSET, "{}")])
    assert not broadcaster.is_echo(bob, echo)
    harness.set_awareness(ada, Entry(1, 0, "{}"))
    assert broadcaster.is_echo(bob, echo)
    assert not broadcaster.is_echo(bob, awareness_format.encode([Entry(1, 2, "{}")]))


def test_an_update_sent_to_one_connection_is_an_echo_from_that_connection_only(
    harness: RoomHarness, broadcaster: AwarenessBroadcaster[FakeMember]
) -> None:
    ada, bob, _ = harness.members
    harness.set_awareness(ada, Entry(1, 0, "{}"))
    dee = FakeMember("dee")
    harness.room.join(dee)
    [payload] = payloads(broadcaster.joining_messages(dee))
    assert awareness_format.decode(payload) == [Entry(1, CLOCK_OFFSET + 1, "{}")]
    assert broadcaster.is_echo(dee, payload)
    assert not broadcaster.is_echo(bob, payload)
    [response] = payloads(broadcaster.query_response(bob))
    assert broadcaster.is_echo(bob, response)


def test_a_query_is_answered_with_the_same_messages_while_nothing_changes(
    harness: RoomHarness, broadcaster: AwarenessBroadcaster[FakeMember]
) -> None:
    ada, bob, cyd = harness.members
    assert payloads(broadcaster.query_response(bob)) == [awareness_format.EMPTY_AWARENESS]
    harness.set_awareness(ada, Entry(1, 0, "{}"))
    assert payloads(broadcaster.query_response(bob)) == [awareness_format.encode([Entry(1, CLOCK_OFFSET, "{}")])]
    assert broadcaster.query_response(bob)[0] is broadcaster.query_response(cyd)[0]
    harness.set_awareness(ada, Entry(1, CLOCK_OFFSET, "null"))
    assert payloads(broadcaster.query_response(cyd)) == [awareness_format.EMPTY_AWARENESS]


def test_it_is_known_when_all_connections_were_sent_something_last(
    harness: RoomHarness, broadcaster: AwarenessBroadcaster[FakeMember]
) -> None:
    ada, bob, _ = harness.members
    assert broadcaster.flushed_at == float("-inf")
    # An edit is not sent to its sender.
    harness.edit(bob, update_of("hello"))
    assert broadcaster.flushed_at == float("-inf")
    harness.clock.advance(2)
    harness.set_awareness(ada, Entry(1, 0, "{}"))
    assert broadcaster.flushed_at == 2
    harness.clock.advance(3)
    assert broadcaster.flushed_at == 2


def test_a_client_that_reconnects_with_the_same_state_is_no_echo_and_is_broadcast_again(
    harness: RoomHarness, broadcaster: AwarenessBroadcaster[FakeMember]
) -> None:
    ada, bob, _ = harness.members
    harness.set_awareness(ada, Entry(1, 0, "{}"))
    harness.clock.advance(WINDOW)
    harness.set_awareness(ada, Entry(1, CLOCK_OFFSET + 1, "{}"))
    harness.clock.advance(WINDOW)
    harness.room.leave(ada)
    back = FakeMember("ada")
    harness.room.join(back)
    assert broadcaster.is_echo(bob, awareness_format.encode([Entry(1, CLOCK_OFFSET + 1, "{}")]))
    assert not broadcaster.is_echo(back, awareness_format.encode([Entry(1, CLOCK_OFFSET + 1, "{}")]))
    harness.clock.advance(WINDOW)
    harness.clear_received()
    assert harness.set_awareness(back, Entry(1, CLOCK_OFFSET + 1, "{}"), is_opening=True) == []
    harness.clock.advance(WINDOW)
    assert bob.received == back.received == [awareness_update(Entry(1, CLOCK_OFFSET + 2, "{}"))]


def test_a_limited_number_of_updates_is_remembered_as_possible_echoes(
    harness: RoomHarness, broadcaster: AwarenessBroadcaster[FakeMember]
) -> None:
    ada, *_ = harness.members
    clocks = range(CLOCK_OFFSET, CLOCK_OFFSET + REMEMBERED + 1)
    for clock in clocks:
        harness.set_awareness(
            ada, Entry(1, clock - CLOCK_OFFSET, "{}") if clock == CLOCK_OFFSET else Entry(1, clock, "{}")
        )
        harness.clock.advance(WINDOW)
    echoes = [broadcaster.is_echo(ada, awareness_format.encode([Entry(1, clock, "{}")])) for clock in clocks]
    assert echoes == [False] + [True] * REMEMBERED


def test_states_that_are_too_large_for_one_message_are_sent_in_several(
    harness: RoomHarness, broadcaster: AwarenessBroadcaster[FakeMember]
) -> None:
    ada, bob, _ = harness.members
    others = [FakeMember(f"user {number}") for number in range(3000)]
    harness.set_awareness(ada, Entry(1, 0, "{}"))
    for number, member in enumerate(others):
        harness.room.join(member)
        state = '{"user":"Somebody","at":{"x":100,"y":100},"color":"#ff8800"}'
        harness.set_awareness(member, Entry(100 + number, 0, state))
    harness.clear_received()
    harness.clock.advance(WINDOW)
    assert all(len(message) < MAX_BROADCAST_SIZE + 10 for message in bob.received)
    received = [entry for message in bob.received for entry in entries_in(message)]
    assert len(received) == 3000
    late = FakeMember("late")
    harness.room.join(late)
    messages = broadcaster.joining_messages(late)
    assert len(messages) == len(bob.received)
    assert all(len(message.payload) < MAX_BROADCAST_SIZE + 10 for message in messages)
    assert sum(len(entries_in(message.payload)) for message in messages) == 3001
    assert all(broadcaster.is_echo(late, payload) for payload in payloads(messages))


def test_when_a_connection_leaves_its_cursor_is_removed(harness: RoomHarness) -> None:
    ada, bob, _ = harness.members
    harness.set_awareness(ada, Entry(1, 0, "{}"))
    harness.room.leave(ada)
    harness.clock.advance(1)
    assert bob.received[-1] == awareness_update(Entry(1, CLOCK_OFFSET, "null"))
    assert len(ada.received) == 1


def test_a_cursor_that_is_not_renewed_is_removed(harness: RoomHarness) -> None:
    ada, bob, _ = harness.members
    harness.set_awareness(ada, Entry(1, 0, "{}"))
    harness.clock.advance(STALE_AFTER)
    harness.room.expire()
    harness.clock.advance(1)
    assert bob.received[-1] == awareness_update(Entry(1, CLOCK_OFFSET, "null"))


def test_a_cursor_that_was_removed_as_stale_is_back_with_its_next_renewal(harness: RoomHarness) -> None:
    sender, listener, _ = harness.members
    cursor = '{"cursor":{"x":10,"y":20}}'
    harness.set_awareness(sender, Entry(7, 4, cursor))

    harness.clock.advance(STALE_AFTER - 1)
    harness.room.expire()
    harness.clock.advance(1)
    assert listener.received == [awareness_update(Entry(7, 4 + CLOCK_OFFSET, cursor))]

    harness.room.expire()
    harness.clock.advance(1)
    assert listener.received[1:] == [awareness_update(Entry(7, 4 + CLOCK_OFFSET, "null"))]

    harness.set_awareness(sender, Entry(7, 5 + CLOCK_OFFSET, cursor))
    harness.clock.advance(1)
    assert listener.received[2:] == [awareness_update(Entry(7, 5 + CLOCK_OFFSET, cursor))]
