"""What Hocuspocus sockets send of documents that are not open yet: kept, within bounds, until they are."""

from __future__ import annotations

from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

from canvas_collab.protocol.hocuspocus import Authentication, Body

#: So many bytes a message that is kept takes besides its own.
OVERHEAD = 256


@define(eq=False)
class PendingDocument:
    """A document that waits for its token, or for the decision over it; `expiry` is when it has waited too long."""

    expiry: IDelayedCall
    authentication: Authentication | None = None
    queue: list[Body] = field(factory=list)
    size: int = 0

    def keep(self, body: Body, size: int) -> None:
        """Keep a message for later."""
        self.queue.append(body)
        self.size += size


class Holder(Protocol):
    """A socket for which messages are kept."""

    def shed(self) -> None:
        """All sockets together have too much, and this one the most: it ends, and lets go of what it has."""


class PendingTotal:
    """What is kept for all sockets together.  Where it would be too much, who has the most of it goes."""

    def __init__(self, limit: int) -> None:
        """:param limit: how many bytes may be kept."""
        self._limit = limit
        self._size = 0
        self._holders: dict[Holder, int] = {}

    def add(self, holder: Holder, size: int) -> None:
        """One more message is kept for a socket."""
        self._size += size
        self._holders[holder] = self._holders.get(holder, 0) + size
        while self._size > self._limit:
            largest = max(self._holders, key=self._holders.__getitem__)
            self._size -= self._holders.pop(largest)
            largest.shed()

    def remove(self, holder: Holder, size: int) -> None:
        """Messages of a socket are kept no longer."""
        held = self._holders.get(holder, 0)
        # One that was shed has nothing here any more.
        size = min(size, held)
        self._size -= size
        if held > size:
            self._holders[holder] = held - size
        elif held:
            del self._holders[holder]
