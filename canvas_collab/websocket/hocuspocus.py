"""The protocol of Hocuspocus: any number of documents on one WebSocket, each opened by a token of its own.

The handshake lets everybody in.  What a client sends of a document before it is open is kept, within bounds, and taken
when it is.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from canvas_collab.access.authorization import Denied, Request
from canvas_collab.access.roles import MAX_ROOM_NAME_LENGTH
from canvas_collab.config.connections import HocuspocusSettings
from canvas_collab.persistence.journal import Journal
from canvas_collab.protocol import hocuspocus as envelope
from canvas_collab.protocol import sync
from canvas_collab.protocol.close_codes import CloseCode, ProtocolViolation
from canvas_collab.protocol.hocuspocus import Authentication, Body, Close
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.steps import Steps
from canvas_collab.rooms.opening import ConnectionOpener
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.websocket.hocuspocus_document import OpenDocument
from canvas_collab.websocket.ignored_messages import IgnoredMessages
from canvas_collab.websocket.pending import OVERHEAD, PendingDocument
from canvas_collab.websocket.protocol_handler import Socket
from canvas_collab.websocket.shared_limit import SharedLimit

#: An address is a room's name and at most as much again for the session's id.
MAX_ADDRESS_LENGTH = 2 * MAX_ROOM_NAME_LENGTH

#: Denials are counted for so many seconds.
DENIALS_INTERVAL = 60.0


class Hocuspocus:
    """One client's WebSocket that carries a connection for each document it has open."""

    log = Logger()
    message_too_large = CloseCode.MESSAGE_TOO_BIG
    handshake: Request

    def __init__(
        self,
        reactor: Any,
        socket: Socket,
        opener: ConnectionOpener,
        journal: Journal,
        settings: HocuspocusSettings,
        pending_total: SharedLimit,
    ) -> None:
        """:param pending_total: what is kept for all sockets of documents that are not open."""
        self.socket = socket
        self.opener = opener
        self.journal = journal
        self.settings = settings
        self.reactor = reactor
        self._ignored = IgnoredMessages(socket.client)
        self._documents: dict[str, OpenDocument] = {}
        self._pending: dict[str, PendingDocument] = {}
        self._pending_total = pending_total
        self._kept_messages = 0
        self._kept_size = 0
        # The addresses of which a token is being looked up, whether or not anybody still waits for it.
        self._deciding: set[str] = set()
        # How many addresses there are of each room.
        self._sessions: Counter[str] = Counter()
        self._denials: Counter[str] = Counter()
        self._denials_began = 0.0
        self._handled: OpenDocument | None = None
        self._deadline: IDelayedCall | None = None

    @property
    def log_context(self) -> tuple[str | None, str | None]:
        """The room and the user's id that events concern: of the document whose message came last, or any."""
        document = self._handled or next(iter(self._documents.values()), None)
        return (document.connection.room.name, document.connection.user_id) if document else (None, None)

    async def handshake_received(self, request: Request) -> None:
        """Let the client in, and keep what its handshake says of who it is."""
        self.handshake = request
        self.socket.admit_messages(self.settings.max_pending_size)

    def opened(self) -> None:
        """The handshake is done: the time to authenticate begins."""
        self._deadline = self.reactor.callLater(self.settings.auth_timeout, self._too_late)

    def received(self, payload: bytes) -> Steps[None]:
        """Take a message, in steps.

        :raises Offence: if that ends the socket.
        """
        if payload in (envelope.PING, envelope.PONG):
            # One who does not read has no use for answers.
            if payload == envelope.PING and not self.socket.outbound.has_backpressure:
                self.socket.outbound.send(PreparedMessage(envelope.PONG))
            return
        try:
            address, body = envelope.decode(payload)
        except Malformed as error:
            raise ProtocolViolation(CloseCode.MALFORMED, f"malformed message: {error}") from error
        self._handled = self._documents.get(address)
        if isinstance(body, sync.Unknown):
            self._ignored.note(body.kind, *self.log_context)
        elif self._handled is None:
            self._wait(address, body, len(payload))
        elif isinstance(body, Close):
            self._forget(address, 1000, "the client left the document")
        else:
            yield from self._handled.receive(body)

    def drained(self) -> Steps[None]:
        """The client reads again."""
        for document in list(self._documents.values()):
            yield from document.connection.catch_up()
            yield

    def keep_alive(self, silence: float) -> None:
        """Have the client hear something: any document's message will do for the whole socket."""
        for document in self._documents.values():
            document.connection.keep_alive(silence)
            break

    def closed(self, code: int | None, reason: str | None) -> None:
        """The socket has gone, and all documents with it."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        for address in list(self._pending):
            self._drop(address)
        for address in list(self._documents):
            self._forget(address, code, reason)

    async def recheck(self) -> None:
        """Look whether the client may still have its documents open."""
        for document in list(self._documents.values()):
            if not document.left:
                await self.opener.recheck(document.connection)

    def shut(self, document: OpenDocument, code: CloseCode, reason: str) -> None:
        """Close a document from this side; the socket stays open."""
        address = document.address
        if self._documents.get(address) is not document:
            return
        self._reply(address, envelope.encode_permission_denied(reason))
        if document.provider_version is not None:
            # Of those that do not tell their version, some break on a close message.
            self._reply(address, envelope.encode_close(reason))
        self._forget(address, code, reason)

    def _too_late(self) -> None:
        """A socket on which no document has been opened by now is closed."""
        self.socket.end(CloseCode.TIMEOUT, "no document was opened in time")

    # Documents that are not open yet

    def _wait(self, address: str, body: Body, size: int) -> None:
        pending = self._pending.get(address)
        if isinstance(body, Close):
            self._drop(address)
            return
        if pending is None:
            if isinstance(body, sync.AwarenessUpdate):
                # No provider begins with that; old ones end with it, after they have left.
                return
            pending = self._begin(address)
        if isinstance(body, Authentication):
            self._authenticate(address, pending, body)
            return
        self._keep(pending, body, size)
        silent = isinstance(body, sync.SyncStep1) and pending.authentication is None
        if silent and self.opener.carries_credential(self.handshake):
            # Old providers without a token send no auth message; they rely on the handshake.
            self._authenticate(address, pending, Authentication("", None))

    def _begin(self, address: str) -> PendingDocument:
        settings = self.settings
        if len(address) > MAX_ADDRESS_LENGTH:
            raise ProtocolViolation(
                CloseCode.TOO_LARGE, f"the name of a document may have {MAX_ROOM_NAME_LENGTH} characters"
            )
        if max(len(self._pending), len(self._deciding)) >= settings.max_pending_documents:
            reason = f"{settings.max_pending_documents} documents may be waiting to be opened, no more"
            raise ProtocolViolation(CloseCode.TOO_LARGE, reason)
        if len(self._pending) + len(self._documents) >= settings.max_documents:
            raise ProtocolViolation(
                CloseCode.TOO_LARGE, f"one connection may open {settings.max_documents} documents, no more"
            )
        room = envelope.document_of(address)
        if self._sessions[room] >= settings.max_sessions_per_document:
            reason = f"one connection may open a document {settings.max_sessions_per_document} times, no more"
            raise ProtocolViolation(CloseCode.TOO_LARGE, reason)
        self._sessions[room] += 1
        expiry = self.reactor.callLater(settings.auth_timeout, self._give_up, address)
        pending = self._pending[address] = PendingDocument(expiry)
        return pending

    def _keep(self, pending: PendingDocument, body: Body, size: int) -> None:
        """Keep a message; what is kept on this socket, of all documents together, is bounded."""
        settings = self.settings
        size += OVERHEAD
        pending.keep(body, size)
        self._kept_messages += 1
        self._kept_size += size
        self._pending_total.add(self, size)
        if self._kept_messages > settings.max_pending_messages:
            reason = f"{settings.max_pending_messages} messages may wait for their document to be opened, no more"
            raise ProtocolViolation(CloseCode.TOO_LARGE, reason)
        if self._kept_size > settings.max_pending_size:
            reason = f"{settings.max_pending_size} bytes may wait for their document to be opened, no more"
            raise ProtocolViolation(CloseCode.TOO_LARGE, reason)

    def shed(self) -> None:
        """All sockets together keep too much, and this one the most."""
        self.socket.end(CloseCode.TRY_AGAIN_LATER, "too much waits for documents to be opened, try again later")

    def _give_up(self, address: str) -> None:
        """Nobody has authenticated for this document in time."""
        room = envelope.document_of(address)[:MAX_ROOM_NAME_LENGTH]
        self.log.info("document not opened", room=room, client=self.socket.client, reason="no token in time")
        self._drop(address)

    def _drop(self, address: str) -> None:
        """Forget a document that was not opened, and what was sent of it."""
        pending = self._pending.pop(address, None)
        if pending is None:
            return
        self._kept_messages -= len(pending.queue)
        self._kept_size -= pending.size
        self._pending_total.remove(self, pending.size)
        self._leave_session(address)
        if pending.expiry.active():
            pending.expiry.cancel()

    def _leave_session(self, address: str) -> None:
        room = envelope.document_of(address)
        self._sessions[room] -= 1
        if not self._sessions[room]:
            del self._sessions[room]

    def _authenticate(self, address: str, pending: PendingDocument, authentication: Authentication) -> None:
        pending.authentication = authentication
        if pending.expiry.active():
            pending.expiry.cancel()
        if address not in self._deciding:
            deciding = Deferred.fromCoroutine(self._decide(address))
            deciding.addErrback(lambda failure: self._failed(address, failure))

    def _failed(self, address: str, failure: Any) -> None:
        room = envelope.document_of(address)[:MAX_ROOM_NAME_LENGTH]
        self.log.failure("opening failed", failure, room=room, client=self.socket.client)
        self.socket.end(CloseCode.INTERNAL_ERROR, "internal error")

    async def _decide(self, address: str) -> None:
        """Look the newest token of a document up, and again while newer ones come meanwhile: the last of them counts.

        There is one such look at a time, also where the document is left and asked for again meanwhile.
        """
        self._deciding.add(address)
        try:
            while (pending := self._pending.get(address)) is not None and pending.authentication is not None:
                await self._try(address, pending, pending.authentication)
        finally:
            self._deciding.discard(address)

    async def _try(self, address: str, pending: PendingDocument, authentication: Authentication) -> None:
        """Open a document, or tell the client why not, if it still waits for that by then."""
        room = envelope.document_of(address)
        document = OpenDocument(self, address, authentication.provider_version)
        denied = None
        try:
            document.connection = await self.opener.open(document, room, self.handshake, authentication.token)
        except Denied as error:
            denied = error
        if self._pending.get(address) is not pending or pending.authentication is not authentication:
            if denied is None:
                self.opener.close(document.connection, None, "the client did not wait")
            else:
                self.was_denied(room, denied)
            return
        if denied is None:
            self._open(document, pending)
            return
        self._drop(address)
        if denied.code is CloseCode.TRY_AGAIN_LATER and not self._documents:
            # A provider comes back by itself after its socket was closed, but not after a denial.
            self.socket.end(denied.code, denied.public_reason)
        else:
            self._reply(address, envelope.encode_permission_denied(denied.detailed_public_reason))
            self.was_denied(room, denied)

    def was_denied(self, room: str, denied: Denied) -> None:
        """Somebody was told no; who is told so too often is closed."""
        if denied.code is CloseCode.TRY_AGAIN_LATER:
            return
        now = self.reactor.seconds()
        if now - self._denials_began > DENIALS_INTERVAL:
            self._denials.clear()
            self._denials_began = now
        self._denials[room] += 1
        # Each document may be denied once at least, since there can be many on a socket that has done nothing wrong.
        if self._denials[room] >= self.settings.max_denials or len(self._denials) > self.settings.max_documents:
            self.socket.end(denied.code, denied.detailed_public_reason)

    def _open(self, document: OpenDocument, pending: PendingDocument) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
            self.socket.admit_messages(None)
        self._drop(document.address)
        self._sessions[document.connection.room.name] += 1
        self._documents[document.address] = document
        document.access_changed()
        self.opener.join(document.connection)
        self.socket.do(self._take(document, pending))

    def _take(self, document: OpenDocument, pending: PendingDocument) -> Steps[None]:
        """Take what was sent of a document before it was open."""
        for body in pending.queue:
            if document.left or self.socket.is_closing:
                break
            try:
                yield from document.receive(body)
            except ProtocolViolation as violation:
                self._handled = document
                self.socket.end(violation.code, violation.reason)
                break
            yield

    # Documents that are open

    def _forget(self, address: str, code: int | None, reason: str | None) -> None:
        document = self._documents.pop(address)
        self._leave_session(address)
        document.left = True
        self.opener.close(document.connection, code, reason)

    def _reply(self, address: str, message: bytes) -> None:
        self.socket.outbound.send(PreparedMessage(message), envelope.encode_address(address))
