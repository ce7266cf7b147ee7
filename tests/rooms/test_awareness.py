"""Who is in a room: what counts as news, and at which clock, who owns what, what goes stale."""

from __future__ import annotations

import pytest

from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol.awareness import Entry, decode, encode
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.structs import MAX_CLOCK
from canvas_collab.rooms.awareness import CLOCK_OFFSET, STALE_AFTER, Awareness, Outcome
from canvas_collab.rooms.tombstones import USERS

ADA, BOB = "connection of ada", "connection of bob"
NOTHING = Outcome()


@pytest.fixture
def awareness() -> Awareness:
    return Awareness(clients_per_owner=2)


def own(client_id: int, clock: int, text: str = '{"x":1}') -> Entry:
    """What a client says before it has heard of itself."""
    return Entry(client_id, clock, text)


def state(client_id: int, clock: int, text: str = '{"x":1}') -> Entry:
    """What is heard of it, and what it says after that."""
    return Entry(client_id, clock + CLOCK_OFFSET, text)


def news(*entries: Entry) -> Outcome:
    return Outcome(list(entries))


def entered(*clients: Entry) -> Outcome:
    """What comes of clients that are new, as they were heard."""
    return Outcome(list(clients), [Entry(client.client_id, client.clock - 1, "null") for client in clients])


def introduced(awareness: Awareness) -> list[Entry]:
    return [entry for payload in awareness_format.pack(awareness.introduce(), 1000) for entry in decode(payload)]


def test_a_new_client_is_news_and_present_at_a_clock_that_nobody_knows_from_earlier(awareness: Awareness) -> None:
    assert awareness.apply([own(1, 0)], ADA, "ada", 0) == entered(state(1, 0))
    assert awareness.present() == [state(1, 0)]


def test_one_who_is_told_of_that_clock_goes_on_from_there(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 5)], ADA, "ada", 0) == NOTHING
    assert awareness.apply([state(1, 6, "{}")], ADA, "ada", 0) == news(state(1, 6, "{}"))


def test_only_a_higher_clock_is_news(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 5, '{"x":2}'), state(1, 4)], ADA, "ada", 0) == NOTHING
    assert awareness.apply([state(1, 6)], ADA, "ada", 0) == news(state(1, 6))


def test_what_a_client_says_before_it_hears_of_its_clock_is_news_all_the_same(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.apply([own(1, 6, "{}")], ADA, "ada", 0) == entered(state(1, 6, "{}"))
    assert awareness.apply([own(1, 6)], ADA, "ada", 0) == NOTHING


def test_an_equal_clock_counts_if_the_client_has_left(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 5, "null")], ADA, "ada", 0) == news(state(1, 5, "null"))
    assert awareness.present() == []


def test_that_an_unknown_client_has_left_is_no_news(awareness: Awareness) -> None:
    assert awareness.apply([own(1, 5, "null")], ADA, "ada", 0) == NOTHING


@pytest.mark.parametrize("text", ["\u00a0null", "\x1fnull", "nul"])
def test_what_only_resembles_a_departure_is_malformed(awareness: Awareness, text: str) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    with pytest.raises(Malformed):
        awareness.apply([own(1, 6, text)], ADA, "ada", 0)


def test_a_clock_that_leaves_no_other_to_leave_at_is_malformed() -> None:
    assert decode(encode([own(1, MAX_CLOCK - 1)])) == [own(1, MAX_CLOCK - 1)]
    with pytest.raises(Malformed):
        decode(encode([own(1, MAX_CLOCK)]))


def test_a_client_that_moves_to_another_connection_counts_there_and_not_where_it_was(awareness: Awareness) -> None:
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


def test_an_echo_that_is_not_json_is_not_even_looked_at(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 5, "{")], BOB, "bob", 0) == NOTHING


def test_nobody_changes_the_cursor_of_another_user(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 9, "null"), state(1, 10)], BOB, "bob", 0) == NOTHING
    assert awareness.present() == [state(1, 5)]


@pytest.mark.parametrize("how", ["its connection has ended", "it said so", "it was not renewed"])
def test_nobody_takes_over_a_client_while_its_user_is_remembered(awareness: Awareness, how: str) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    if how == "its connection has ended":
        awareness.leave(ADA, 0)
    elif how == "it said so":
        awareness.apply([state(1, 6, "null")], ADA, "ada", 0)
    else:
        awareness.expire(STALE_AFTER)
    assert awareness.apply([state(1, 99)], BOB, "bob", STALE_AFTER, is_opening=True) == NOTHING
    assert awareness.present() == []
    assert awareness.apply([state(1, 99)], "ada again", "ada", STALE_AFTER) == news(state(1, 99))


