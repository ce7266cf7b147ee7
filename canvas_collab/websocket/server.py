"""The WebSocket server: the sockets of all clients, and Autobahn's options for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory
from twisted.internet.task import Cooperator

from canvas_collab.access.authorization import Denied
from canvas_collab.config.connections import WebSocketSettings
from canvas_collab.counters import Counters
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.rooms.opening import ConnectionOpener
from canvas_collab.websocket.admission import Admission
from canvas_collab.websocket.protocol_handler import ProtocolHandler, Socket
from canvas_collab.websocket.rates import RateLimiter, SlowedSocket
from canvas_collab.websocket.server_protocol import ServerProtocol
from canvas_collab.websocket.shared_limit import SharedLimit

#: How long a client may take to answer a close frame, in seconds.  Autobahn's timers round down to whole seconds, so it
#: may be up to a second less: one second could be none, and a client that is cut off at once may not read the frame.
CLOSE_TIMEOUT = 2


class ServerFactory(WebSocketServerFactory):
    """Makes a :class:`ServerProtocol` for each client, and keeps all that are connected."""

    protocol: Any = ServerProtocol
    noisy = False

    def __init__(
        self,
        reactor: Any,
        settings: WebSocketSettings,
        opener: ConnectionOpener,
        handler_for: Callable[[Socket, str], ProtocolHandler],
        cooperator: Cooperator,
        counters: Counters,
        admission: Admission,
        rate_limiter_for: Callable[[SlowedSocket], RateLimiter],
    ) -> None:
        """:param handler_for: makes the protocol handler of a socket; takes the socket and its URL path.
        :param cooperator: runs the handling of messages that takes long.
        :param admission: limits connections and handshakes.
        :param rate_limiter_for: makes what limits how fast a socket may send.
        """
        WebSocketServerFactory.__init__(self, reactor=reactor, server="canvas-collab")
        self.settings = settings
        self.opener = opener
        self.handler_for = handler_for
        self.cooperator = cooperator
        self.counters = counters
        self.rate_limiter_for = rate_limiter_for
        self._admission = admission
        #: Limits the bytes of messages that were received by Autobahn and are not handled yet.
        self.receive_limit = SharedLimit(settings.max_receiving_total)
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
            # The authorizer checks origins, since whether one is allowed depends on the credential.
            allowedOrigins=["*"],
            allowNullOrigin=True,
            trustXForwardedFor=settings.trusted_proxies,
        )

    @property
    def reject_by_closing(self) -> bool:
        """Whether a client is rejected by a close code after the handshake, rather than by an HTTP status."""
        return self.settings.reject_with == "close"

    def admit(self, client: ServerProtocol, headers: Mapping[str, str]) -> None:
        """Count a handshake, and decide on it.

        :param headers: of its request, names in lower case.
        :raises Denied: if it is over a limit on connections or handshakes.
        """
        try:
            self._admission.admit(client, headers)
        except Denied as denied:
            self.opener.log_denial(denied, "", client.client_address)
            raise

    def client_connected(self, client: ServerProtocol) -> None:
        """Called when a TCP connection was accepted."""
        self.clients.add(client)
        if not self._admission.connected(client):
            reason = "too many connections from this address (MAX_CONNECTIONS_PER_ADDRESS): cut off"
            denied = Denied(429, CloseCode.TRY_AGAIN_LATER, "try again later", reason)
            self.opener.log_denial(denied, "", client.client_address)
            client.dropConnection(abort=True)

    def client_disconnected(self, client: ServerProtocol) -> None:
        """Called when a TCP connection is lost."""
        self.clients.discard(client)
        self._admission.disconnected(client)
        if not self.clients and self.on_empty is not None:
            self.on_empty()
