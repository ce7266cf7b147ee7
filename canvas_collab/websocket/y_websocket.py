"""The y-websocket protocol: ``ws://HOST:PORT/ROOM``, one document per WebSocket, one y-protocols message per frame.

The client is authorized during the handshake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

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
from canvas_collab.rooms.edits import EditResult
from canvas_collab.rooms.opening import ConnectionOpener
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.websocket.acknowledgements import SaveAcknowledgements
from canvas_collab.websocket.ignored_messages import IgnoredMessages
from canvas_collab.websocket.protocol_handler import Socket


@final
class YWebsocket:
    """The protocol handler of one y-websocket client, and the channel of its connection."""

    protocol: ClassVar[str] = "y-websocket"
    too_large_code: ClassVar[CloseCode] = CloseCode.TOO_LARGE

    def __init__(self, clock: IReactorTime, socket: Socket, opener: ConnectionOpener, journal: Journal) -> None:
        self._socket = socket
        # The most frequent calls of the connection go to the socket directly.
        self.send = socket.outbound.send
        self.offer = socket.outbound.offer
        self.pause_reading_until = socket.pause_reading_until
        self._opener = opener
        self._clock = clock
        self._journal = journal
        self._ignored = IgnoredMessages(socket.client_address)
        self._acknowledgements: SaveAcknowledgements | None = None
        self._connection: Connection | None = None

    # ProtocolHandler

    @property
    def log_context(self) -> tuple[str | None, str | None]:
        """The room and the user id, for the event log."""
        return (self._connection.room.name, self._connection.user_id) if self._connection else (None, None)

    @property
    def connections(self) -> Sequence[Connection]:
        """The connection to the room, while there is one."""
        return [self._connection] if self._connection is not None else []

    async def accept_handshake(self, request: Request) -> None:
        """Authorize the client for the room that the URL names, and load the room.

        :raises Denied: if the client is not authorized, or the room cannot be loaded.
        """
        connection = await self._opener.open(self, self._opener.room_of(request.path), request)
        if self._socket.is_closing:
            self._opener.close(connection, None, "the client did not wait")
        else:
            self._connection = connection
            self._acknowledgements = SaveAcknowledgements(self._clock, self._journal, connection.room, self.offer)

    def opened(self) -> None:
        """Join the room, and ask the client for what the document lacks."""
        if self._connection is not None:
            self._socket.schedule(self._connection.send_sync_step_1())
            self._opener.join(self._connection)

    def received(self, payload: bytes) -> Steps[None]:
        """Handle a message, in steps.

        :raises ProtocolViolation: if the socket has to be closed because of the message.
        """
        if self._connection is None or self._acknowledgements is None:
            return
        try:
            message = sync.decode(payload)
        except Malformed as error:
            raise ProtocolViolation(CloseCode.MALFORMED, f"malformed message: {error}") from error
        if isinstance(message, sync.Unknown):
            self._ignored.record(message.kind, *self.log_context)
        elif isinstance(message, sync.Heartbeat):
            self._acknowledgements.heartbeat_received(message.counter)
        else:
            acknowledgements = self._acknowledgements
            acknowledgements.message_handled(message, (yield from self._connection.receive(message)))

    def received_small(self, payload: bytes) -> bool:
        """Handle a small update, if that takes little time; otherwise return False, with nothing done.

        :raises ProtocolViolation: if the socket has to be closed because of the message.
        """
        data = sync.read_update_message(payload, 0)
        if data is None or self._connection is None or self._acknowledgements is None:
            return False
        result = self._connection.receive_small_update(data)
        if result is EditResult.REFUSED:
            self._acknowledgements.edit_refused()
        return result is not None

    def backpressure_ended(self) -> Steps[None]:
        """Send the client what it has missed while it did not read."""
        if self._connection is not None:
            yield from self._connection.catch_up()
        if self._acknowledgements is not None:
            self._acknowledgements.backpressure_ended()

    def keep_alive(self, max_idle: float) -> None:
        """Send the client a message that keeps its connection alive.

        :param max_idle: no message is sent if the room has sent every connection one in the last so many seconds.
        """
        if self._connection is not None:
            self._connection.keep_alive(max_idle)

    def closed(self, code: int | None, reason: str | None) -> None:
        """Close the connection to the room."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._opener.close(connection, code, reason)

    # Channel

    @property
    def acknowledges(self) -> bool:
        """Whether the client is told of each of its updates whether it was saved."""
        return self._acknowledgements is not None and self._acknowledgements.has_heartbeats

    @property
    def requester(self) -> Requester:
        """The socket, which lookups are made for."""
        return self._socket

    @property
    def client(self) -> str:
        """The client's address, for the event log."""
        return self._socket.client_address

    def edit_accepted(self, update: Update) -> None:
        """Called when an edit of the client was queued in the journal."""
        if self._acknowledgements is not None:
            self._acknowledgements.edit_accepted(update)

    def send_stateless(self, message: PreparedMessage) -> None:
        """Do nothing: the protocol has no stateless messages."""

    def close(self, denied: Denied) -> None:
        """Close the socket: the client may not stay in the room."""
        self._socket.close(denied.code, denied.public_reason)

    def access_changed(self) -> None:
        """Do nothing: the protocol cannot tell the client."""

    def ask_for_token(self) -> None:
        """Do nothing: the protocol cannot ask the client.  The connection is closed when its session ends."""
