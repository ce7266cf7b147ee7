"""Who is in a room: what counts as news, who owns what, what goes stale."""

from __future__ import annotations

import pytest

from canvas_collab.protocol.awareness import Entry, decode, encode
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.structs import MAX_CLOCK
from canvas_collab.rooms.awareness import STALE_AFTER, Awareness, TooManyClients

ADA, BOB = "connection of ada", "connection of bob"


@pytest.fixture
def awareness() -> Awareness:
    return Awareness(clients_per_owner=2)


def state(client_id: int, clock: int, text: str = '{"x":1}') -> Entry:
    return Entry(client_id, clock, text)


def test_a_new_client_is_news_and_present(awareness: Awareness) -> None:
    assert awareness.apply([state(1, 0)], ADA, "ada", 0) == ([state(1, 0)], [])
    assert awareness.present() == [state(1, 0)]


def test_only_a_higher_clock_is_news(awareness: Awareness) -> None:
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 5, '{"x":2}'), state(1, 4)], ADA, "ada", 0) == ([], [])
    assert awareness.apply([state(1, 6)], ADA, "ada", 0) == ([state(1, 6)], [])


def test_an_equal_clock_counts_if_the_client_has_left(awareness: Awareness) -> None:
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 5, "null")], ADA, "ada", 0) == ([state(1, 5, "null")], [])
    assert awareness.present() == []


def test_that_an_unknown_client_has_left_is_no_news(awareness: Awareness) -> None:
    assert awareness.apply([state(1, 5, "null")], ADA, "ada", 0) == ([], [])


@pytest.mark.parametrize("text", ["\u00a0null", "\x1fnull", "nul"])
def test_what_only_resembles_a_departure_is_malformed(awareness: Awareness, text: str) -> None:
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    with pytest.raises(Malformed):
        awareness.apply([state(1, 6, text)], ADA, "ada", 0)


def test_a_clock_that_leaves_no_other_to_leave_at_is_malformed() -> None:
    assert decode(encode([state(1, MAX_CLOCK - 1)])) == [state(1, MAX_CLOCK - 1)]
    with pytest.raises(Malformed):
        decode(encode([state(1, MAX_CLOCK)]))


def test_a_client_that_moves_to_another_connection_counts_there_and_not_where_it_was(awareness: Awareness) -> None:
    awareness.apply([state(1, 5), state(2, 5)], ADA, "ada", 0)
    awareness.apply([state(2, 6)], BOB, "ada", 0)
    awareness.apply([state(3, 0)], ADA, "ada", 0)
    assert awareness.leave(ADA, 1) == [state(1, 6, "null"), state(3, 1, "null")]
    assert awareness.present() == [state(2, 6)]


def test_an_echo_does_not_make_its_sender_the_owner(awareness: Awareness) -> None:
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    awareness.apply([state(1, 5)], BOB, "bob", 0)
    assert awareness.leave(BOB, 1) == []
    assert awareness.leave(ADA, 1) == [state(1, 6, "null")]


def test_an_echo_that_is_not_json_is_not_even_looked_at(awareness: Awareness) -> None:
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 5, "{")], BOB, "bob", 0) == ([], [])


def test_nobody_changes_the_cursor_of_another_user(awareness: Awareness) -> None:
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 9, "null"), state(1, 10)], BOB, "bob", 0) == ([], [])
    assert awareness.present() == [state(1, 5)]


def test_a_client_that_is_back_on_a_new_connection_stays_when_the_old_one_ends(awareness: Awareness) -> None:
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 6)], "ada again", "ada", 0) == ([state(1, 6)], [])
    assert awareness.leave(ADA, 1) == []
    assert awareness.leave("ada again", 1) == [state(1, 7, "null")]


def test_when_a_connection_ends_its_clients_leave_at_the_next_clock(awareness: Awareness) -> None:
    awareness.apply([state(1, 5), state(2, 0)], ADA, "ada", 0)
    awareness.apply([state(3, 0)], BOB, "bob", 0)
    assert awareness.leave(ADA, 1) == [state(1, 6, "null"), state(2, 1, "null")]
    assert awareness.present() == [state(3, 0)]
    assert awareness.leave(ADA, 1) == []


def test_a_client_that_comes_back_with_an_old_clock_is_told_that_it_was_taken_for_gone(awareness: Awareness) -> None:
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    awareness.leave(ADA, 1)
    assert awareness.apply([state(1, 5)], "ada again", "ada", 2) == ([], [state(1, 6, "null")])
    assert awareness.apply([state(1, 7)], "ada again", "ada", 3) == ([state(1, 7)], [])
    assert awareness.leave("ada again", 4) == [state(1, 8, "null")]


def test_the_echo_of_somebody_leaving_is_no_news(awareness: Awareness) -> None:
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    [gone] = awareness.leave(ADA, 1)
    assert awareness.apply([gone, state(1, 9, "null")], BOB, "bob", 1) == ([], [])


def test_what_is_not_renewed_goes_stale_and_its_next_renewal_counts(awareness: Awareness) -> None:
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    assert awareness.expire(STALE_AFTER - 0.1) == []
    assert awareness.expire(STALE_AFTER) == [state(1, 5, "null")]
    assert awareness.present() == []
    assert awareness.apply([state(1, 6)], ADA, "ada", STALE_AFTER + 1) == ([state(1, 6)], [])


def test_who_left_long_ago_is_forgotten(awareness: Awareness) -> None:
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    awareness.leave(ADA, 1)
    assert awareness.expire(1 + STALE_AFTER) == []
    assert awareness.apply([state(1, 0)], ADA, "ada", 40) == ([state(1, 0)], [])


def test_one_connection_announces_only_so_many_clients(awareness: Awareness) -> None:
    awareness.apply([state(1, 0), state(2, 0)], ADA, "ada", 0)
    with pytest.raises(TooManyClients, match="2 awareness clients"):
        awareness.apply([state(3, 0)], ADA, "ada", 0)
    awareness.apply([state(1, 1, "null"), state(3, 0)], ADA, "ada", 0)
    assert [entry.client_id for entry in awareness.present()] == [2, 3]


@pytest.mark.parametrize("clock", [0, 6])
def test_a_state_that_counts_must_be_json(awareness: Awareness, clock: int) -> None:
    if clock:
        awareness.apply([state(1, 5)], ADA, "ada", 0)
    with pytest.raises(Malformed):
        awareness.apply([state(1, clock, "{")], ADA, "ada", 0)
