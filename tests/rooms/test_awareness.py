"""The awareness states of a room: which are broadcast and at which clock, who owns a client, and what is removed."""

from __future__ import annotations

import pytest

from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol.awareness import Entry, decode, encode
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.structs import MAX_CLOCK
from canvas_collab.rooms.awareness import CLOCK_OFFSET, STALE_AFTER, Awareness
from canvas_collab.rooms.awareness_changes import ApplyResult
from canvas_collab.rooms.tombstones import USERS

ADA, BOB = "connection of ada", "connection of bob"
NO_CHANGE = ApplyResult()


@pytest.fixture
def awareness() -> Awareness:
    return Awareness(max_clients_per_owner=2)


def own(client_id: int, clock: int, text: str = '{"x":1}') -> Entry:
    """What a client sends at its own clock, before it has received a correction."""
    return Entry(client_id, clock, text)


def state(client_id: int, clock: int, text: str = '{"x":1}') -> Entry:
    """What is broadcast of it, and what it sends after a correction."""
    return Entry(client_id, clock + CLOCK_OFFSET, text)


def changed(*entries: Entry) -> ApplyResult:
    """The result with these entries to broadcast."""
    return ApplyResult(list(entries))


def added(*clients: Entry) -> ApplyResult:
    """The result for new clients, given what is broadcast of them."""
    return ApplyResult(list(clients), [Entry(client.client_id, client.clock - 1, "null") for client in clients])


def join(awareness: Awareness) -> list[Entry]:
    """What a client that joins is sent."""
    return unpacked(awareness.encode_for_joining())


def known(awareness: Awareness) -> list[Entry]:
    """What is remembered, including the clients that have left."""
    return unpacked(awareness.encode_known())


def unpacked(entries: list[bytes]) -> list[Entry]:
    return [entry for payload in awareness_format.pack(entries, 1000) for entry in decode(payload)]


def test_a_new_client_is_broadcast_at_a_clock_that_nobody_knows_from_earlier(awareness: Awareness) -> None:
    assert awareness.apply([own(1, 0)], ADA, "ada", 0) == added(state(1, 0))
    assert awareness.present() == [state(1, 0)]


def test_a_client_that_was_sent_the_correction_continues_from_that_clock(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 5)], ADA, "ada", 0) == NO_CHANGE
    assert awareness.apply([state(1, 6, "{}")], ADA, "ada", 0) == changed(state(1, 6, "{}"))


def test_only_a_higher_clock_is_a_change(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 5, '{"x":2}'), state(1, 4)], ADA, "ada", 0) == NO_CHANGE
    assert awareness.apply([state(1, 6)], ADA, "ada", 0) == changed(state(1, 6))


def test_a_state_sent_before_the_correction_has_arrived_is_a_change(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.apply([own(1, 6, "{}")], ADA, "ada", 0) == added(state(1, 6, "{}"))
    assert awareness.apply([own(1, 6)], ADA, "ada", 0) == NO_CHANGE


def test_a_departure_at_an_equal_clock_is_a_change(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 5, "null")], ADA, "ada", 0) == changed(state(1, 5, "null"))
    assert awareness.present() == []


def test_the_departure_of_an_unknown_client_is_no_change(awareness: Awareness) -> None:
    assert awareness.apply([own(1, 5, "null")], ADA, "ada", 0) == NO_CHANGE


@pytest.mark.parametrize("text", ["\u00a0null", "\x1fnull", "nul"])
def test_what_only_resembles_a_departure_is_malformed(awareness: Awareness, text: str) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    with pytest.raises(Malformed):
        awareness.apply([own(1, 6, text)], ADA, "ada", 0)


def test_the_highest_clock_is_malformed_as_there_is_none_to_leave_at() -> None:
    assert decode(encode([own(1, MAX_CLOCK - 1)])) == [own(1, MAX_CLOCK - 1)]
    with pytest.raises(Malformed):
        decode(encode([own(1, MAX_CLOCK)]))


def test_a_client_that_moves_to_another_connection_leaves_with_that_one(awareness: Awareness) -> None:
    awareness.apply([own(1, 5), own(2, 5)], ADA, "ada", 0)
    awareness.apply([state(2, 6)], BOB, "ada", 0)
    awareness.apply([state(1, 6)], ADA, "ada", 0)
    assert awareness.leave(ADA, 1) == [state(1, 6, "null")]
    assert awareness.present() == [state(2, 6)]


def test_an_echo_does_not_make_its_sender_the_owner(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    awareness.apply([state(1, 5)], BOB, "bob", 0)
    assert awareness.leave(BOB, 1) == []
    assert awareness.leave(ADA, 1) == [state(1, 5, "null")]


def test_an_echo_is_not_checked_for_being_json(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 5, "{")], BOB, "bob", 0) == NO_CHANGE


