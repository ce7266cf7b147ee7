"""The Hocuspocus protocol: any number of documents on one WebSocket, each opened with a token of its own.

Every handshake is accepted.  What a client sends of a document before it is open is queued, within limits, and handled
when it is open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

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
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.opening import ConnectionOpener
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.websocket.hocuspocus_denials import DenialCounter
from canvas_collab.websocket.hocuspocus_document import OpenDocument
from canvas_collab.websocket.hocuspocus_opening import DocumentOpener
from canvas_collab.websocket.hocuspocus_pending import PendingDocument, PendingDocuments
from canvas_collab.websocket.ignored_messages import IgnoredMessages
from canvas_collab.websocket.protocol_handler import Socket
from canvas_collab.websocket.shared_limit import SharedLimit

#: How many characters an address may have: a room's name, and a session id of at most the same length.
MAX_ADDRESS_LENGTH = 2 * MAX_ROOM_NAME_LENGTH


class Hocuspocus:
    """The protocol handler of one Hocuspocus client.  Each document that it opens is a connection to a room."""

    log = Logger()
    too_large_code = CloseCode.MESSAGE_TOO_BIG
    handshake: Request

    def __init__(
        self,
        reactor: Any,
        socket: Socket,
        opener: ConnectionOpener,
        journal: Journal,
        settings: HocuspocusSettings,
        pending_limit: SharedLimit,
    ) -> None:
        """:param pending_limit: limits what is queued for all sockets of documents that are not open."""
        self.socket = socket
        self.opener = opener
        self.journal = journal
        self.settings = settings
        self.reactor = reactor
        self._ignored = IgnoredMessages(socket.client_address)
        self._denials = DenialCounter(reactor, settings)
        self._documents: dict[str, OpenDocument] = {}
        self._pending = PendingDocuments(socket, settings, pending_limit)
        self._document_opener = DocumentOpener(self, self._pending)
        # How many addresses of each room are open or pending.
        self._sessions: Counter[str] = Counter()
        # The open document that the last message was of.
        self._current: OpenDocument | None = None
        self._auth_timer: IDelayedCall | None = None

    # ProtocolHandler

    @property
    def log_context(self) -> tuple[str | None, str | None]:
        """The room and the user id of the document that the last message was of, or else of any open document."""
        document = self._current or next(iter(self._documents.values()), None)
        return (document.connection.room.name, document.connection.user_id) if document else (None, None)

    @property
    def connections(self) -> Sequence[Connection]:
        """The connections of the documents that are open."""
        return [document.connection for document in self._documents.values()]

    async def accept_handshake(self, request: Request) -> None:
        """Accept every handshake, and keep the request for its credential."""
        self.handshake = request
        self.socket.limit_message_size(self.settings.max_pending_size)

    def opened(self) -> None:
        """Start the timer that closes a socket on which no document is opened."""
        self._auth_timer = self.reactor.callLater(self.settings.auth_timeout, self._auth_timed_out)

    def received(self, payload: bytes) -> Steps[None]:
        """Handle a message, in steps.

        :raises ProtocolViolation: if the socket has to be closed because of the message.
        """
        if payload in (envelope.PING, envelope.PONG):
            # Pongs are of no use to a client that does not read.
            if payload == envelope.PING and not self.socket.outbound.has_backpressure:
                self.socket.outbound.send(PreparedMessage(envelope.PONG))
            return
        try:
            address, body = envelope.decode(payload)
        except Malformed as error:
            raise ProtocolViolation(CloseCode.MALFORMED, f"malformed message: {error}") from error
        self._current = self._documents.get(address)
        if isinstance(body, sync.Unknown):
            self._ignored.record(body.kind, *self.log_context)
        elif self._current is None:
            self._received_before_open(address, body, len(payload))
        elif isinstance(body, Close):
            self._remove_document(address, 1000, "the client left the document")
        else:
            yield from self._current.receive(body)

    def received_small(self, payload: bytes) -> bool:
        """Handle a small update of an open document, if that takes little time; otherwise return False.

        :raises ProtocolViolation: if the socket has to be closed because of the message.
        """
        read = envelope.read_update_message(payload)
        document = None if read is None else self._documents.get(read[0])
        if read is None or document is None:
            return False
        self._current = document
        return document.receive_small_update(read[1])

    def backpressure_ended(self) -> Steps[None]:
        """Send the client what it has missed of each document while it did not read."""
        for document in list(self._documents.values()):
            if not document.is_closed:
                yield from document.connection.catch_up()
            yield

    def keep_alive(self, max_idle: float) -> None:
        """Send the client a message of one document: for a provider, any message keeps the socket alive.

        :param max_idle: no message is sent if the room has sent every connection one in the last so many seconds.
        """
        for document in self._documents.values():
            document.connection.keep_alive(max_idle)
            break

    def closed(self, code: int | None, reason: str | None) -> None:
        """Close all documents."""
        if self._auth_timer is not None and self._auth_timer.active():
            self._auth_timer.cancel()
        for address in self._pending.addresses():
            self._remove_pending(address)
        for address in list(self._documents):
            self._remove_document(address, code, reason)

    def _auth_timed_out(self) -> None:
        self.socket.close(CloseCode.TIMEOUT, "no document was opened in time")

    # Pending documents

    def _received_before_open(self, address: str, body: Body, size: int) -> None:
        pending = self._pending.get(address)
        if isinstance(body, Close):
            self._remove_pending(address)
            return
        if pending is None:
            if isinstance(body, sync.AwarenessUpdate):
                # No provider begins with one, but old ones send one after they have closed the document.
                return
            pending = self._add_pending(address)
        if isinstance(body, Authentication):
            self._document_opener.authenticate(address, pending, body)
            return
        self._pending.enqueue(pending, body, size)
        lacks_token = isinstance(body, sync.SyncStep1) and pending.authentication is None
        if lacks_token and self.opener.carries_credential(self.handshake):
            # Old providers without a token send no auth message: they rely on the handshake's credential.
            self._document_opener.authenticate(address, pending, Authentication("", None))

    def _add_pending(self, address: str) -> PendingDocument:
        settings = self.settings
        if len(address) > MAX_ADDRESS_LENGTH:
            reason = f"the name of a document may have {MAX_ROOM_NAME_LENGTH} characters"
            raise ProtocolViolation(CloseCode.TOO_LARGE, reason)
        if max(len(self._pending), self._document_opener.lookup_count) >= settings.max_pending_documents:
            reason = f"{settings.max_pending_documents} documents may be waiting to be opened, no more"
            raise ProtocolViolation(CloseCode.TOO_LARGE, reason)
        if len(self._pending) + len(self._documents) >= settings.max_documents:
            reason = f"one connection may open {settings.max_documents} documents, no more"
            raise ProtocolViolation(CloseCode.TOO_LARGE, reason)
        room = envelope.document_of(address)
        if self._sessions[room] >= settings.max_sessions_per_document:
            reason = f"one connection may open a document {settings.max_sessions_per_document} times, no more"
            raise ProtocolViolation(CloseCode.TOO_LARGE, reason)
        self._sessions[room] += 1
        return self._pending.add(address, self.reactor.callLater(settings.auth_timeout, self._pending_expired, address))

    def _pending_expired(self, address: str) -> None:
        """Called when no token was received for a pending document in time."""
        room = envelope.document_of(address)[:MAX_ROOM_NAME_LENGTH]
        client = self.socket.client_address
        self.log.info("document not opened", reason="no token in time", room=room, user=None, client=client, code=None)
        self._remove_pending(address)

    def _remove_pending(self, address: str) -> None:
        if self._pending.remove(address):
            self._release_session(address)

    def _release_session(self, address: str) -> None:
        room = envelope.document_of(address)
        self._sessions[room] -= 1
        if not self._sessions[room]:
            del self._sessions[room]

    # OpeningHandler

    def document_opened(self, document: OpenDocument, pending: PendingDocument) -> None:
        """Join the room, and handle what was received of the document before."""
        if self._auth_timer is not None and self._auth_timer.active():
            self._auth_timer.cancel()
            self.socket.limit_message_size(None)
        self._remove_pending(document.address)
        self._sessions[document.connection.room.name] += 1
        self._documents[document.address] = document
        document.access_changed()
        self.opener.join(document.connection)
        self.socket.schedule(self._receive_queued(document, pending))

    def _receive_queued(self, document: OpenDocument, pending: PendingDocument) -> Steps[None]:
        for body in pending.queue:
            if document.is_closed or self.socket.is_closing:
                break
            try:
                yield from document.receive(body)
            except ProtocolViolation as violation:
                self._current = self._documents.get(document.address)
                self.socket.close(violation.code, violation.reason)
                break
            yield

    def opening_denied(self, address: str, denied: Denied) -> None:
        """Tell the client that it is denied a document; close the socket if the client should reconnect."""
        self._remove_pending(address)
        if denied.code is CloseCode.TRY_AGAIN_LATER and not self._documents:
            # A provider reconnects after its socket was closed, but does not try again after a denial.
            self.socket.close(denied.code, denied.public_reason)
        else:
            self._send(address, envelope.encode_permission_denied(denied.detailed_public_reason))
            self.count_denial(envelope.document_of(address), denied)

    def count_denial(self, room: str, denied: Denied) -> None:
        """Count a denial, and close the socket after too many."""
        if denied.code is not CloseCode.TRY_AGAIN_LATER and self._denials.add(room):
            self.socket.close(denied.code, denied.detailed_public_reason)

    # Open documents

    def close_document(self, document: OpenDocument, code: CloseCode, reason: str) -> None:
        """Close a document, and tell the client; the socket stays open."""
        address = document.address
        if self._documents.get(address) is not document:
            return
        self._send(address, envelope.encode_permission_denied(reason))
        if document.provider_version is not None:
            # Some providers that do not send their version fail on a close message.
            self._send(address, envelope.encode_close(reason))
        self._remove_document(address, code, reason)

    def _remove_document(self, address: str, code: int | None, reason: str | None) -> None:
        document = self._documents.pop(address)
        if self._current is document:
            self._current = None
        self._release_session(address)
        connection = document.connection
        document.closed()
        self.opener.close(connection, code, reason)

    def _send(self, address: str, message: bytes) -> None:
        self.socket.outbound.send(PreparedMessage(message), envelope.encode_address(address))
