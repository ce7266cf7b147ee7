"""Telling clients of the y-websocket protocol that their edits are on disk, where the client supports it.

The protocol itself has no message for that, but some clients have a way of their own: see
:mod:`canvas_collab.websocket.heartbeats` and :mod:`canvas_collab.websocket.confirmations`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from twisted.internet.interfaces import IReactorTime

from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import read_var_uint
from canvas_collab.protocol.state_vector import decode_state_vector
from canvas_collab.protocol.update import Update
from canvas_collab.rooms.commits import Commits
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.edits import EditResult
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.rooms.room import Room
from canvas_collab.websocket.confirmations import MAX_YJS_13_CLIENT_ID, Confirmations
from canvas_collab.websocket.heartbeats import Heartbeats

#: The state vector of a sync step 1 is kept until the sync step 2 that follows, if it has at most so many bytes.
MAX_KEPT_STATE_VECTOR = 64 * 2**10


@final
class SaveAcknowledgements:
    """Acknowledges the saved edits of one connection."""

    __slots__ = (
        "_confirmations",
        "_heartbeats",
        "_is_version_known",
        "_journal",
        "_offer",
        "_room",
        "_state_vector",
        "has_heartbeats",
    )

    def __init__(
        self, clock: IReactorTime, journal: Commits, room: Room[Connection], offer: Callable[[PreparedMessage], bool]
    ) -> None:
        """:param offer: sends a message, unless the client does not read; returns False if it was not sent."""
        #: Whether the client has sent a heartbeat.
        self.has_heartbeats = False
        self._journal = journal
        self._room = room
        self._offer = offer
        self._heartbeats = Heartbeats(clock, journal, room.name, offer)
        self._confirmations: Confirmations | None = None
        self._is_version_known = False
        self._state_vector: bytes | None = None

    def heartbeat_received(self, counter: bytes) -> None:
        """Answer a heartbeat of the client."""
        self.has_heartbeats = True
        self._heartbeats.received(counter)

    def message_handled(self, message: sync.Message, result: EditResult) -> None:
        """Called after a message of the client was handled."""
        if result is EditResult.REFUSED:
            self.edit_refused()
        if isinstance(message, sync.AwarenessUpdate):
            self._detect_version(message.payload)
        elif isinstance(message, sync.SyncStep1):
            is_small = len(message.state_vector) <= MAX_KEPT_STATE_VECTOR
            self._state_vector = message.state_vector if is_small else None
        elif isinstance(message, sync.SyncStep2):
            self._heartbeats.sync_completed()
            state_vector, self._state_vector = self._state_vector, None
            if self._confirmations is not None and state_vector is not None and result is EditResult.ACCEPTED:
                # Edits that were made offline, or that arrived when the client could no longer be sent a confirmation.
                self._confirmations.add_common(decode_state_vector(state_vector), self._room.document.clocks)

    def edit_refused(self) -> None:
        """Called when an edit of the client was refused, as it may only read."""
        self._heartbeats.edit_refused()

    def edit_accepted(self, update: Update) -> None:
        """Called when an edit of the client was queued in the journal."""
        if self._confirmations is not None:
            self._confirmations.add(update)

    def backpressure_ended(self) -> None:
        """Called when the client reads again."""
        self._heartbeats.backpressure_ended()
        if self._confirmations is not None:
            self._confirmations.backpressure_ended()

    def _detect_version(self, payload: bytes) -> None:
        """Find out from the first awareness update whether the client uses confirmations.

        The first one has the client's own client id; later ones may also have those of clients that it has heard of.
        """
        if not self._is_version_known:
            self._is_version_known = True
            count, position = read_var_uint(payload, 0)
            if count and read_var_uint(payload, position)[0] > MAX_YJS_13_CLIENT_ID:
                self._confirmations = Confirmations(self._journal, self._room.name, self._offer)
