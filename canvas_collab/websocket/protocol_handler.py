"""The interfaces between a WebSocket and the protocol that is spoken on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from canvas_collab.access.authorization import Request
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.protocol.steps import Steps
from canvas_collab.rooms.connection import Connection
from canvas_collab.websocket.outbound import OutboundTransport


class Socket(Protocol):
    """One client's WebSocket, as its protocol handler sees it."""

    @property
    def client_address(self) -> str:
        """The client's IP address and port, for the event log."""

    @property
    def is_closing(self) -> bool:
        """Whether the WebSocket is closing or closed, so that nothing can be sent."""

    @property
    def outbound(self) -> OutboundTransport:
        """Sends messages to the client."""

    def close(self, code: CloseCode, reason: str) -> None:
        """Close the WebSocket because of what the client has sent, or because it may not stay connected."""

    def schedule(self, steps: Steps[None]) -> None:
        """Run steps after the messages that have been received so far."""

    def pause_reading_until(self, subscribe: Callable[[Callable[[], None]], None]) -> None:
        """Stop reading from the client until a callback is called, or for a second.

        :param subscribe: takes the callback that ends the pause.
        """

    def limit_message_size(self, size: int | None) -> None:
        """Limit messages to `size` bytes from now on; None means the limit of all sockets."""


class ProtocolHandler(Protocol):
    """A protocol that is spoken on a WebSocket, for one socket."""

    @property
    def too_large_code(self) -> CloseCode:
        """The close code for a message over the size limit.  Clients that stop reconnecting on one do so on this."""

    @property
    def log_context(self) -> tuple[str | None, str | None]:
        """The room and the user id that log events of the socket concern."""

    @property
    def connections(self) -> Sequence[Connection]:
        """The connections to rooms that the socket carries now."""

    async def accept_handshake(self, request: Request) -> None:
        """Decide whether to accept the handshake.

        :raises Denied: if the handshake is rejected.
        """

    def opened(self) -> None:
        """Called when the handshake is complete."""

    def received(self, payload: bytes) -> Steps[None]:
        """Handle a binary message, in steps.

        :raises ProtocolViolation: if the socket has to be closed because of the message.
        """

    def received_small(self, payload: bytes) -> bool:
        """Handle a binary message at once, if that takes little time; otherwise return False, with nothing done.

        Then :meth:`received` handles it.

        :raises ProtocolViolation: if the socket has to be closed because of the message.
        """

    def backpressure_ended(self) -> Steps[None]:
        """Called when the client has read everything that was buffered: send what it has missed meanwhile."""

    def keep_alive(self, max_idle: float) -> None:
        """Send the client a message that keeps its connection alive.

        :param max_idle: no message is sent if the room has sent every connection one in the last so many seconds.
        """

    def closed(self, code: int | None, reason: str | None) -> None:
        """Called when the socket is closed, or is about to be closed by the server."""
