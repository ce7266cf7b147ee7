"""Rooms in memory: loading once, keeping what is not saved, letting go.  And how a room flushes."""

from __future__ import annotations

import pytest
from pycrdt import Doc, Text
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from canvas_collab.document import document
from canvas_collab.document.document import Document, merge_updates
from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol import sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.protocol.steps import run_to_completion
from canvas_collab.protocol.update import decode_update
from canvas_collab.rooms import broadcast_queue
from canvas_collab.rooms.awareness import AHEAD, STALE_AFTER, Awareness
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.echo_filter import REMEMBERED
from canvas_collab.rooms.pacing import FlushPacer
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.rooms.room import AWARENESS_SIZE, STATELESS_AT_ONCE, STATELESS_WAITING, Room
from canvas_collab.rooms.rooms import Rooms


class Stage:
    """Rooms whose loading and saving end when the test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.loading: list[Deferred[Room[Connection]]] = []
        self.saving: list[Deferred[None]] = []
        self.rooms = Rooms(self.clock, self.load, self.save)

    def load(self, name: str) -> Deferred[Room[Connection]]:
        self.loading.append(Deferred())
        return self.loading[-1]

    def save(self, name: str) -> Deferred[None]:
        self.saving.append(Deferred())
        return self.saving[-1]

    def enter(self) -> Deferred[Room[Connection]]:
        return Deferred.fromCoroutine(self.rooms.enter("room"))


def make_room(clock: Clock) -> Room[Connection]:
    return Room(clock, "room", Document(), Awareness(10), FlushPacer(0.5, 0.04), FlushPacer(0.5, 0.04), lambda *_: None)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_room_is_loaded_once_however_many_arrive_together(stage: Stage) -> None:
    arrivals = [stage.enter() for _ in range(5)]
    assert len(stage.loading) == 1
    room = make_room(stage.clock)
    stage.loading[0].callback(room)
    assert [arrival.result for arrival in arrivals] == [room] * 5
    assert stage.enter().result is room
    assert len(stage.rooms) == 1


def test_when_loading_fails_everybody_hears_it_and_the_next_tries_again(stage: Stage) -> None:
    arrivals = [stage.enter() for _ in range(3)]
    stage.loading[0].errback(RuntimeError("away"))
    failures: list[object] = []
    for arrival in arrivals:
        arrival.addErrback(failures.append)
    assert len(failures) == 3
    assert len(stage.rooms) == 0
    arrival = stage.enter()
    stage.loading[1].callback(make_room(stage.clock))
    assert arrival.called


def test_a_room_goes_when_the_last_has_left_and_everything_is_saved(stage: Stage) -> None:
    stage.enter()
    stage.enter()
    stage.loading[0].callback(make_room(stage.clock))
    stage.rooms.leave("room")
    assert stage.saving == []
    stage.rooms.leave("room")
    assert len(stage.rooms) == 1
    stage.saving[0].callback(None)
    assert len(stage.rooms) == 0


def test_who_arrives_while_a_room_is_saved_finds_it_still_there(stage: Stage) -> None:
    stage.enter()
    room = make_room(stage.clock)
    stage.loading[0].callback(room)
    stage.rooms.leave("room")
    assert stage.enter().result is room
    stage.saving[0].callback(None)
    assert len(stage.rooms) == 1
    stage.rooms.leave("room")
    stage.saving[1].callback(None)
    assert len(stage.rooms) == 0


def test_a_room_stays_until_what_was_edited_in_a_second_visit_is_saved_as_well(stage: Stage) -> None:
    stage.enter()
    stage.loading[0].callback(make_room(stage.clock))
    stage.rooms.leave("room")
    stage.enter()
    stage.rooms.leave("room")
    assert len(stage.saving) == 2
    stage.saving[0].callback(None)
    assert "room" in stage.rooms
    stage.saving[1].callback(None)
    assert "room" not in stage.rooms


def test_a_room_whose_snapshot_fails_may_go_because_the_log_has_it(stage: Stage) -> None:
    stage.enter()
    stage.loading[0].callback(make_room(stage.clock))
    stage.rooms.leave("room")
    stage.saving[0].errback(RuntimeError("away"))
    assert len(stage.rooms) == 0


#: After a flush the next one comes so many seconds later.
WINDOW = 0.01


class FakeMember:
    """Somebody in a room, who writes down what is sent."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.reads = True
        self.received: list[bytes] = []
        self.stateless: list[bytes] = []

    def send_stateless(self, message: PreparedMessage) -> None:
        self.stateless.append(message.payload)

    def offer(self, message: PreparedMessage) -> bool:
        if self.reads:
            self.received.append(message.payload)
        return self.reads

    def close(self, code: CloseCode, reason: str) -> None:
        raise AssertionError(reason)


