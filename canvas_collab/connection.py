"""One client's connection to one document: what it may do, and what its messages mean.

Which protocol carries the messages does not matter here; that is the carrier's business.
"""

from __future__ import annotations

from typing import Protocol

from canvas_collab.access import Access
from canvas_collab.awareness import TooManyClients
from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol import sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.protocol.closing import CloseCode, Offence
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.update import Update, decode_update
from canvas_collab.room import Outgoing, Room


class Carrier(Protocol):
    """What brings a connection's messages to the client."""

    def send(self, message: Outgoing) -> None:
        """Send a message of this document."""

    def close(self, code: CloseCode, reason: str) -> None:
        """End the connection."""


class JournalState(Protocol):
    """What a connection needs to know of the journal."""

    @property
    def full(self) -> bool:
        """Whether no more updates should be taken now."""


class Connection:
    """A client in a room.  It hears of everything; what it says counts as far as its role allows."""

    __slots__ = ("_carrier", "_journal", "_max_awareness_size", "access", "room", "user_id")

    def __init__(
        self,
        carrier: Carrier,
        room: Room[Connection],
        user_id: str,
        access: Access,
        journal: JournalState,
        max_awareness_size: int,
    ) -> None:
        """:param max_awareness_size: the largest awareness message that is taken, in bytes."""
        self._carrier = carrier
        self.room = room
        self.user_id = user_id
        self.access = access
        self._journal = journal
        self._max_awareness_size = max_awareness_size

    def open(self) -> None:
        """Join the room: ask for what the client has, tell it who is here."""
        self.room.join(self)
        self._send(sync.encode_step_1(self.room.document.state_vector))
        present = self.room.awareness.present()
        if present:
            self._send_awareness(present)

    def closed(self) -> None:
        """The client has gone."""
        self.room.leave(self)

    def receive(self, data: bytes) -> None:
        """Take a message of the client.

        :raises Offence: if that ends the connection.
        """
        try:
            message = sync.decode(data)
            if isinstance(message, sync.Update):
                self._edit(message.update, decode_update(message.update))
            elif isinstance(message, sync.AwarenessUpdate):
                self._show(message.payload)
            elif isinstance(message, sync.SyncStep1):
                self._answer_step_1(message.state_vector)
            elif isinstance(message, sync.SyncStep2):
                self._take_step_2(message.update)
            else:
                self._send_awareness(self.room.awareness.present())
        except Malformed as error:
            raise Offence(CloseCode.MALFORMED, f"malformed message: {error}") from error

    def send(self, message: Outgoing) -> None:
        """Pass a message of the room on."""
        self._carrier.send(message)

    def close(self, code: CloseCode, reason: str) -> None:
        """End the connection from this side."""
        self._carrier.close(code, reason)

    def _edit(self, data: bytes, update: Update) -> None:
        if self.access < Access.WRITE:
            return
        if self._journal.full:
            raise Offence(CloseCode.TRY_AGAIN_LATER, "the database cannot keep up, try again later")
        self.room.edit(self, data, update)

    def _take_step_2(self, data: bytes) -> None:
        update = decode_update(data)
        # A client that only reconnects brings nothing new, and that should cost nobody anything.
        if self.room.document.adds(update):
            self._edit(data, update)

    def _answer_step_1(self, state_vector: bytes) -> None:
        self._send(sync.encode_step_2(self.room.document.lacking(state_vector)))

    def _show(self, payload: bytes) -> None:
        if len(payload) > self._max_awareness_size:
            raise Offence(CloseCode.TOO_LARGE, f"an awareness message may have {self._max_awareness_size} bytes")
        try:
            corrections = self.room.show(self, awareness_format.decode(payload))
        except TooManyClients as error:
            raise Offence(CloseCode.TOO_LARGE, str(error)) from error
        if corrections:
            self._send_awareness(corrections)

    def _send_awareness(self, entries: list[Entry]) -> None:
        self._send(sync.encode_awareness(awareness_format.encode(entries)))

    def _send(self, payload: bytes) -> None:
        self._carrier.send(Outgoing(payload))
