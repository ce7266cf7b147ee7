"""A connection to a document: what a message that is dealt with in slices does once its client has gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from pycrdt import Doc, Text
from twisted.internet.task import Clock

from canvas_collab.access.authentication import Credential, Session, Source
from canvas_collab.access.authorization import Authorization
from canvas_collab.access.roles import Access
from canvas_collab.config.connections import ConnectionLimits
from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol import sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.protocol.update import Update
from canvas_collab.rooms.connection import Channel, Connection, EditResult
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.rooms.room import Room
from tests.rooms.test_rooms import make_room


class Client:
    """A carrier that writes down what the client is told."""

    client, protocol, acknowledges = "127.0.0.1", "staged", True

    def __init__(self) -> None:
        self.edits = 0

    def offer(self, message: PreparedMessage) -> bool:
        return True

    def send(self, message: PreparedMessage) -> None:
        pass

    def edit_accepted(self, update: Update) -> None:
        self.edits += 1

    def pause_reading_until(self, subscribe: Callable[[Callable[[], None]], None]) -> None:
        pass


class Journal:
    full = False

    def after_commit(self, document_id: str, act: Callable[[], None]) -> None:
        act()


LIMITS = ConnectionLimits(max_awareness_size=2**20, max_document_size=2**30, max_unsaved=2**30)


class Stage:
    def __init__(self) -> None:
        self.room: Room[Connection] = make_room(Clock())
        self.client = Client()
        self.connection = Connection(cast(Channel, self.client), self.room, admission(), Journal(), LIMITS)
        self.connection.join()

    def leaves_during(self, message: sync.Message, steps: int) -> EditResult:
        """The client has gone after so many steps of a message."""
        dealing = self.connection.receive(message)
        for _ in range(steps):
            next(dealing)
        self.connection.leave()
        while True:
            try:
                next(dealing)
            except StopIteration as end:
                return cast(EditResult, end.value)


def admission() -> Authorization:
    return Authorization("room", Session("user", "token", 60.0), Access.WRITE, Credential("token", Source.QUERY))


def many_edits() -> bytes:
    doc = Doc[Any]()
    doc["text"] = text = Text()
    for _ in range(1000):
        text.insert(0, "words")
    return doc.get_update()


@pytest.mark.parametrize("kind", [sync.Update, sync.SyncStep2])
def test_an_update_whose_client_goes_before_it_is_taken_in_does_not_count(
    kind: Callable[[bytes], sync.Message],
) -> None:
    stage = Stage()
    assert stage.leaves_during(kind(many_edits()), steps=2) is EditResult.NONE
    assert stage.room.document.size == 0
    assert stage.client.edits == 0


def test_of_an_awareness_message_whose_client_goes_no_more_is_shown() -> None:
    stage = Stage()
    entries = [awareness_format.encode_entry(Entry(client, 1, '{"x":1}')) for client in range(9)]
    entries += [awareness_format.encode_entry(Entry(9, 1, '{"x":[' + "0," * 50_000 + "0]}"))]
    (payload,) = awareness_format.pack(entries, 2**20)
    stage.leaves_during(sync.AwarenessUpdate(payload), steps=1)
    assert stage.room.awareness.present() == []