def test_states_for_another_users_client_are_ignored(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 9, "null"), state(1, 10)], BOB, "bob", 0) == NO_CHANGE
    assert awareness.present() == [state(1, 5)]


@pytest.mark.parametrize("how", ["its connection has ended", "it said so", "it was not renewed"])
def test_another_user_cannot_take_over_a_client_that_has_left_and_is_remembered(awareness: Awareness, how: str) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    if how == "its connection has ended":
        awareness.leave(ADA, 0)
    elif how == "it said so":
        awareness.apply([state(1, 6, "null")], ADA, "ada", 0)
    else:
        awareness.expire(STALE_AFTER)
    assert awareness.apply([state(1, 99)], BOB, "bob", STALE_AFTER, is_opening=True) == NO_CHANGE
    assert awareness.present() == []
    assert awareness.apply([state(1, 99)], "ada again", "ada", STALE_AFTER) == changed(state(1, 99))


def test_a_connection_cannot_remove_a_client_of_the_same_users_other_connection(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 9, "null")], "ada's other tab", "ada", 0) == NO_CHANGE


def test_a_client_with_a_new_connection_stays_when_the_old_one_ends(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 6)], "ada again", "ada", 0) == changed(state(1, 6))
    assert awareness.leave(ADA, 1) == []
    assert awareness.leave("ada again", 1) == [state(1, 6, "null")]


def test_a_client_that_sends_the_same_on_a_new_connection_stays_when_the_old_one_ends(
    awareness: Awareness,
) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 5)], "ada again", "ada", 0, is_opening=True) == NO_CHANGE
    assert awareness.leave(ADA, 1) == []
    assert awareness.present() == [state(1, 5)]
    assert awareness.apply([state(1, 6)], "ada again", "ada", 2) == changed(state(1, 6))
    assert awareness.leave("ada again", 3) == [state(1, 6, "null")]


