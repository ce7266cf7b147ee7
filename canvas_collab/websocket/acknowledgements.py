"""Telling clients of y-websocket's protocol that their edits are on disk, as far as they have ears for it.

The protocol itself has no word for that.  Some clients have one of their own: see
:mod:`canvas_collab.websocket.heartbeats` and :mod:`canvas_collab.websocket.confirmations`.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import read_var_uint
from canvas_collab.protocol.state_vector import decode_state_vector
from canvas_collab.protocol.update import Update
from canvas_collab.rooms.commits import Commits
from canvas_collab.rooms.connection import Connection, EditResult
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.rooms.room import Room
from canvas_collab.websocket.confirmations import HIGHEST_OF_YJS_13, Confirmations
from canvas_collab.websocket.heartbeats import Heartbeats

#: The state vector of a step 1 is kept until the step 2 that follows, if it has at most so many bytes.
MAX_KEPT_STATE_VECTOR = 64 * 2**10


class SaveAcknowledgements:
    """What one connection is to be told."""

    __slots__ = (
        "_confirmations",
        "_heartbeats",
        "_is_known",
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
        #: Whether the client has sent any.
        self.has_heartbeats = False
        self._journal = journal
        self._room = room
        self._offer = offer
        self._heartbeats = Heartbeats(clock, journal, room.name, offer)
        self._confirmations: Confirmations | None = None
        self._is_known = False
        self._state_vector: bytes | None = None

    def beat(self, counter: bytes) -> None:
        """The client has sent a heartbeat."""
        self.has_heartbeats = True
        self._heartbeats.received(counter)

    def taken(self, message: sync.Message, effect: EditResult) -> None:
        """A message of the client has been dealt with."""
        if effect is EditResult.REFUSED:
            self._heartbeats.edit_refused()
        if isinstance(message, sync.AwarenessUpdate):
            self._look_at(message.payload)
        elif isinstance(message, sync.SyncStep1):
            is_small = len(message.state_vector) <= MAX_KEPT_STATE_VECTOR
            self._state_vector = message.state_vector if is_small else None
        elif isinstance(message, sync.SyncStep2):
            self._heartbeats.sync_completed()
            state_vector, self._state_vector = self._state_vector, None
            if self._confirmations is not None and state_vector is not None and effect is EditResult.ACCEPTED:
                # Edits that were made offline, or arrived when the client could not be told any more.
                self._confirmations.add_common(decode_state_vector(state_vector), self._room.document.clocks)

    def kept(self, update: Update) -> None:
        """An edit of the client's is on its way to disk."""
        if self._confirmations is not None:
            self._confirmations.add(update)

    def drained(self) -> None:
        """The client reads again."""
        self._heartbeats.backpressure_ended()
        if self._confirmations is not None:
            self._confirmations.backpressure_ended()

    def _look_at(self, payload: bytes) -> None:
        """The first awareness message is the client's own, and names it; then come those that it has heard."""
        if not self._is_known:
            self._is_known = True
            count, position = read_var_uint(payload, 0)
            if count and read_var_uint(payload, position)[0] > HIGHEST_OF_YJS_13:
                self._confirmations = Confirmations(self._journal, self._room.name, self._offer)