class Meeting:
    """A room with three members."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.journal: list[tuple[str, str, bytes]] = []
        self.room: Room[FakeMember] = Room(
            self.clock,
            "room",
            Document(),
            Awareness(10),
            FlushPacer(0.5, 0.04, WINDOW),
            FlushPacer(0.5, 0.04, WINDOW),
            lambda name, user, update: self.journal.append((name, user, update)),
        )
        self.members = [FakeMember(name) for name in ("ada", "bob", "cyd")]
        for member in self.members:
            self.room.join(member)

    def edit(self, member: FakeMember, data: bytes) -> None:
        run_to_completion(self.room.edit(member, decode_update(data)))

    def forget(self) -> None:
        for member in self.members:
            member.received.clear()


@pytest.fixture
def meeting() -> Meeting:
    return Meeting()


def shown(*entries: Entry) -> bytes:
    return sync.encode_awareness(awareness_format.encode(entries))


def sync_update(message: bytes) -> bytes:
    decoded = sync.decode(message)
    assert isinstance(decoded, sync.Update)
    return decoded.update


def update_of(text: str) -> bytes:
    doc: Doc = Doc()
    doc["text"] = Text(text)
    return doc.get_update()


def test_an_edit_reaches_all_but_its_sender_and_the_journal(meeting: Meeting) -> None:
    ada, bob, cyd = meeting.members
    update = update_of("hello")
    meeting.edit(ada, update)
    assert ada.received == []
    assert bob.received == cyd.received == [sync.encode_update(update)]
    assert meeting.journal == [("room", "ada", update)]


def test_edits_of_one_window_are_sent_as_one_update_to_all(meeting: Meeting) -> None:
    ada, bob, cyd = meeting.members
    meeting.edit(cyd, update_of("first"))
    meeting.forget()
    one, two = update_of("one"), update_of("two")
    meeting.edit(ada, one)
    meeting.edit(bob, two)
    assert all(member.received == [] for member in meeting.members)
    meeting.clock.advance(WINDOW)
    merged = sync.encode_update(merge_updates([decode_update(one), decode_update(two)]))
    assert ada.received == bob.received == cyd.received == [merged]
    assert len(meeting.journal) == 3


def test_an_edit_that_holds_nothing_is_neither_kept_nor_sent(meeting: Meeting) -> None:
    meeting.edit(meeting.members[0], b"\x00\x00")
    meeting.clock.advance(1)
    assert meeting.journal == []
    assert all(member.received == [] for member in meeting.members)


def show(meeting: Meeting, member: FakeMember, *entries: Entry, is_opening: bool = False) -> list[Entry]:
    outcome = meeting.room.show(member, list(entries), is_opening)
    meeting.room.announce(outcome.news)
    return outcome.corrections


def test_awareness_reaches_everybody_its_sender_too_collapsed_to_the_latest(meeting: Meeting) -> None:
    ada, *_ = meeting.members
    for clock in range(4):
        show(meeting, ada, Entry(1, clock, "{}"))
    meeting.clock.advance(WINDOW)
    expected = [shown(Entry(1, clock + AHEAD, "{}")) for clock in (0, 3)]
    assert all(member.received == expected for member in meeting.members)


def test_a_cursor_is_not_shown_before_what_it_may_stand_in(meeting: Meeting) -> None:
    ada, bob, _ = meeting.members
    meeting.edit(ada, update_of("one"))
    update = update_of("two")
    meeting.edit(ada, update)
    show(meeting, ada, Entry(1, 0, "{}"))
    meeting.clock.advance(WINDOW)
    assert bob.received[1:] == [sync.encode_update(update), shown(Entry(1, AHEAD, "{}"))]


def test_what_comes_back_word_for_word_is_known_for_an_echo(meeting: Meeting) -> None:
    ada, bob, _ = meeting.members
    echo = awareness_format.encode([Entry(1, AHEAD, "{}")])
    assert not meeting.room.is_echo(bob, echo)
    show(meeting, ada, Entry(1, 0, "{}"))
    assert meeting.room.is_echo(bob, echo)
    assert not meeting.room.is_echo(bob, awareness_format.encode([Entry(1, 2, "{}")]))


def test_so_is_what_one_is_told_alone_and_for_them_alone(meeting: Meeting) -> None:
    ada, bob, _ = meeting.members
    show(meeting, ada, Entry(1, 0, "{}"))
    dee = FakeMember("dee")
    meeting.room.join(dee)
    [told] = payloads(meeting.room.introduce(dee))
    assert awareness_format.decode(told) == [Entry(1, AHEAD + 1, "{}")]
    assert meeting.room.is_echo(dee, told)
    assert not meeting.room.is_echo(bob, told)
    [answer] = payloads(meeting.room.everybody(bob))
    assert meeting.room.is_echo(bob, answer)


def payloads(messages: list[PreparedMessage]) -> list[bytes]:
    decoded = [sync.decode(message.payload) for message in messages]
    return [message.payload for message in decoded if isinstance(message, sync.AwarenessUpdate)]


def test_a_query_is_answered_with_the_same_messages_while_nothing_changes(meeting: Meeting) -> None:
    ada, bob, cyd = meeting.members
    assert payloads(meeting.room.everybody(bob)) == [awareness_format.EMPTY_AWARENESS]
    show(meeting, ada, Entry(1, 0, "{}"))
    assert payloads(meeting.room.everybody(bob)) == [awareness_format.encode([Entry(1, AHEAD, "{}")])]
    assert meeting.room.everybody(bob)[0] is meeting.room.everybody(cyd)[0]
    show(meeting, ada, Entry(1, AHEAD, "null"))
    assert payloads(meeting.room.everybody(cyd)) == [awareness_format.EMPTY_AWARENESS]


def test_it_is_known_for_how_long_nothing_was_sent_that_all_hear(meeting: Meeting) -> None:
    ada, bob, _ = meeting.members
    assert meeting.room.silence == float("inf")
    # An edit is not heard by its sender.
    meeting.edit(bob, update_of("hello"))
    assert meeting.room.silence == float("inf")
    show(meeting, ada, Entry(1, 0, "{}"))
    assert meeting.room.silence == 0
    meeting.clock.advance(3)
    assert meeting.room.silence == 3


def test_who_comes_back_and_says_the_same_again_is_not_taken_for_an_echo_and_is_seen_again(meeting: Meeting) -> None:
    ada, bob, _ = meeting.members
    show(meeting, ada, Entry(1, 0, "{}"))
    meeting.clock.advance(WINDOW)
    show(meeting, ada, Entry(1, AHEAD + 1, "{}"))
    meeting.clock.advance(WINDOW)
    meeting.room.leave(ada)
    back = FakeMember("ada")
    meeting.room.join(back)
    assert meeting.room.is_echo(bob, awareness_format.encode([Entry(1, AHEAD + 1, "{}")]))
    assert not meeting.room.is_echo(back, awareness_format.encode([Entry(1, AHEAD + 1, "{}")]))
    meeting.clock.advance(WINDOW)
    meeting.forget()
    assert show(meeting, back, Entry(1, AHEAD + 1, "{}"), is_opening=True) == []
    meeting.clock.advance(WINDOW)
    assert bob.received == back.received == [shown(Entry(1, AHEAD + 2, "{}"))]


def test_echoes_are_remembered_for_a_while(meeting: Meeting) -> None:
    ada, *_ = meeting.members
    clocks = range(AHEAD, AHEAD + REMEMBERED + 1)
    for clock in clocks:
        show(meeting, ada, Entry(1, clock - AHEAD, "{}") if clock == AHEAD else Entry(1, clock, "{}"))
        meeting.clock.advance(WINDOW)
    echoes = [meeting.room.is_echo(ada, awareness_format.encode([Entry(1, clock, "{}")])) for clock in clocks]
    assert echoes == [False] + [True] * REMEMBERED


def test_what_is_more_than_one_message_should_have_is_sent_in_several(meeting: Meeting) -> None:
    ada, bob, _ = meeting.members
    everybody = [FakeMember(f"user {number}") for number in range(3000)]
    show(meeting, ada, Entry(1, 0, "{}"))
    for number, member in enumerate(everybody):
        meeting.room.join(member)
        show(meeting, member, Entry(100 + number, 0, '{"user":"Somebody","at":{"x":100,"y":100},"color":"#ff8800"}'))
    meeting.forget()
    meeting.clock.advance(WINDOW)
    assert all(len(message) < AWARENESS_SIZE + 10 for message in bob.received)
    heard = [entry for message in bob.received for entry in entries_in(message)]
    assert len(heard) == 3000
    late = FakeMember("late")
    meeting.room.join(late)
    told = meeting.room.introduce(late)
    assert len(told) == len(bob.received)
    assert all(len(message.payload) < AWARENESS_SIZE + 10 for message in told)
    assert sum(len(entries_in(message.payload)) for message in told) == 3001
    assert all(meeting.room.is_echo(late, payload) for payload in payloads(told))


def entries_in(message: bytes) -> list[Entry]:
    update = sync.decode(message)
    assert isinstance(update, sync.AwarenessUpdate)
    return awareness_format.decode(update.payload)


def test_a_member_who_leaves_takes_their_cursor_along(meeting: Meeting) -> None:
    ada, bob, _ = meeting.members
    show(meeting, ada, Entry(1, 0, "{}"))
    meeting.room.leave(ada)
    meeting.clock.advance(1)
    assert bob.received[-1] == shown(Entry(1, AHEAD, "null"))
    assert len(ada.received) == 1


def test_a_cursor_that_is_not_renewed_goes(meeting: Meeting) -> None:
    ada, bob, _ = meeting.members
    show(meeting, ada, Entry(1, 0, "{}"))
    meeting.clock.advance(STALE_AFTER)
    meeting.room.expire()
    meeting.clock.advance(1)
    assert bob.received[-1] == shown(Entry(1, AHEAD, "null"))


def test_a_room_that_is_closed_sends_nothing_any_more(meeting: Meeting) -> None:
    ada, *_ = meeting.members
    for clock in range(2):
        meeting.edit(ada, update_of("x"))
        show(meeting, ada, Entry(1, clock, "{}"))
    meeting.forget()
    meeting.room.close()
    meeting.clock.advance(1)
    assert all(member.received == [] for member in meeting.members)
    assert len(meeting.journal) == 2


def test_one_who_does_not_read_is_sent_what_has_changed_once_they_read_again(meeting: Meeting) -> None:
    ada, bob, cyd = meeting.members
    meeting.edit(ada, update_of("before"))
    bob.reads = False
    missed = [update_of("one"), update_of("two"), update_of("three")]
    for update in missed:
        meeting.clock.advance(WINDOW)
        meeting.edit(ada, update)
    show(meeting, ada, Entry(1, 0, "{}"))
    # It has nothing before it is told to catch up, though it reads: what came in between would stand on nothing.
    bob.reads = True
    meeting.clock.advance(WINDOW)
    meeting.edit(ada, update_of("four"))
    assert len(bob.received) == 1
    assert len(cyd.received) == 6

    changes, everybody = run_to_completion(meeting.room.catch_up(bob))
    caught_up = decode_update(sync_update(changes.payload))
    assert len(caught_up.runs) == 4
    bobs = Document([decode_update(sync_update(bob.received[0])), caught_up])
    assert bobs.encode() == meeting.room.document.encode()
    assert everybody.payload == shown(Entry(1, AHEAD, "{}"))
    assert run_to_completion(meeting.room.catch_up(bob)) == []
    meeting.clock.advance(WINDOW)
    meeting.edit(ada, update_of("five"))
    assert len(bob.received) == 2


def test_one_who_falls_behind_misses_nothing_of_the_update_that_they_were_not_sent(meeting: Meeting) -> None:
    ada, bob, _ = meeting.members
    typist: Doc = Doc()
    text = typist["text"] = Text("a")
    meeting.edit(ada, typist.get_update())
    before = typist.get_state()
    text += "b"
    bob.reads = False
    meeting.clock.advance(WINDOW)
    meeting.edit(ada, typist.get_update(before))
    [changes] = run_to_completion(meeting.room.catch_up(bob))
    bobs: Doc = Doc()
    bobs.apply_update(sync_update(bob.received[0]))
    bobs.apply_update(sync_update(changes.payload))
    assert str(bobs.get("text", type=Text)) == "ab"
    assert sync_update(changes.payload) == typist.get_update(before)


def test_nothing_is_kept_of_one_who_leaves_without_having_read(meeting: Meeting) -> None:
    ada, bob, _ = meeting.members
    bob.reads = False
    meeting.edit(ada, update_of("x"))
    meeting.room.leave(bob)
    assert run_to_completion(meeting.room.catch_up(bob)) == []


def test_one_who_falls_behind_while_an_update_is_taken_in_misses_nothing_of_it(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, cyd = meeting.members
    monkeypatch.setattr(document, "RUNS_PER_STEP", 1)
    taking_in = meeting.room.edit(ada, decode_update(merge_updates([decode_update(update_of(text)) for text in "abc"])))
    next(taking_in)
    # A part of it is in the document, and has been sent to nobody.
    assert meeting.room.document.size
    bob.reads = False
    meeting.room.announce(meeting.room.show(cyd, [Entry(1, 1, "{}")]).news)
    run_to_completion(taking_in)
    bob.reads = True
    assert bob.received == []
    [changes, _] = run_to_completion(meeting.room.catch_up(bob))
    caught_up = Document([decode_update(sync_update(changes.payload))])
    assert caught_up.encode() == meeting.room.document.encode()


def test_updates_that_are_large_together_are_sent_in_several_messages(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, cyd = meeting.members
    monkeypatch.setattr(broadcast_queue, "MERGED_SIZE", 300)
    meeting.edit(ada, update_of("first"))
    for number, member in enumerate([ada, cyd] * 10):
        meeting.edit(member, update_of(str(number) * 50))
    meeting.clock.advance(WINDOW)
    assert 3 <= len(bob.received) <= 11
    bobs = Document(map(decode_update, map(sync_update, bob.received)))
    assert bobs.encode() == meeting.room.document.encode()


def test_stateless_messages_are_sent_some_at_a_time_in_order_and_too_many_are_dropped(meeting: Meeting) -> None:
    ada, bob, _ = meeting.members
    meeting.edit(ada, update_of("before"))
    meeting.forget()
    messages = [PreparedMessage(str(number).encode()) for number in range(STATELESS_WAITING + 5)]
    taken = [meeting.room.relay(ada, message) for message in messages]
    assert taken == [True] * STATELESS_WAITING + [False] * 5
    meeting.clock.advance(WINDOW)
    assert bob.stateless == [message.payload for message in messages[:STATELESS_AT_ONCE]]
    for _ in range(STATELESS_WAITING // STATELESS_AT_ONCE):
        meeting.clock.advance(WINDOW)
    assert bob.stateless == [message.payload for message in messages[:STATELESS_WAITING]]
    assert ada.stateless == []