def test_a_client_whose_new_connection_has_ended_too_leaves_with_the_old_one(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    awareness.apply([state(1, 5)], "ada again", "ada", 0, is_opening=True)
    assert awareness.leave("ada again", 1) == []
    assert awareness.leave(ADA, 1) == [state(1, 5, "null")]


def test_when_a_connection_ends_its_clients_leave_at_the_clock_of_their_last_state(awareness: Awareness) -> None:
    awareness.apply([own(1, 5), own(2, 0)], ADA, "ada", 0)
    awareness.apply([own(3, 0)], BOB, "bob", 0)
    assert awareness.leave(ADA, 1) == [state(1, 5, "null"), state(2, 0, "null")]
    assert awareness.present() == [state(3, 0)]
    assert awareness.leave(ADA, 1) == []


def test_a_client_that_returns_with_its_old_clock_is_broadcast_at_a_higher_one(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    awareness.leave(ADA, 1)
    assert awareness.apply([state(1, 5)], "ada again", "ada", 2, is_opening=True) == changed(state(1, 6))
    assert awareness.leave("ada again", 4) == [state(1, 6, "null")]


def test_a_client_whose_clock_is_behind_is_sent_a_correction_that_keeps_its_state(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    for _ in range(3):
        join(awareness)
    # The correction raises the client's own clock from 7 to 9 and leaves its state, and it ignores the broadcast then.
    result = awareness.apply([state(1, 6, "{}")], ADA, "ada", 0)
    assert result == ApplyResult([state(1, 9, "{}")], [state(1, 8, "null")])


def test_echoes_of_a_client_that_has_left_do_not_restore_it(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    [gone] = awareness.leave(ADA, 1)
    assert awareness.apply([state(1, 5)], BOB, "bob", 1) == NO_CHANGE
    assert awareness.apply([state(1, 5)], "ada's other tab", "ada", 1) == ApplyResult([], [gone])
    assert awareness.apply([gone, state(1, 9, "null")], BOB, "bob", 1) == NO_CHANGE
    assert awareness.present() == []


def test_a_client_that_joins_is_sent_all_states_at_clocks_that_it_does_not_know(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    awareness.apply([own(2, 0)], BOB, "bob", 0)
    assert join(awareness) == [state(1, 6), state(2, 1)]
    # Its next state is broadcast at a clock above those.
    assert awareness.apply([state(1, 6, "{}")], ADA, "ada", 0) == changed(state(1, 7, "{}"))
    assert join(awareness) == [state(1, 8, "{}"), state(2, 2)]


def test_after_a_restart_states_are_broadcast_at_clocks_that_nobody_knows(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    for _ in range(100):
        [before] = join(awareness)
    [entry] = Awareness(max_clients_per_owner=2).apply([state(1, 5)], ADA, "ada", 0).changes
    assert entry.clock > before.clock


def test_a_state_that_is_not_renewed_is_removed_and_its_next_renewal_is_a_change(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.expire(STALE_AFTER - 0.1) == []
    assert awareness.expire(STALE_AFTER) == [state(1, 5, "null")]
    assert awareness.present() == []
    assert awareness.apply([state(1, 6)], ADA, "ada", STALE_AFTER + 1) == changed(state(1, 6))


def test_a_client_that_left_long_ago_is_forgotten(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    awareness.leave(ADA, 1)
    assert awareness.expire(1 + STALE_AFTER) == []
    assert awareness.apply([own(1, 0)], BOB, "bob", 40) == added(state(1, 0))


def test_clients_over_the_limit_of_one_connection_are_refused(awareness: Awareness) -> None:
    result = awareness.apply([own(1, 0), own(2, 0), own(3, 0), state(1, 2)], ADA, "ada", 0)
    assert (result.changes, result.refused) == ([state(1, 0), state(2, 0), state(1, 2)], 1)
    assert awareness.apply([own(3, 0)], BOB, "bob", 0) == added(state(3, 0))


def test_a_client_that_moves_counts_against_the_limit_of_its_new_connection(awareness: Awareness) -> None:
    awareness.apply([own(1, 0), own(2, 0)], ADA, "ada", 0)
    awareness.apply([own(3, 0)], BOB, "ada", 0)
    assert awareness.apply([state(3, 5)], ADA, "ada", 0) == ApplyResult(refused=1)
    assert [entry.client_id for entry in awareness.present()] == [1, 2, 3]


def test_new_clients_of_one_connection_are_limited_within_an_interval(awareness: Awareness) -> None:
    for client_id in range(2):
        awareness.apply([own(client_id, 0), own(client_id, 1, "null")], ADA, "ada", 1)
    assert awareness.apply([own(9, 0)], ADA, "ada", STALE_AFTER) == ApplyResult(refused=1)
    assert awareness.apply([own(9, 0)], ADA, "ada", 1 + STALE_AFTER) == added(state(9, 0))


def test_tombstones_are_limited_for_each_user_without_loss_for_others() -> None:
    awareness = Awareness(max_clients_per_owner=2, max_remembered=3)
    awareness.apply([own(1000, 5)], ADA, "ada", 0)
    awareness.leave(ADA, 0)
    for client_id in range(10):
        awareness.apply([own(client_id, 0)], client_id, "mallory", 0)
        awareness.leave(client_id, 0)
    assert {entry.client_id for entry in known(awareness)} == {7, 8, 9, 1000}
    assert awareness.apply([state(1000, 9)], BOB, "bob", 0) == NO_CHANGE


def test_tombstones_are_limited_for_all_users_together() -> None:
    awareness = Awareness(max_clients_per_owner=2, max_remembered=3)
    for client_id in range(100):
        awareness.apply([own(client_id, 0)], client_id, f"user {client_id // 5}", 0)
        awareness.leave(client_id, 0)
    assert len(known(awareness)) == 3 * USERS


def test_stale_clients_are_removed_when_some_are_forgotten_at_once() -> None:
    awareness = Awareness(max_clients_per_owner=10, max_remembered=1)
    awareness.apply([own(client_id, 0) for client_id in range(5)], ADA, "ada", 0)
    awareness.apply([state(0, 2, "null")], ADA, "ada", 0)
    assert {entry.client_id for entry in awareness.expire(STALE_AFTER)} == {1, 2, 3, 4}
    assert len(known(awareness)) == 1
    assert awareness.expire(2 * STALE_AFTER) == []
    assert known(awareness) == []


@pytest.mark.parametrize("clock", [0, 6])
def test_a_state_that_is_applied_must_be_json(awareness: Awareness, clock: int) -> None:
    if clock:
        awareness.apply([own(1, 5)], ADA, "ada", 0)
    with pytest.raises(Malformed):
        awareness.apply([own(1, clock, "{")], ADA, "ada", 0)


def test_an_update_without_new_clients_or_higher_clocks_is_outdated_whatever_its_states(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    awareness.apply([own(2, 5)], BOB, "bob", 0)
    assert awareness.is_outdated(encode([state(2, 5, "x" * 1000), state(1, 4)]))
    assert not awareness.is_outdated(encode([state(2, 5), state(1, 6)]))
    assert not awareness.is_outdated(encode([own(3, 0)]))
    # An update with more entries than there are clients is not read at all.
    assert not awareness.is_outdated(encode([own(1, 5)] * 3))


def test_states_are_packed_into_updates_of_a_maximum_size_and_a_larger_state_has_its_own() -> None:
    entries = [state(number, 0, f'"{"x" * size}"') for number, size in enumerate([10, 300, 20, 20, 20, 20])]
    packed = awareness_format.pack(map(awareness_format.encode_entry, entries), 100)
    assert [entry for payload in packed for entry in decode(payload)] == entries
    assert [len(decode(payload)) for payload in packed] == [1, 1, 3, 1]
    assert [len(payload) > 100 for payload in packed] == [False, True, False, False]
