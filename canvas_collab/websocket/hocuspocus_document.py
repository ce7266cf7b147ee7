"""One document on a Hocuspocus WebSocket: before it is open, and while it is."""

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
from canvas_collab.rooms.connection import Connection, EditResult
from canvas_collab.rooms.opening import ConnectionOpener
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.websocket.protocol_handler import Socket

#: Between two tokens of an open document that are looked up, so many seconds pass.
RENEWAL_PAUSE = 1.0


class DocumentSocket(Protocol):
    """The WebSocket that carries the document, beside others."""

    reactor: Any
    handshake: Request
    socket: Socket
    opener: ConnectionOpener
    journal: Journal
    settings: HocuspocusSettings

    def shut(self, document: OpenDocument, code: CloseCode, reason: str) -> None:
        """Close a document from this side; the socket stays open."""

    def was_denied(self, room: str, denied: Denied) -> None:
        """Somebody was told no; who is told so too often is closed."""


class OpenDocument:
    """A document that is open: what carries its connection."""

    log = Logger()
    connection: Connection
    #: Whether the client is told of every update whether it counts.
    acknowledges = True

    def __init__(self, socket: DocumentSocket, address: str, provider_version: str | None) -> None:
        self.address = address
        self.provider_version = provider_version
        self.left = False
        self._hocuspocus = socket
        self._prefix = envelope.encode_address(address)
        self._saved = PreparedMessage(envelope.SAVED)
        # The newest token that was sent and is not looked up yet, and whether another one is being looked up.
        self._token: str | None = None
        self._is_renewing = False
        # How many messages wait to be acknowledged, by the position that the journal has to reach.
        self._unacknowledged: deque[list[int]] = deque()

    @property
    def requester(self) -> Requester:
        """Who waits for what is looked up."""
        return self._hocuspocus.socket

    @property
    def client(self) -> str:
        """The client's address, for the log."""
        return self._hocuspocus.socket.client

    @property
    def protocol(self) -> str:
        """Which version of the provider that is, for the log."""
        return f"hocuspocus {(self.provider_version or 'before 4')[:20]}"

    def receive(self, body: Body) -> Steps[None]:
        """Take a message of this document, in steps.

        :raises Offence: if that ends the socket.
        """
        if isinstance(body, Authentication):
            self._token = body.token
            if not self._is_renewing:
                renewing = Deferred.fromCoroutine(self._renew())
                renewing.addErrback(self._renewal_failed)
        elif isinstance(body, Stateless):
            self._relay(body)
        elif isinstance(body, SyncReply):
            self._acknowledge((yield from self.connection.receive(body.message)))
        elif not isinstance(body, (Close, sync.Unknown)):
            self._acknowledge((yield from self.connection.receive(body)))
            if isinstance(body, sync.SyncStep1):
                # Exactly one for each of theirs: providers count the answers.
                yield from self.connection.send_sync_step_1()

    def _relay(self, message: Stateless) -> None:
        settings = self._hocuspocus.settings
        if len(message.payload.encode()) > settings.max_stateless_size:
            self._dropped(f"a stateless message may have {settings.max_stateless_size} bytes")
        elif (
            settings.stateless
            and self.connection.may_write
            and not self.connection.broadcast_stateless(PreparedMessage(envelope.encode_stateless(message.payload)))
        ):
            self._dropped("too many stateless messages wait to be sent")

    def _dropped(self, reason: str) -> None:
        if self.connection.should_log_drop():
            where = {"room": self.connection.room.name, "user": self.connection.user_id}
            self.log.info("stateless message dropped", reason=reason, client=self.client, **where)

    async def _renew(self) -> None:
        """Look the newest token up, and after a while again if newer ones have come: the last of them counts."""
        self._is_renewing = True
        try:
            while self._token is not None and not self.left:
                token, self._token = self._token, None
                await self._rest_on(token)
                if self._token is not None:
                    # Nobody needs a new token so soon, and others want to be looked up.
                    await deferLater(self._hocuspocus.reactor, RENEWAL_PAUSE, lambda: None)
        finally:
            self._is_renewing = False

    async def _rest_on(self, token: str) -> None:
        hocuspocus = self._hocuspocus
        denied = None
        try:
            await hocuspocus.opener.renew(self.connection, hocuspocus.handshake, token)
        except Denied as error:
            denied = error
            hocuspocus.was_denied(self.connection.room.name, denied)
        if self._token is not None or self.left:
            return
        if denied is None:
            self.access_changed()
        elif denied.code is not CloseCode.TRY_AGAIN_LATER:
            self.close(denied)

    def _renewal_failed(self, failure: Any) -> None:
        self.log.failure("renewal failed", failure, room=self.connection.room.name, client=self.client)

    def _acknowledge(self, effect: EditResult) -> None:
        if effect is EditResult.REFUSED:
            self.send(PreparedMessage(envelope.REFUSED))
        elif effect is EditResult.ACCEPTED:
            journal = self._hocuspocus.journal
            if self._unacknowledged and self._unacknowledged[-1][0] == journal.position:
                self._unacknowledged[-1][1] += 1
            else:
                self._unacknowledged.append([journal.position, 1])
                journal.after_commit(self.connection.room.name, self._committed)

    def _committed(self) -> None:
        """The journal has got to the next position that somebody here waits for."""
        _, count = self._unacknowledged.popleft()
        for _ in range(count):
            self.send(self._saved)

    # What the connection asks of its carrier

    def send(self, message: PreparedMessage) -> None:
        """Send a message of this document."""
        if not self.left:
            self._hocuspocus.socket.outbound.send(message, self._prefix)

    def offer(self, message: PreparedMessage) -> bool:
        """Send a message of this document, unless the client does not read."""
        return self.left or self._hocuspocus.socket.outbound.offer(message, self._prefix)

    def edit_accepted(self, update: Update) -> None:
        """Clients are told by a sync status."""

    def pause_reading_until(self, subscribe: Callable[[Callable[[], None]], None]) -> None:
        """Read nothing of the client until something has happened, or for a second."""
        self._hocuspocus.socket.pause_reading_until(subscribe)

    def send_stateless(self, message: PreparedMessage) -> None:
        """Send a stateless message of this document, unless the client does not read."""
        self.offer(message)

    def close(self, denied: Denied) -> None:
        """Close this document."""
        self._hocuspocus.shut(self, denied.code, denied.detailed_public_reason)

    def access_changed(self) -> None:
        """Tell the client what it may do."""
        self.send(PreparedMessage(envelope.encode_authenticated(self.connection.may_write)))

    def ask_for_token(self) -> None:
        """Ask for a newer token; older providers do not hear that."""
        self.send(PreparedMessage(envelope.TOKEN_REQUEST))
