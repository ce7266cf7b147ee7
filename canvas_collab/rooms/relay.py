"""The interface by which a room passes on to other daemons what its connections do."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

from canvas_collab.protocol.awareness import Entry
from canvas_collab.rooms.prepared_message import PreparedMessage


class Relay(Protocol):
    """Told of what the connections to one room do, and not of what comes from other daemons."""

    def edited(self, user_id: str, update: bytes) -> None:
        """An update was taken in, and appended to the journal."""

    def awareness_changed(self, changes: Sequence[Entry]) -> None:
        """Awareness clients have other states, or have left."""

    def joined(self, member: Hashable) -> None:
        """A connection has joined, and was sent the awareness states that are known here."""

    def stateless(self, message: PreparedMessage) -> None:
        """A stateless message was sent to the other connections."""

    def close(self) -> None:
        """The room leaves memory."""
