"""What a WebSocket and the protocol that is spoken on it ask of each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from canvas_collab.access.authorization import Request
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.protocol.steps import Steps
from canvas_collab.websocket.outbound import OutboundTransport


class Socket(Protocol):
    """One client's WebSocket."""

    @property
    def client(self) -> str:
        """The client's address, for the log."""

    @property
    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""

    @property
    def outbound(self) -> OutboundTransport:
        """What messages are sent on."""

    def end(self, code: CloseCode, reason: str) -> None:
        """Close the socket for something that its client did, or is."""

    def do(self, steps: Steps[None]) -> None:
        """Do something in its turn, after the messages that came before it."""

    def pause_reading_until(self, subscribe: Callable[[Callable[[], None]], None]) -> None:
        """Read nothing of the client until something has happened, or for a second.

        :param subscribe: is given what is to be called then.
        """

    def admit_messages(self, size: int | None) -> None:
        """Take messages of up to so many bytes from now on, or as large as any may be."""


class ProtocolHandler(Protocol):
    """A protocol on a WebSocket."""

    #: The code at which its clients stop sending a message that is too large, if at any.
    message_too_large: CloseCode

    @property
    def log_context(self) -> tuple[str | None, str | None]:
        """The room and the user's id that events of this socket concern, for the log."""

    async def handshake_received(self, request: Request) -> None:
        """Decide over a handshake.

        :raises Denied: if it must be refused.
        """

    def opened(self) -> None:
        """The handshake is done."""

    def received(self, payload: bytes) -> Steps[None]:
        """Take a binary message, in steps.

        :raises Offence: if that ends the socket.
        """

    def drained(self) -> Steps[None]:
        """The client has read all that waited for it, after it had not read for a while: send what it has missed."""

    def keep_alive(self, silence: float) -> None:
        """Have the client hear something, unless it was sent something that all are in the last `silence` seconds."""

    def closed(self, code: int | None, reason: str | None) -> None:
        """The socket has gone."""

    async def recheck(self) -> None:
        """Look whether the client may still have what it has open."""
