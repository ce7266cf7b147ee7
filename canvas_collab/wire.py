"""Getting a message onto a socket in as few steps as there can be: in a busy room it is done for every client."""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp


class Wire:
    """A transport that is written to.

    Twisted's own ``write`` waits for the reactor's next turn, which costs three system calls.  Where nothing is waiting
    in a plain socket's buffer it is sent to at once, and only what it did not take is left to Twisted.
    """

    __slots__ = ("_socket", "_transport")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        is_plain = type(transport) is tcp.Server and not transport.TLS and hasattr(transport, "_tempDataBuffer")
        self._socket: Any = transport.socket if is_plain else None

    def write(self, data: bytes) -> None:
        """Send, now or when the client reads."""
        transport = self._transport
        if (
            self._socket is None
            or transport.dataBuffer
            or transport._tempDataBuffer
            or transport.disconnecting
            or not transport.connected
        ):
            transport.write(data)
            return
        try:
            sent = self._socket.send(data)
        except OSError:
            # Full, or gone: Twisted finds out which.
            sent = 0
        if sent < len(data):
            transport.write(data[sent:] if sent else data)
