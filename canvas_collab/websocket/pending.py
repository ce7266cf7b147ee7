"""What Hocuspocus sockets send of documents that are not open yet: kept, within bounds, until they are."""

from __future__ import annotations

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
