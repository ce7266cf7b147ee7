"""The protocol of y-websocket: ``ws://HOST:PORT/ROOM``, one connection, one document, one message in a frame.

Whether a client may come in is decided during the handshake.
"""

from __future__ import annotations

from canvas_collab.access.admission import Denied, Request
from canvas_collab.protocol import sync
from canvas_collab.protocol.closing import CloseCode, Offence
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.entrance import Entrance
from canvas_collab.rooms.outgoing import Outgoing
from canvas_collab.websocket.dialect import Socket


class YWebsocket:
    """One client's WebSocket that carries one :class:`~canvas_collab.rooms.connection.Connection`."""

    protocol = "y-websocket"

    def __init__(self, socket: Socket, entrance: Entrance) -> None:
        self._socket = socket
        # What the connection asks of its carrier most often, without a step in between.
        self.send = socket.wire.send
        self.offer = socket.wire.offer
        self._entrance = entrance
        self._connection: Connection | None = None

    @property
    def client(self) -> str:
        """The client's address, for the log."""
        return self._socket.client

    @property
    def whereabouts(self) -> tuple[str | None, str | None]:
        """The room and the user's id, for the log."""
        return (self._connection.room.name, self._connection.user_id) if self._connection else (None, None)

    async def shake_hands(self, request: Request) -> None:
        """Decide over a handshake.

        :raises Denied: if it must be refused.
        """
        connection = await self._entrance.open(self, self._entrance.room_of(request.path), request)
        if self._socket.gone:
            self._entrance.close(connection, None, "the client did not wait")
        else:
            self._connection = connection

    def opened(self) -> None:
        """The handshake is done."""
        if self._connection is not None:
            self._connection.ask()
            self._entrance.opened(self._connection)

    def received(self, payload: bytes) -> None:
        """Take a message.

        :raises Offence: if that ends the connection.
        """
        if self._connection is None:
            return
        try:
            message = sync.decode(payload)
        except Malformed as error:
            raise Offence(CloseCode.MALFORMED, f"malformed message: {error}") from error
        self._connection.receive(message)

    def drained(self) -> None:
        """The client reads again."""
        if self._connection is not None:
            self._connection.catch_up()

    def keep_alive(self, silence: float) -> None:
        """Have the client hear something."""
        if self._connection is not None:
            self._connection.keep_alive(silence)

    def closed(self, code: int | None, reason: str | None) -> None:
        """The socket has gone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._entrance.close(connection, code, reason)

    async def recheck(self) -> None:
        """Look whether the client may still be here."""
        if self._connection is not None:
            await self._entrance.recheck(self._connection)

    # What the connection asks of its carrier

    def send_stateless(self, message: Outgoing) -> None:
        """There are no such messages here."""

    def close(self, denied: Denied) -> None:
        """End the connection."""
        self._socket.end(denied.code, denied.public_reason)

    def access_changed(self) -> None:
        """Clients are not told."""

    def ask_for_token(self) -> None:
        """Clients cannot be asked; a session that is not prolonged ends."""
