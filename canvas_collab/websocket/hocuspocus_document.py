"""One open document of a Hocuspocus client: its messages, their acknowledgements, and renewed tokens."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from canvas_collab.access.authorization import Denied, Request
from canvas_collab.access.fair_semaphore import Requester
from canvas_collab.config.connections import HocuspocusSettings
from canvas_collab.persistence.journal import Journal
from canvas_collab.protocol import hocuspocus as envelope
from canvas_collab.protocol import sync
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.protocol.hocuspocus import Authentication, Body, Close, Stateless, SyncReply
from canvas_collab.protocol.steps import Steps
from canvas_collab.protocol.update import Update
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.edits import EditResult
from canvas_collab.rooms.opening import ConnectionOpener
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.websocket.protocol_handler import Socket

#: The least time between the lookups of two tokens of an open document, in seconds.
RENEWAL_INTERVAL = 1.0


class DocumentHandler(Protocol):
    """What a document needs of the socket's protocol handler."""

    reactor: Any
    handshake: Request
    socket: Socket
    opener: ConnectionOpener
    journal: Journal
    settings: HocuspocusSettings

    def close_document(self, document: OpenDocument, code: CloseCode, reason: str) -> None:
        """Close a document, and tell the client; the socket stays open."""

    def count_denial(self, room: str, denied: Denied) -> None:
        """Count a denial, and close the socket after too many."""


