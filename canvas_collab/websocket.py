"""The WebSocket side: handshakes, frames, back pressure, and closing, for clients that speak y-websocket's protocol.

``ws://HOST:PORT/ROOM``: one connection, one document, one message in a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from canvas_collab.access import MAX_ROOM_NAME_LENGTH, Access
from canvas_collab.admission import Admission, Denied, Doorkeeper, Request
from canvas_collab.config import Settings
from canvas_collab.connection import Connection, JournalState
from canvas_collab.database.documents import DocumentDamaged
from canvas_collab.database.pool import DatabaseUnavailable
from canvas_collab.protocol.closing import CloseCode, Offence
from canvas_collab.room import Outgoing, Room
from canvas_collab.rooms import Rooms

#: The request line and the headers of a handshake have to fit into so many bytes.
MAX_HANDSHAKE_SIZE = 16 * 2**10

#: Dead connections are found by a ping after so many seconds of silence, and so many more without an answer.
PING_INTERVAL = 30
PING_TIMEOUT = 20

#: A client that was told to close has so many seconds to do so, or up to one less: Autobahn's timers round down to
#: whole seconds.  Of one there might be nothing left, and who is cut off at once may never read why.
CLOSE_TIMEOUT = 2


@implementer(IPushProducer)
class ServerProtocol(WebSocketServerProtocol):
    """One client's WebSocket.  It carries one :class:`~canvas_collab.connection.Connection`."""

    factory: ServerFactory
    transport: Any
    #: Autobahn's own messages go elsewhere, to `log`.
    events = Logger()

    def __init__(self) -> None:
        super().__init__()
        self._room: Room[Connection] | None = None
        self._admission: Admission | None = None
        self._denied: Denied | None = None
        self._connection: Connection | None = None
        self._gone = False
        self._choked = False
        self._backlog = 0

    @property
    def client(self) -> str:
        """The client's address, for the log."""
        # Autobahn puts the kind of the transport in front, unless a proxy said who it is.
        return str(self.peer).removeprefix("tcp4:").removeprefix("tcp6:")

    # The handshake

    def connectionMade(self) -> None:
        """A socket has been accepted."""
        super().connectionMade()
        self.factory.accepted(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """A socket has gone, whatever state it was in."""
        self._gone = True
        self.factory.gone(self)
        super().connectionLost(reason)
        if self._connection is not None:
            self._connection.closed()
            self._connection = None
        if self._room is not None:
            self.factory.rooms.leave(self._room.name)
            self._room = None

    def dataReceived(self, data: bytes) -> None:
        """Bound what is kept of a handshake before its end has come."""
        if self.state == self.STATE_CONNECTING and len(self.data) + len(data) > MAX_HANDSHAKE_SIZE:
            self._log_denial(Denied(431, CloseCode.TOO_LARGE, "", "handshake too large"), "")
            self.dropConnection(abort=True)
            return
        super().dataReceived(data)

    def onConnect(self, request: ConnectionRequest) -> Any:
        """Decide over a handshake; nothing more is read until that is done."""
        self.transport.pauseProducing()
        deciding = Deferred.fromCoroutine(self._decide(request))
        return deciding.addBoth(self._resume_reading)

    def _resume_reading(self, result: object) -> Any:
        if not self._gone:
            self.transport.resumeProducing()
        return result

    async def _decide(self, request: ConnectionRequest) -> None:
        room = self.factory.doorkeeper.room_of(request.path)[:MAX_ROOM_NAME_LENGTH]
        try:
            if self.factory.over_capacity:
                raise Denied(503, CloseCode.TRY_AGAIN_LATER, "try again later", "too many connections")
            admission = await self.factory.doorkeeper.admit(Request(request.path, request.headers, request.params))
            entered = await self._enter(admission)
            if self._gone:
                self.factory.rooms.leave(entered.name)
                raise Denied(408, CloseCode.TRY_AGAIN_LATER, "too late", "the client did not wait")
            self._room, self._admission = entered, admission
        except Denied as denied:
            self._deny(denied, room)
        except Exception as error:
            # Autobahn would tell the client what went wrong in here.
            self.events.failure("handshake failed", room=room, client=self.client)
            self._deny(Denied(500, CloseCode.INTERNAL_ERROR, "internal error", type(error).__name__), room)

    def _deny(self, denied: Denied, room: str) -> None:
        self._log_denial(denied, room)
        if not self.factory.reject_by_closing:
            raise ConnectionDeny(denied.status, denied.public_reason) from denied
        self._denied = denied

    async def _enter(self, admission: Admission) -> Room[Connection]:
        user_id = admission.session.user_id
        try:
            return await self.factory.rooms.enter(admission.room)
        except DatabaseUnavailable as error:
            code = CloseCode.TRY_AGAIN_LATER
            raise Denied(503, code, "try again later", str(error), user_id) from error
        except DocumentDamaged as error:
            self.events.critical("document damaged", room=admission.room, reason=str(error))
            code = CloseCode.DOCUMENT_DAMAGED
            raise Denied(500, code, "the document is damaged", str(error), user_id) from error

    def onOpen(self) -> None:
        """The handshake is done."""
        if self._denied is not None:
            self.close(self._denied.code, self._denied.public_reason)
            return
        if self._room is None or self._admission is None:
            return
        self._set_no_delay()
        self.transport.registerProducer(self, True)
        self._connection = Connection(
            self,
            self._room,
            self._admission.session.user_id,
            self._admission.access,
            self.factory.journal,
            self.factory.settings.max_awareness_size,
        )
        self.events.info(
            "connection opened",
            room=self._room.name,
            user=self._connection.user_id,
            access=self._connection.access.name.lower(),
            client=self.client,
        )
        self._connection.open()

    def _set_no_delay(self) -> None:
        """Autobahn sets this before the transport is connected to anything, so that it has no effect."""
        if isinstance(self.transport.getHost(), (IPv4Address, IPv6Address)):
            self.transport.setTcpNoDelay(True)

    def _log_denial(self, denied: Denied, room: str) -> None:
        self.events.info("connection denied", reason=denied.reason, room=room, user=denied.user_id, client=self.client)

    # Messages

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """The client has sent a message."""
        if self._connection is None or self.state != self.STATE_OPEN:
            return
        try:
            if not isBinary:
                raise Offence(CloseCode.MALFORMED, "malformed message: text, where bytes are spoken")
            self._connection.receive(payload)
        except Offence as offence:
            self._end(offence.code, offence.reason)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection has been closed, by whichever side."""
        if self._connection is not None:
            self.events.info(
                "connection closed",
                room=self._connection.room.name,
                user=self._connection.user_id,
                code=code,
                reason=reason,
                client=self.client,
            )

    def send(self, message: Outgoing) -> None:
        """Send a message; what many get is framed once."""
        if self.state != self.STATE_OPEN:
            return
        frame: Any = message.frames.get(ServerProtocol)
        if frame is None:
            frame = self.factory.prepareMessage(message.payload, isBinary=True)
            message.frames[ServerProtocol] = frame
        self.sendPreparedMessage(frame)
        if self._choked:
            self._backlog += len(message.payload)
            if self._backlog > self.factory.settings.send_buffer_max:
                self._end(CloseCode.TOO_SLOW, "too much is waiting to be read", abort=True)

    def close(self, code: CloseCode, reason: str) -> None:
        """End the connection."""
        if self.state == self.STATE_OPEN:
            # Not sendClose(), which takes 1012 for a code that a server may not send. A reason may have 123 bytes.
            self.sendCloseFrame(int(code), reason.encode()[:123].decode("utf-8", "ignore").encode())

    def _end(self, code: CloseCode, reason: str, abort: bool = False) -> None:
        """End the connection for something the client did."""
        connection = self._connection
        self.events.info(
            "connection ended",
            reason=reason,
            code=int(code),
            room=connection.room.name if connection else None,
            user=connection.user_id if connection else None,
            client=self.client,
        )
        if abort:
            self.dropConnection(abort=True)
        else:
            self.close(code, reason)

    # Whether what was sent is being read: the transport asks to pause when its buffer is full

    def pauseProducing(self) -> None:
        """The client reads more slowly than it is sent to."""
        self._choked = True

    def resumeProducing(self) -> None:
        """The client has read everything."""
        self._choked = False
        self._backlog = 0

    def stopProducing(self) -> None:
        """The connection has gone."""

    # Whether the decision over the handshake still holds

    async def recheck(self) -> None:
        """Look session and role up again, and act on what has changed."""
        connection, admission = self._connection, self._admission
        if connection is None or admission is None:
            return
        try:
            access = (await self.factory.doorkeeper.decide(admission.room, admission.credential)).access
        except Denied as denied:
            if denied.code is not CloseCode.TRY_AGAIN_LATER and self._connection is connection:
                self._end(denied.code, denied.public_reason)
            return
        except Exception:
            # One client must not keep the others from being looked at.
            self.events.failure("recheck failed", room=admission.room, user=connection.user_id)
            return
        if access is not connection.access:
            self.events.info("access changed", room=admission.room, user=connection.user_id, access=access.name.lower())
            connection.access = Access(access)


class ServerFactory(WebSocketServerFactory):
    """Makes a :class:`ServerProtocol` for each client, and knows all that are there."""

    protocol: Any = ServerProtocol
    noisy = False

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        doorkeeper: Doorkeeper,
        rooms: Rooms,
        journal: JournalState,
    ) -> None:
        WebSocketServerFactory.__init__(self, reactor=reactor, server="canvas-collab")
        self.settings = settings
        self.doorkeeper = doorkeeper
        self.rooms = rooms
        self.journal = journal
        self.clients: set[ServerProtocol] = set()
        self.on_empty: Callable[[], None] | None = None
        WebSocketServerFactory.setProtocolOptions(
            self,
            versions=[13],
            webStatus=False,
            failByDrop=False,
            openHandshakeTimeout=settings.handshake_timeout,
            closeHandshakeTimeout=CLOSE_TIMEOUT,
            maxFramePayloadSize=settings.max_message_size,
            maxMessagePayloadSize=settings.max_message_size,
            autoPingInterval=PING_INTERVAL,
            autoPingTimeout=PING_TIMEOUT,
            # Whether an origin may come in depends on the credential, see canvas_collab.admission.
            allowedOrigins=["*"],
            allowNullOrigin=True,
            trustXForwardedFor=settings.trusted_proxies,
        )

    @property
    def over_capacity(self) -> bool:
        """Whether one more client is one too many; the one that asks has been counted."""
        return len(self.clients) > self.settings.max_connections

    @property
    def reject_by_closing(self) -> bool:
        """Whether who may not come in is told so by a close code."""
        return self.settings.reject_with == "close"

    def accepted(self, client: ServerProtocol) -> None:
        """A socket has been accepted."""
        self.clients.add(client)

    def gone(self, client: ServerProtocol) -> None:
        """A socket has gone."""
        self.clients.discard(client)
        if not self.clients and self.on_empty is not None:
            self.on_empty()
