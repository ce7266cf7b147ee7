"""The protocol of y-websocket: ``ws://HOST:PORT/ROOM``, one connection, one document, one message in a frame.

Whether a client may come in is decided during the handshake.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from canvas_collab.access.authorization import Denied, Request
from canvas_collab.access.fair_semaphore import Requester
from canvas_collab.persistence.journal import Journal
from canvas_collab.protocol import sync
from canvas_collab.protocol.close_codes import CloseCode, ProtocolViolation
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.steps import Steps
from canvas_collab.protocol.update import Update
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.opening import ConnectionOpener
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.websocket.acknowledgements import SaveAcknowledgements
from canvas_collab.websocket.ignored_messages import IgnoredMessages
from canvas_collab.websocket.protocol_handler import Socket


class YWebsocket:
    """One client's WebSocket that carries one :class:`~canvas_collab.rooms.connection.Connection`."""

    protocol = "y-websocket"
    message_too_large = CloseCode.TOO_LARGE

    def __init__(self, clock: IReactorTime, socket: Socket, opener: ConnectionOpener, journal: Journal) -> None:
        self._socket = socket
        # What the connection asks of its carrier most often, without a step in between.
        self.send = socket.outbound.send
        self.offer = socket.outbound.offer
        self.pause_reading_until = socket.pause_reading_until
        self._opener = opener
        self._clock = clock
        self._journal = journal
        self._ignored = IgnoredMessages(socket.client)
        self._acknowledgements: SaveAcknowledgements | None = None
        self._connection: Connection | None = None

    @property
    def acknowledges(self) -> bool:
        """Whether the client is told of every update whether it counts."""
        return self._acknowledgements is not None and self._acknowledgements.has_heartbeats

    @property
    def requester(self) -> Requester:
        """Who waits for what is looked up."""
        return self._socket

    @property
    def client(self) -> str:
        """The client's address, for the log."""
        return self._socket.client

    @property
    def log_context(self) -> tuple[str | None, str | None]:
        """The room and the user's id, for the log."""
        return (self._connection.room.name, self._connection.user_id) if self._connection else (None, None)

    async def handshake_received(self, request: Request) -> None:
        """Decide over a handshake.

        :raises Denied: if it must be refused.
        """
        connection = await self._opener.open(self, self._opener.room_of(request.path), request)
        if self._socket.is_closing:
            self._opener.close(connection, None, "the client did not wait")
        else:
            self._connection = connection
            self._acknowledgements = SaveAcknowledgements(self._clock, self._journal, connection.room, self.offer)

    def opened(self) -> None:
        """The handshake is done."""
        if self._connection is not None:
            self._socket.do(self._connection.send_sync_step_1())
            self._opener.join(self._connection)

    def received(self, payload: bytes) -> Steps[None]:
        """Take a message, in steps.

        :raises Offence: if that ends the connection.
        """
        if self._connection is None or self._acknowledgements is None:
            return
        try:
            message = sync.decode(payload)
        except Malformed as error:
            raise ProtocolViolation(CloseCode.MALFORMED, f"malformed message: {error}") from error
        if isinstance(message, sync.Unknown):
            self._ignored.note(message.kind, *self.log_context)
        elif isinstance(message, sync.Heartbeat):
            self._acknowledgements.beat(message.counter)
        else:
            acknowledgements = self._acknowledgements
            acknowledgements.taken(message, (yield from self._connection.receive(message)))

    def drained(self) -> Steps[None]:
        """The client reads again."""
        if self._connection is not None:
            yield from self._connection.catch_up()
        if self._acknowledgements is not None:
            self._acknowledgements.drained()

    def keep_alive(self, silence: float) -> None:
        """Have the client hear something."""
        if self._connection is not None:
            self._connection.keep_alive(silence)

    def closed(self, code: int | None, reason: str | None) -> None:
        """The socket has gone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._opener.close(connection, code, reason)

    async def recheck(self) -> None:
        """Look whether the client may still be here."""
        if self._connection is not None:
            await self._opener.recheck(self._connection)

    # What the connection asks of its carrier

    def edit_accepted(self, update: Update) -> None:
        """An edit of the client's is on its way to disk."""
        if self._acknowledgements is not None:
            self._acknowledgements.kept(update)

    def send_stateless(self, message: PreparedMessage) -> None:
        """There are no such messages here."""

    def close(self, denied: Denied) -> None:
        """End the connection."""
        self._socket.end(denied.code, denied.public_reason)

    def access_changed(self) -> None:
        """Clients are not told."""

    def ask_for_token(self) -> None:
        """Clients cannot be asked; a session that is not prolonged ends."""
