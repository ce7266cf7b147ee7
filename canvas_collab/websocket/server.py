"""The WebSocket server: all clients' connections, and what Autobahn is to do for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory
from twisted.internet.task import Cooperator

from canvas_collab.config.connections import WebSocketSettings
from canvas_collab.rooms.opening import ConnectionOpener
from canvas_collab.websocket.protocol_handler import ProtocolHandler, Socket
from canvas_collab.websocket.server_protocol import ServerProtocol
from canvas_collab.websocket.shared_limit import SharedLimit

#: A client that was told to close has so many seconds to do so, or up to one less: Autobahn's timers round down to
#: whole seconds.  Of one there might be nothing left, and who is cut off at once may never read why.
CLOSE_TIMEOUT = 2


class ServerFactory(WebSocketServerFactory):
    """Makes a :class:`ServerProtocol` for each client, and knows all that are there."""

    protocol: Any = ServerProtocol
    noisy = False

    def __init__(
        self,
        reactor: Any,
        settings: WebSocketSettings,
        opener: ConnectionOpener,
        handler_for: Callable[[Socket, str], ProtocolHandler],
        cooperator: Cooperator,
    ) -> None:
        """:param handler_for: makes the protocol handler of a socket; takes the URL path that it was opened on."""
        WebSocketServerFactory.__init__(self, reactor=reactor, server="canvas-collab")
        self.settings = settings
        self.opener = opener
        self.handler_for = handler_for
        self.cooperator = cooperator
        #: What has come of messages that are not dealt with yet.
        self.receiving = SharedLimit(settings.max_receiving_total)
        self.clients: set[ServerProtocol] = set()
        self.on_empty: Callable[[], None] | None = None
        WebSocketServerFactory.setProtocolOptions(
            self,
            versions=[13],
            webStatus=False,
            failByDrop=False,
            # Autobahn's timers may be up to a second early.
            openHandshakeTimeout=settings.handshake_timeout + 1,
            closeHandshakeTimeout=CLOSE_TIMEOUT,
            maxFramePayloadSize=settings.max_message_size,
            maxMessagePayloadSize=settings.max_message_size,
            # Whether an origin may come in depends on the credential, see canvas_collab.access.authorization.
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
