"""Opening documents on a Hocuspocus socket: authorizing the client by its newest token, and loading the room."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from canvas_collab.access.authorization import Denied
from canvas_collab.access.roles import MAX_ROOM_NAME_LENGTH
from canvas_collab.protocol import hocuspocus as envelope
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.protocol.hocuspocus import Authentication
from canvas_collab.websocket.hocuspocus_document import DocumentHandler, OpenDocument
from canvas_collab.websocket.hocuspocus_pending import PendingDocument, PendingDocuments


class OpeningHandler(DocumentHandler, Protocol):
    """What a :class:`DocumentOpener` needs of the socket's protocol handler."""

    def document_opened(self, document: OpenDocument, pending: PendingDocument) -> None:
        """Called when the client is authorized for a pending document, and its room is loaded."""

    def opening_denied(self, address: str, denied: Denied) -> None:
        """Called when the client is denied a pending document."""


class DocumentOpener:
    """Opens the pending documents of one socket.

    At most one token of each address is looked up at a time, even if the client closes the document and asks for it
    again meanwhile.
    """

    log = Logger()

    def __init__(self, handler: OpeningHandler, pending: PendingDocuments) -> None:
        self._handler = handler
        self._pending = pending
        # The addresses whose token is being looked up, whether or not the document is still pending.
        self._lookups: set[str] = set()

    @property
    def lookup_count(self) -> int:
        """How many tokens are being looked up."""
        return len(self._lookups)

    def authenticate(self, address: str, pending: PendingDocument, authentication: Authentication) -> None:
        """Look up a token of a pending document; the document is opened or denied later."""
        pending.authentication = authentication
        pending.cancel_expiry()
        if address not in self._lookups:
            opening = Deferred.fromCoroutine(self._open_with_newest_token(address))
            opening.addErrback(lambda failure: self._failed(address, failure))

    def _failed(self, address: str, failure: Any) -> None:
        room = envelope.document_of(address)[:MAX_ROOM_NAME_LENGTH]
        self.log.failure("opening failed", failure, room=room, client=self._handler.socket.client_address)
        self._handler.socket.close(CloseCode.INTERNAL_ERROR, "internal error")

    async def _open_with_newest_token(self, address: str) -> None:
        """Look up the newest token of a document, and repeat that while newer ones are received."""
        self._lookups.add(address)
        try:
            while (pending := self._pending.get(address)) is not None and pending.authentication is not None:
                await self._open(address, pending, pending.authentication)
        finally:
            self._lookups.discard(address)

    async def _open(self, address: str, pending: PendingDocument, authentication: Authentication) -> None:
        """Open a document or deny it, if it is still pending and there is no newer token after the lookup."""
        handler, opener = self._handler, self._handler.opener
        room = envelope.document_of(address)
        document = OpenDocument(handler, address, authentication.provider_version)
        denied = None
        try:
            document.connection = await opener.open(document, room, handler.handshake, authentication.token)
        except Denied as error:
            denied = error
        if self._pending.get(address) is not pending or pending.authentication is not authentication:
            if denied is None:
                opener.close(document.connection, None, "the client did not wait")
            else:
                handler.count_denial(room, denied)
        elif denied is None:
            handler.document_opened(document, pending)
        else:
            handler.opening_denied(address, denied)
