"""Rooms without a daemon: their connections record what they are sent, and their journal is a list."""

from __future__ import annotations

from typing import Any

from pycrdt import Doc, Text
from twisted.internet.task import Clock

from canvas_collab.counters import Counters
from canvas_collab.document.document import Document
from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol import sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.protocol.steps import run_to_completion
from canvas_collab.protocol.update import decode_update
from canvas_collab.rooms.awareness import Awareness
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.pacing import FlushPacer
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.rooms.room import Room

#: How many seconds after a flush the next one follows.
WINDOW = 0.01


class FakeMember:
    """A connection that records what it is sent, unless it is under backpressure."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.has_backpressure = False
        self.received: list[bytes] = []
        self.stateless: list[bytes] = []

    def send_stateless(self, message: PreparedMessage) -> None:
        self.stateless.append(message.payload)

    def offer(self, message: PreparedMessage) -> bool:
        if not self.has_backpressure:
            self.received.append(message.payload)
        return not self.has_backpressure


class RoomHarness:
    """A room with three members."""

    def __init__(self, edits_at_once: bool = False) -> None:
        """:param edits_at_once: whether updates are handled without steps where the room can."""
        self._edits_at_once = edits_at_once
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
            Counters(),
        )
        self.members = [FakeMember(name) for name in ("ada", "bob", "cyd")]
        for member in self.members:
            self.room.join(member)

    def edit(self, member: FakeMember, data: bytes) -> None:
        """Send an update."""
        update = decode_update(data)
        if not (self._edits_at_once and self.room.edit_at_once(member, update)):
            run_to_completion(self.room.edit(member, update))

    def set_awareness(self, member: FakeMember, *entries: Entry, is_opening: bool = False) -> list[Entry]:
        """Send awareness states; returns the corrections for the sender."""
        room = self.room
        result = room.awareness.apply(entries, member, member.user_id, room.now, is_opening)
        room.awareness_broadcaster.broadcast(result.changes)
        return result.corrections

    def clear_received(self) -> None:
        """Forget what the members have received."""
        for member in self.members:
            member.received.clear()


def make_room(clock: Clock) -> Room[Connection]:
    """An empty room whose updates go to no journal."""
    return Room(
        clock,
        "room",
        Document(),
        Awareness(10),
        FlushPacer(0.5, 0.04),
        FlushPacer(0.5, 0.04),
        lambda *_: None,
        Counters(),
    )


def update_of(text: str) -> bytes:
    """The update of a new document with this text."""
    doc = Doc[Any]()
    doc["text"] = Text(text)
    return doc.get_update()


def sync_update(message: bytes) -> bytes:
    """The update in a message."""
    decoded = sync.decode(message)
    assert isinstance(decoded, sync.Update)
    return decoded.update


def awareness_update(*entries: Entry) -> bytes:
    """The message with these awareness states."""
    return sync.encode_awareness(awareness_format.encode(entries))


def awareness_payload(message: bytes) -> bytes:
    """The awareness update in a message."""
    decoded = sync.decode(message)
    assert isinstance(decoded, sync.AwarenessUpdate)
    return decoded.payload


def entries_in(message: bytes) -> list[Entry]:
    """The awareness states in a message."""
    return awareness_format.decode(awareness_payload(message))
