"""The interface of the WebSocket server for its sockets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from canvas_collab.counters import Counters
from canvas_collab.rooms.opening import ConnectionOpener
from canvas_collab.websocket.protocol_handler import ProtocolHandler, Socket
from canvas_collab.websocket.receiving import Receiver, ReceivingServer


class Server(ReceivingServer, Protocol):
    """What a client's WebSocket needs of the server."""

    opener: ConnectionOpener
    counters: Counters

    @property
    def reject_by_closing(self) -> bool:
        """Whether a client is rejected by a close code after the handshake, rather than by an HTTP status."""

    def handler_for(self, socket: Socket, path: str) -> ProtocolHandler:
        """Make the handler of the protocol that is spoken on this URL path."""

    def admit(self, client: Receiver, headers: Mapping[str, str]) -> None:
        """Count a handshake; raise :exc:`Denied` if it is over a limit on connections or handshakes."""

    def client_connected(self, client: Receiver) -> None:
        """Called when a TCP connection was accepted."""

    def client_disconnected(self, client: Receiver) -> None:
        """Called when the TCP connection is lost."""
