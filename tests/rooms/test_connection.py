"""A connection: messages that are handled when the client leaves, and keep-alive messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from attrs import evolve
from pycrdt import Doc, Text
from twisted.internet.task import Clock

from canvas_collab.access.authentication import Credential, Session, Source
from canvas_collab.access.authorization import Authorization
from canvas_collab.access.roles import Access
from canvas_collab.config.connections import ConnectionLimits
from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol import sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.protocol.close_codes import ProtocolViolation
from canvas_collab.protocol.steps import run_to_completion
from canvas_collab.protocol.update import Update
from canvas_collab.rooms.channel import Channel
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.edits import EditResult
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.rooms.room import Room
from tests.support.rooms import make_room


class FakeChannel:
    """A channel that records what it is to send."""

    client, protocol, acknowledges = "127.0.0.1", "staged", True

    def __init__(self) -> None:
        self.accepted = self.pauses = 0
        self.offered: list[bytes] = []

    def offer(self, message: PreparedMessage) -> bool:
        self.offered.append(message.payload)
        return True

    def send(self, message: PreparedMessage) -> None:
        pass

    def edit_accepted(self, update: Update) -> None:
        self.accepted += 1

    def pause_reading_until(self, subscribe: Callable[[Callable[[], None]], None]) -> None:
        self.pauses += 1


class Journal:
    full = False

    def after_commit(self, document_id: str, act: Callable[[], None]) -> None:
        act()


class FullJournal(Journal):
    full = True


LIMITS = ConnectionLimits(max_awareness_size=2**20, max_document_size=2**30, max_unsaved=2**30)


class Stage:
    """A room with one connection."""

    def __init__(self, limits: ConnectionLimits = LIMITS, journal: Journal | None = None) -> None:
        self.clock = Clock()
        self.room: Room[Connection] = make_room(self.clock)
        self.channel = FakeChannel()
        self.connection = Connection(
            cast(Channel, self.channel), self.room, authorization(), journal or Journal(), limits
        )
        self.connection.join()

    def leave_during(self, message: sync.Message, steps: int) -> EditResult:
        """Let the client leave after this many steps of handling a message."""
        handling = self.connection.receive(message)
        for _ in range(steps):
            next(handling)
        self.connection.leave()
        return run_to_completion(handling)


def authorization() -> Authorization:
    return Authorization("room", Session("user", "token", 60.0), Access.WRITE, Credential("token", Source.QUERY))


def many_edits() -> bytes:
    doc = Doc[Any]()
    doc["text"] = text = Text()
    for _ in range(1000):
        text.insert(0, "words")
    return doc.get_update()


@pytest.mark.parametrize("kind", [sync.Update, sync.SyncStep2])
def test_an_update_has_no_effect_if_the_client_leaves_before_it_is_merged(
    kind: Callable[[bytes], sync.Message],
) -> None:
    stage = Stage()
    assert stage.leave_during(kind(many_edits()), steps=2) is EditResult.NONE
    assert stage.room.document.size == 0
    assert stage.channel.accepted == 0


def test_an_awareness_message_has_no_effect_if_the_client_leaves_while_it_is_handled() -> None:
    stage = Stage()
    entries = [awareness_format.encode_entry(Entry(client, 1, '{"x":1}')) for client in range(9)]
    entries += [awareness_format.encode_entry(Entry(9, 1, '{"x":[' + "0," * 50_000 + "0]}"))]
    (payload,) = awareness_format.pack(entries, 2**20)
    stage.leave_during(sync.AwarenessUpdate(payload), steps=1)
    assert stage.room.awareness.present() == []


def test_keep_alive_sends_an_empty_awareness_update_unless_one_was_sent_to_all_lately() -> None:
    stage = Stage()
    empty = sync.encode_awareness(awareness_format.EMPTY_AWARENESS)
    stage.connection.keep_alive(10)
    assert stage.channel.offered == [empty]
    run_to_completion(stage.connection.receive(sync.AwarenessUpdate(awareness_format.encode([Entry(1, 1, "{}")]))))
    stage.channel.offered.clear()
    stage.clock.advance(10)
    stage.connection.keep_alive(10)
    assert stage.channel.offered == []
    stage.clock.advance(1)
    stage.connection.keep_alive(10)
    assert stage.channel.offered == [empty]


def test_a_small_update_has_the_same_result_at_once_as_in_steps() -> None:
    typist = Doc[Any]()
    text = typist["text"] = Text("a")
    states, updates = [typist.get_state()], [typist.get_update()]
    for change in ("b", "", "c"):
        if change:
            text.insert(0, change)
        else:
            text.clear()
        updates.append(typist.get_update(states[-1]))
        states.append(typist.get_state())
    at_once, in_steps = Stage(), Stage()
    # The second one is received twice: it is nothing new then.
    for data in (*updates, updates[1]):
        if at_once.connection.receive_small_update(data) is None:
            assert run_to_completion(at_once.connection.receive(sync.Update(data))) is EditResult.ACCEPTED
        assert run_to_completion(in_steps.connection.receive(sync.Update(data))) is EditResult.ACCEPTED
    assert at_once.room.document.encode() == in_steps.room.document.encode()
    assert at_once.channel.accepted == in_steps.channel.accepted == 5
    assert at_once.room.counters == in_steps.room.counters


def test_what_is_no_small_edit_is_refused_at_once_or_left_to_be_handled_in_steps() -> None:
    stage = Stage()
    assert stage.connection.receive_small_update(many_edits()) is None
    with pytest.raises(ProtocolViolation, match="malformed message"):
        stage.connection.receive_small_update(b"\x01\x01\x01")
    stage.connection.access = Access.READ
    assert stage.connection.receive_small_update(b"\x00\x00") is EditResult.REFUSED
    assert stage.channel.accepted == 0


def test_a_small_update_that_the_document_or_the_journal_has_no_room_for_closes_the_connection() -> None:
    small = Stage(evolve(LIMITS, max_document_size=600))
    doc = Doc[Any]()
    doc["text"] = Text("x" * 500)
    assert small.connection.receive_small_update(doc.get_update()) is EditResult.ACCEPTED
    with pytest.raises(ProtocolViolation, match="the document is full"):
        small.connection.receive_small_update(Doc[Any]({"text": Text("y")}).get_update())
    full = Stage(journal=FullJournal())
    with pytest.raises(ProtocolViolation, match="the database cannot keep up"):
        full.connection.receive_small_update(doc.get_update())


def test_reading_pauses_until_a_commit_when_small_updates_are_much_together() -> None:
    stage = Stage(evolve(LIMITS, max_unsaved=100))
    doc = Doc[Any]()
    doc["text"] = Text("x" * 60)
    stage.connection.receive_small_update(doc.get_update())
    assert stage.channel.pauses == 0
    stage.connection.receive_small_update(Doc[Any]({"text": Text("y" * 60)}).get_update())
    assert stage.channel.pauses == 1
