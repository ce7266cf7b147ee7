"""Sending messages to all connections of a room.

Nothing is buffered for a connection under backpressure.  Instead it is recorded up to where it has everything, and it
is sent a diff from there once its client has caught up with reading.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar, final

from canvas_collab.counters import Counters
from canvas_collab.document.document import Document
from canvas_collab.protocol.update import Update
from canvas_collab.rooms.broadcast_queue import BroadcastQueue
from canvas_collab.rooms.prepared_message import PreparedMessage


class Member(Hashable, Protocol):
    """What a room requires of a connection."""

    @property
    def user_id(self) -> str:
        """The id of the connection's user."""

    @property
    def offer(self) -> Callable[[PreparedMessage], bool]:
        """Sends a message unless the client is under backpressure; returns whether it was sent."""

    def send_stateless(self, message: PreparedMessage) -> None:
        """Send a stateless message."""


MemberT = TypeVar("MemberT", bound=Member)


@final
class Fanout(Generic[MemberT]):
    """The connections of a room, and which of them have missed messages."""

    __slots__ = ("_behind", "_counters", "_document", "_updates", "members")

    def __init__(self, document: Document, updates: BroadcastQueue, counters: Counters) -> None:
        """:param updates: the updates of the document that were not sent yet."""
        self.members: set[MemberT] = set()
        self._document = document
        self._updates = updates
        self._counters = counters
        # The connections that have missed messages, and the clocks up to which each has everything.
        self._behind: dict[MemberT, Mapping[int, int]] = {}

    def remove(self, member: MemberT) -> None:
        """Remove a connection."""
        self.members.discard(member)
        self._behind.pop(member, None)

    def send(self, message: PreparedMessage, exclude: MemberT | None = None, updates: Sequence[Update] = ()) -> int:
        """Send a message to all connections but one; return to how many it was sent.

        :param updates: the updates of the document that the message contains.
        """
        behind = self._behind
        skipped: list[MemberT] = []
        for member in list(self.members):
            if member is exclude or (behind and member in behind):
                continue
            if not member.offer(message):
                skipped.append(member)
        if skipped:
            clocks = self._updates.received_clocks(self._document, updates)
            behind.update((member, clocks) for member in skipped)
        is_excluded = exclude is not None and exclude in self.members and exclude not in behind
        self._counters.messages_skipped += len(behind)
        return len(self.members) - len(behind) - is_excluded

    def resume(self, member: MemberT) -> Mapping[int, int] | None:
        """Send messages to a connection again; return the clocks from which it needs a diff, None if it missed none."""
        return self._behind.pop(member, None)