class OpenDocument:
    """A document that is open: the channel of its connection."""

    log = Logger()
    #: Until the document is closed.
    connection: Connection
    #: Whether the client is told of each of its updates whether it was saved.
    acknowledges = True

    def __init__(self, handler: DocumentHandler, address: str, provider_version: str | None) -> None:
        """:param address: the document's name, and a session id if the provider uses them.
        :param provider_version: None if the provider does not send it.
        """
        self.address = address
        self.provider_version = provider_version
        self.is_closed = False
        self._handler = handler
        self._prefix = envelope.encode_address(address)
        self._saved_message = PreparedMessage(envelope.SAVED)
        # The newest token that was received, until it is looked up.
        self._next_token: str | None = None
        self._is_renewing = False
        # Pairs of a journal position and how many messages are acknowledged once the journal has reached it.
        self._unacknowledged: deque[list[int]] = deque()

    def receive(self, body: Body) -> Steps[None]:
        """Handle a message of this document, in steps.

        :raises ProtocolViolation: if the socket has to be closed because of the message.
        """
        connection = self.connection
        if isinstance(body, Authentication):
            self._next_token = body.token
            if not self._is_renewing:
                renewing = Deferred.fromCoroutine(self._renew())
                renewing.addErrback(self._renewal_failed)
        elif isinstance(body, Stateless):
            self._broadcast_stateless(body)
        elif isinstance(body, SyncReply):
            self._acknowledge((yield from connection.receive(body.message)))
        elif not isinstance(body, (Close, sync.Unknown)):
            self._acknowledge((yield from connection.receive(body)))
            if isinstance(body, sync.SyncStep1):
                # Exactly one for each step 1 of the client: providers count the answers.
                yield from connection.send_sync_step_1()

    def receive_small_update(self, data: bytes) -> bool:
        """Handle an update at once, if that takes little time; otherwise return False, with nothing done.

        :raises ProtocolViolation: if the socket has to be closed because of the message.
        """
        result = self.connection.receive_small_update(data)
        if result is None:
            return False
        self._acknowledge(result)
        return True

    def closed(self) -> None:
        """Called when the document is closed, by either side."""
        self.is_closed = True
        # The connection refers to this channel and to the room. Garbage collection is rare, and until then the cycle
        # would keep the document in memory.
        del self.connection

    def _broadcast_stateless(self, message: Stateless) -> None:
        settings = self._handler.settings
        if len(message.payload.encode()) > settings.max_stateless_size:
            self._log_dropped(f"a stateless message may have {settings.max_stateless_size} bytes")
        elif (
            settings.stateless
            and self.connection.may_write
            and not self.connection.broadcast_stateless(PreparedMessage(envelope.encode_stateless(message.payload)))
        ):
            self._log_dropped("too many stateless messages wait to be sent")

    def _log_dropped(self, reason: str) -> None:
        if self.connection.should_log_drop():
            room, user = self.connection.room.name, self.connection.user_id
            self.log.info(
                "stateless message dropped", reason=reason, room=room, user=user, client=self.client, code=None
            )

    # Renewed tokens

    async def _renew(self) -> None:
        """Look up the newest token, and repeat that while newer ones are received."""
        self._is_renewing = True
        try:
            while self._next_token is not None and not self.is_closed:
                token, self._next_token = self._next_token, None
                await self._apply_token(token)
                if self._next_token is not None:
                    # No client needs a new token so soon, and other clients wait for their lookups.
                    await deferLater(self._handler.reactor, RENEWAL_INTERVAL, lambda: None)
        finally:
            self._is_renewing = False

    async def _apply_token(self, token: str) -> None:
        """Have the connection depend on a newer token; close the document if the client is denied."""
        handler = self._handler
        denied = None
        try:
            await handler.opener.renew(self.connection, handler.handshake, token)
        except Denied as error:
            denied = error
            handler.count_denial(envelope.document_of(self.address), denied)
        if self._next_token is not None or self.is_closed:
            return
        if denied is None:
            self.access_changed()
        elif denied.code is not CloseCode.TRY_AGAIN_LATER:
            self.close(denied)

    def _renewal_failed(self, failure: Any) -> None:
        self.log.failure("renewal failed", failure, room=envelope.document_of(self.address), client=self.client)

    # Acknowledgements

    def _acknowledge(self, result: EditResult) -> None:
        if self.is_closed:
            return
        if result is EditResult.REFUSED:
            self.send(PreparedMessage(envelope.REFUSED))
        elif result is EditResult.ACCEPTED:
            journal = self._handler.journal
            if self._unacknowledged and self._unacknowledged[-1][0] == journal.position:
                self._unacknowledged[-1][1] += 1
            else:
                self._unacknowledged.append([journal.position, 1])
                journal.after_commit(self.connection.room.name, self._committed)

    def _committed(self) -> None:
        """Called when the journal has reached the first position that messages wait for."""
        _, count = self._unacknowledged.popleft()
        for _ in range(count):
            self.send(self._saved_message)

    # Channel

    @property
    def requester(self) -> Requester:
        """The socket, which lookups are made for."""
        return self._handler.socket

    @property
    def client(self) -> str:
        """The client's address, for the event log."""
        return self._handler.socket.client_address

    @property
    def protocol(self) -> str:
        """The protocol with the provider's version, for the event log."""
        return f"hocuspocus {(self.provider_version or 'before 4')[:20]}"

    def send(self, message: PreparedMessage) -> None:
        """Send a message of this document, or buffer it if the client does not read."""
        if not self.is_closed:
            self._handler.socket.outbound.send(message, self._prefix)

    def offer(self, message: PreparedMessage) -> bool:
        """Send a message of this document, unless the client does not read; return False if it was not sent."""
        return self.is_closed or self._handler.socket.outbound.offer(message, self._prefix)

    def edit_accepted(self, update: Update) -> None:
        """Do nothing: each message is acknowledged by a sync status."""

    def pause_reading_until(self, subscribe: Callable[[Callable[[], None]], None]) -> None:
        """Stop reading from the client until a callback is called, or for a second.

        :param subscribe: takes the callback that ends the pause.
        """
        self._handler.socket.pause_reading_until(subscribe)

    def send_stateless(self, message: PreparedMessage) -> None:
        """Send a stateless message of this document, unless the client does not read."""
        self.offer(message)

    def close(self, denied: Denied) -> None:
        """Close this document: the client may not stay in the room."""
        self._handler.close_document(self, denied.code, denied.detailed_public_reason)

    def access_changed(self) -> None:
        """Tell the client whether it may write."""
        if not self.is_closed:
            self.send(PreparedMessage(envelope.encode_authenticated(self.connection.may_write)))

    def ask_for_token(self) -> None:
        """Ask the client for a newer token; older providers ignore that."""
        self.send(PreparedMessage(envelope.TOKEN_REQUEST))
