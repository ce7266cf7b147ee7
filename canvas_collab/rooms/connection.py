"""One client's connection to one document: what it may do, and what its messages mean.

Which protocol carries the messages does not matter here; that is the carrier's business.
"""

from __future__ import annotations

import enum
from typing import Protocol

from canvas_collab.access.admission import Admission, Denied
from canvas_collab.access.auth import Credential
from canvas_collab.access.roles import Access
from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol import sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.protocol.closing import CloseCode, Offence
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.state_vector import EMPTY_STATE_VECTOR
from canvas_collab.protocol.update import Update, decode_update
from canvas_collab.rooms.awareness import TooManyClients
from canvas_collab.rooms.outgoing import Outgoing
from canvas_collab.rooms.room import Room


class Carrier(Protocol):
    """What brings a connection's messages to the client, in the protocol that it speaks."""

    @property
    def client(self) -> str:
        """The client's address, for the log."""

    @property
    def protocol(self) -> str:
        """Which protocol that is, for the log."""

    def send(self, message: Outgoing) -> None:
        """Send a message of y-protocols."""

    def offer(self, message: Outgoing) -> bool:
        """Send a message, unless the client does not read; returns False if it was not sent for that reason."""

    def send_stateless(self, message: Outgoing) -> None:
        """Send a stateless message, where the protocol has such."""

    def close(self, denied: Denied) -> None:
        """End the connection: who came in may not stay."""

    def access_changed(self) -> None:
        """The connection's role has changed, or was confirmed anew."""

    def ask_for_token(self) -> None:
        """The session ends soon: ask for the token of a newer one, where the protocol can."""


class JournalState(Protocol):
    """What a connection needs to know of the journal."""

    @property
    def full(self) -> bool:
        """Whether no more updates should be taken now."""


class Effect(enum.Enum):
    """What a message did to the document."""

    #: Nothing; it was not meant to.
    NONE = enum.auto()
    #: What it brought is part of the document, and on its way to disk.
    KEPT = enum.auto()
    #: The connection may only read.
    REFUSED = enum.auto()


class Connection:
    """A client in a room.  It hears of everything; what it says counts as far as its role allows."""

    __slots__ = (
        "_journal",
        "_max_awareness_size",
        "_max_document_size",
        "access",
        "carrier",
        "credential",
        "offer",
        "room",
        "user_id",
    )

    def __init__(
        self,
        carrier: Carrier,
        room: Room[Connection],
        admission: Admission,
        journal: JournalState,
        max_awareness_size: int,
        max_document_size: int,
    ) -> None:
        """:param admission: on what the connection rests.
        :param max_awareness_size: the largest awareness message that is taken, in bytes.
        :param max_document_size: nothing is added to a document that would have more bytes.
        """
        self.carrier = carrier
        # What the room asks for most often, without a step in between.
        self.offer = carrier.offer
        self.room = room
        self.user_id = admission.session.user_id
        self.credential: Credential = admission.credential
        self.access: Access = admission.access
        self._journal = journal
        self._max_awareness_size = max_awareness_size
        self._max_document_size = max_document_size

    @property
    def may_write(self) -> bool:
        """Whether the client's edits count."""
        return self.access >= Access.WRITE

    def join(self) -> None:
        """Be part of the room from now on, and hear who else is."""
        self.room.join(self)
        present = self.room.awareness.present()
        if present:
            self._send_awareness(present)

    def ask(self) -> None:
        """Ask the client for what it has and the server has not."""
        self._send(sync.encode_step_1(self.room.document.state_vector))

    def catch_up(self) -> None:
        """The client reads again: send what it has missed."""
        for message in self.room.catch_up(self):
            self.carrier.send(message)

    def leave(self) -> None:
        """The client has gone."""
        self.room.leave(self)

    def reset(self) -> None:
        """The document was made anew without some of what was in it, which the client has: end the connection."""
        reason = "the document was reset, load it afresh"
        self.carrier.close(Denied(409, CloseCode.DOCUMENT_RESET, reason, reason, self.user_id))

    def receive(self, message: sync.Message) -> Effect:
        """Take a message of the client.

        :raises Offence: if that ends the connection.
        """
        try:
            if isinstance(message, sync.Update):
                return self._edit(message.update, decode_update(message.update))
            if isinstance(message, sync.SyncStep2):
                return self._take_step_2(message.update)
            if isinstance(message, sync.AwarenessUpdate):
                self._show(message.payload)
            elif isinstance(message, sync.SyncStep1):
                self._answer_step_1(message.state_vector)
            else:
                self._send_awareness(self.room.awareness.present())
        except Malformed as error:
            raise Offence(CloseCode.MALFORMED, f"malformed message: {error}") from error
        return Effect.NONE

    def relay(self, message: Outgoing) -> None:
        """Have the others sent a stateless message."""
        self.room.relay(self, message)

    def send_stateless(self, message: Outgoing) -> None:
        """Pass a stateless message on."""
        self.carrier.send_stateless(message)

    def _edit(self, data: bytes, update: Update) -> Effect:
        if not self.may_write:
            return Effect.REFUSED
        if update.runs and self.room.document.size + len(data) > self._max_document_size:
            raise Offence(CloseCode.TOO_LARGE, f"the document is full: it may have {self._max_document_size} bytes")
        if self._journal.full:
            raise Offence(CloseCode.TRY_AGAIN_LATER, "the database cannot keep up, try again later")
        self.room.edit(self, data, update)
        return Effect.KEPT

    def _take_step_2(self, data: bytes) -> Effect:
        update = decode_update(data)
        # A client that only reconnects brings nothing new, and that should cost nobody anything.
        return self._edit(data, update) if self.room.document.adds(update) else Effect.KEPT

    def _answer_step_1(self, state_vector: bytes) -> None:
        if state_vector == EMPTY_STATE_VECTOR:
            for message in self.room.whole():
                self.carrier.send(message)
        else:
            self._send(sync.encode_step_2(self.room.document.lacking(state_vector)))

    def _show(self, payload: bytes) -> None:
        if len(payload) > self._max_awareness_size:
            raise Offence(CloseCode.TOO_LARGE, f"an awareness message may have {self._max_awareness_size} bytes")
        if self.room.is_echo(payload):
            return
        try:
            corrections = self.room.show(self, awareness_format.decode(payload))
        except TooManyClients as error:
            raise Offence(CloseCode.TOO_LARGE, str(error)) from error
        if corrections:
            self._send_awareness(corrections)

    def _send_awareness(self, entries: list[Entry]) -> None:
        self._send(sync.encode_awareness(awareness_format.encode(entries)))

    def _send(self, payload: bytes) -> None:
        self.carrier.send(Outgoing(payload))
