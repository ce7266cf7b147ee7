"""Queueing the messages that a Hocuspocus client sends of a document before it is open, within limits."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

from canvas_collab.config.connections import HocuspocusSettings
from canvas_collab.protocol.close_codes import CloseCode, ProtocolViolation
from canvas_collab.protocol.hocuspocus import Authentication, Body
from canvas_collab.websocket.protocol_handler import Socket
from canvas_collab.websocket.shared_limit import SharedLimit

#: How many bytes a queued message takes besides its own.
MESSAGE_OVERHEAD = 256


@define(eq=False)
class PendingDocument:
    """A document that waits for its token, or for the token to be looked up.

    :ivar expiry: runs when the document has waited too long for its token.
    :ivar authentication: the newest token.
    :ivar queue: the messages of the document that were received.
    :ivar size: how many bytes these take.
    """

    expiry: IDelayedCall
    authentication: Authentication | None = None
    queue: list[Body] = field(factory=list)
    size: int = 0

    def cancel_expiry(self) -> None:
        """Stop the timer."""
        if self.expiry.active():
            self.expiry.cancel()


class PendingDocuments:
    """The documents of one socket that are not open yet, by address."""

    def __init__(self, socket: Socket, settings: HocuspocusSettings, shared_limit: SharedLimit) -> None:
        """:param shared_limit: limits what is queued for all sockets together."""
        self._socket = socket
        self._settings = settings
        self._shared_limit = shared_limit
        self._documents: dict[str, PendingDocument] = {}
        # What is queued on this socket, of all documents together.
        self._message_count = 0
        self._size = 0

    def __len__(self) -> int:
        """The number of documents."""
        return len(self._documents)

    def get(self, address: str) -> PendingDocument | None:
        """Return the document at an address, if it is pending."""
        return self._documents.get(address)

    def addresses(self) -> list[str]:
        """Return the addresses of all documents."""
        return list(self._documents)

    def add(self, address: str, expiry: IDelayedCall) -> PendingDocument:
        """Add a document."""
        pending = self._documents[address] = PendingDocument(expiry)
        return pending

    def remove(self, address: str) -> bool:
        """Remove a document and what is queued for it; return False if it is not pending."""
        pending = self._documents.pop(address, None)
        if pending is None:
            return False
        self._message_count -= len(pending.queue)
        self._size -= pending.size
        self._shared_limit.remove(self, pending.size)
        pending.cancel_expiry()
        return True

    def enqueue(self, pending: PendingDocument, body: Body, size: int) -> None:
        """Queue a message until its document is open.

        :raises ProtocolViolation: if more is queued on this socket than is allowed.
        """
        settings = self._settings
        size += MESSAGE_OVERHEAD
        pending.queue.append(body)
        pending.size += size
        self._message_count += 1
        self._size += size
        self._shared_limit.add(self, size)
        if self._message_count > settings.max_pending_messages:
            reason = f"{settings.max_pending_messages} messages may wait for their document to be opened, no more"
            raise ProtocolViolation(CloseCode.TOO_LARGE, reason)
        if self._size > settings.max_pending_size:
            reason = f"{settings.max_pending_size} bytes may wait for their document to be opened, no more"
            raise ProtocolViolation(CloseCode.TOO_LARGE, reason)

    def shed(self) -> None:
        """Close the socket: too much is queued for all sockets together, and most for this one."""
        self._socket.close(CloseCode.TRY_AGAIN_LATER, "too much waits for documents to be opened, try again later")