def test_a_connection_takes_back_no_client_of_the_same_users_other_connection(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 9, "null")], "ada's other tab", "ada", 0) == NOTHING


def test_a_client_that_is_back_on_a_new_connection_stays_when_the_old_one_ends(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 6)], "ada again", "ada", 0) == news(state(1, 6))
    assert awareness.leave(ADA, 1) == []
    assert awareness.leave("ada again", 1) == [state(1, 6, "null")]


def test_so_does_one_that_says_the_same_there_as_before(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.apply([state(1, 5)], "ada again", "ada", 0, is_opening=True) == NOTHING
    assert awareness.leave(ADA, 1) == []
    assert awareness.present() == [state(1, 5)]
    assert awareness.apply([state(1, 6)], "ada again", "ada", 2) == news(state(1, 6))
    assert awareness.leave("ada again", 3) == [state(1, 6, "null")]


def test_one_that_was_back_and_has_gone_again_does_not_stay(awareness: Awareness) -> None:
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


def test_a_client_that_comes_back_with_its_old_clock_is_shown_at_one_that_counts(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    awareness.leave(ADA, 1)
    assert awareness.apply([state(1, 5)], "ada again", "ada", 2, is_opening=True) == news(state(1, 6))
    assert awareness.leave("ada again", 4) == [state(1, 6, "null")]


def test_one_whose_clock_is_behind_is_told_and_keeps_what_it_has_gone_on_to(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    for _ in range(3):
        awareness.introduce()
    # At its own clock 7 it raises it to 9 without a change of its state, and what it hears then is old to it.
    outcome = awareness.apply([state(1, 6, "{}")], ADA, "ada", 0)
    assert outcome == Outcome([state(1, 9, "{}")], [state(1, 8, "null")])


def test_what_others_re_send_of_one_who_has_left_brings_nobody_back(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    [gone] = awareness.leave(ADA, 1)
    assert awareness.apply([state(1, 5)], BOB, "bob", 1) == NOTHING
    assert awareness.apply([state(1, 5)], "ada's other tab", "ada", 1) == Outcome([], [gone])
    assert awareness.apply([gone, state(1, 9, "null")], BOB, "bob", 1) == NOTHING
    assert awareness.present() == []


def test_who_joins_is_shown_everybody_at_clocks_that_they_do_not_know(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    awareness.apply([own(2, 0)], BOB, "bob", 0)
    assert introduced(awareness) == [state(1, 6), state(2, 1)]
    # And what comes next counts for those as well.
    assert awareness.apply([state(1, 6, "{}")], ADA, "ada", 0) == news(state(1, 7, "{}"))
    assert introduced(awareness) == [state(1, 8, "{}"), state(2, 2)]


def test_after_a_restart_everybody_is_shown_at_clocks_that_nobody_knows(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    awareness.apply([state(1, 5)], ADA, "ada", 0)
    for _ in range(100):
        [known] = introduced(awareness)
    [entry] = Awareness(clients_per_owner=2).apply([state(1, 5)], ADA, "ada", 0).news
    assert entry.clock > known.clock


def test_what_is_not_renewed_goes_stale_and_its_next_renewal_counts(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    assert awareness.expire(STALE_AFTER - 0.1) == []
    assert awareness.expire(STALE_AFTER) == [state(1, 5, "null")]
    assert awareness.present() == []
    assert awareness.apply([state(1, 6)], ADA, "ada", STALE_AFTER + 1) == news(state(1, 6))


def test_who_left_long_ago_is_forgotten(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    awareness.leave(ADA, 1)
    assert awareness.expire(1 + STALE_AFTER) == []
    assert awareness.apply([own(1, 0)], BOB, "bob", 40) == entered(state(1, 0))


def test_of_more_clients_than_one_connection_may_announce_the_others_are_dropped(awareness: Awareness) -> None:
    outcome = awareness.apply([own(1, 0), own(2, 0), own(3, 0), state(1, 2)], ADA, "ada", 0)
    assert (outcome.news, outcome.refused) == ([state(1, 0), state(2, 0), state(1, 2)], 1)
    assert awareness.apply([own(3, 0)], BOB, "bob", 0) == entered(state(3, 0))


def test_a_client_that_moves_counts_against_what_its_new_connection_may_announce(awareness: Awareness) -> None:
    awareness.apply([own(1, 0), own(2, 0)], ADA, "ada", 0)
    awareness.apply([own(3, 0)], BOB, "ada", 0)
    assert awareness.apply([state(3, 5)], ADA, "ada", 0) == Outcome(refused=1)
    assert [entry.client_id for entry in awareness.present()] == [1, 2, 3]


def test_one_connection_announces_only_so_many_new_clients_in_a_time(awareness: Awareness) -> None:
    for client_id in range(2):
        awareness.apply([own(client_id, 0), own(client_id, 1, "null")], ADA, "ada", 1)
    assert awareness.apply([own(9, 0)], ADA, "ada", STALE_AFTER) == Outcome(refused=1)
    assert awareness.apply([own(9, 0)], ADA, "ada", 1 + STALE_AFTER) == entered(state(9, 0))


def test_of_those_who_left_so_many_are_remembered_of_each_user_and_none_is_lost_for_another() -> None:
    awareness = Awareness(clients_per_owner=2, remembered=3)
    awareness.apply([own(1000, 5)], ADA, "ada", 0)
    awareness.leave(ADA, 0)
    for client_id in range(10):
        awareness.apply([own(client_id, 0)], client_id, "mallory", 0)
        awareness.leave(client_id, 0)
    assert {entry.client_id for entry in known(awareness)} == {7, 8, 9, 1000}
    assert awareness.apply([state(1000, 9)], BOB, "bob", 0) == NOTHING


def test_of_those_who_left_so_many_are_remembered_of_all_users_together() -> None:
    awareness = Awareness(clients_per_owner=2, remembered=3)
    for client_id in range(100):
        awareness.apply([own(client_id, 0)], client_id, f"user {client_id // 5}", 0)
        awareness.leave(client_id, 0)
    assert len(known(awareness)) == 3 * USERS


def test_to_be_forgotten_early_does_not_disturb_what_goes_stale() -> None:
    awareness = Awareness(clients_per_owner=10, remembered=1)
    awareness.apply([own(client_id, 0) for client_id in range(5)], ADA, "ada", 0)
    awareness.apply([state(0, 2, "null")], ADA, "ada", 0)
    assert {entry.client_id for entry in awareness.expire(STALE_AFTER)} == {1, 2, 3, 4}
    assert len(known(awareness)) == 1
    assert awareness.expire(2 * STALE_AFTER) == []
    assert known(awareness) == []


def known(awareness: Awareness) -> list[Entry]:
    return [entry for payload in awareness_format.pack(awareness.encode_known(), 1000) for entry in decode(payload)]


@pytest.mark.parametrize("clock", [0, 6])
def test_a_state_that_counts_must_be_json(awareness: Awareness, clock: int) -> None:
    if clock:
        awareness.apply([own(1, 5)], ADA, "ada", 0)
    with pytest.raises(Malformed):
        awareness.apply([own(1, clock, "{")], ADA, "ada", 0)


def test_an_update_that_tells_nothing_new_is_old_whatever_its_states(awareness: Awareness) -> None:
    awareness.apply([own(1, 5)], ADA, "ada", 0)
    awareness.apply([own(2, 5)], BOB, "bob", 0)
    assert awareness.is_old(encode([state(2, 5, "x" * 1000), state(1, 4)]))
    assert not awareness.is_old(encode([state(2, 5), state(1, 6)]))
    assert not awareness.is_old(encode([own(3, 0)]))
    # Nothing is read of one that has more entries than there are clients.
    assert not awareness.is_old(encode([own(1, 5)] * 3))


def test_states_are_packed_into_updates_of_a_size_and_a_large_one_has_its_own() -> None:
    entries = [state(number, 0, f'"{"x" * size}"') for number, size in enumerate([10, 300, 20, 20, 20, 20])]
    packed = awareness_format.pack(map(awareness_format.encode_entry, entries), 100)
    assert [entry for payload in packed for entry in decode(payload)] == entries
    assert [len(decode(payload)) for payload in packed] == [1, 1, 3, 1]
    assert [len(payload) > 100 for payload in packed] == [False, True, False, False]
