"""Writing messages to a client's socket, with backpressure.

In a busy room each message is written to every client, so this takes as few calls as possible.  Twisted's own ``write``
puts the data off until the next iteration of the reactor, which costs three system calls.  Where a plain socket has
nothing buffered, the message is sent to it directly, and only what it does not accept is passed to Twisted.
"""

from __future__ import annotations

from typing import Any, Protocol, final

from twisted.internet import tcp
from twisted.internet.interfaces import IPushProducer
from zope.interface import classImplements

from canvas_collab.rooms.prepared_message import PreparedMessage

#: How many bytes a buffered message takes besides its own.
MESSAGE_OVERHEAD = 64


class OutboundSocket(Protocol):
    """What an :class:`OutboundTransport` needs of its WebSocket."""

    @property
    def may_send(self) -> bool:
        """Whether messages can be sent now."""

    def backpressure_started(self) -> None:
        """Called when the client reads more slowly than it is sent to."""

    def backpressure_ended(self) -> None:
        """Called when the client has read everything that was buffered for it."""

    def backlog_exceeded(self) -> None:
        """Called when more would have to be buffered for the client than is allowed."""


@final
class OutboundTransport:
    """Writes messages to one client's socket.

    While the client does not read, messages that are offered are not buffered for it; messages that are sent are
    buffered, up to a limit.
    """

    # Slots, since these attributes are read for every message: with a thousand clients, memory access is what costs.
    __slots__ = (
        "_backlog",
        "_backlog_max",
        "_buffered_total",
        "_has_backpressure",
        "_is_writable",
        "_send_to_socket",
        "_transport",
        "_websocket",
    )

    def __init__(self, transport: Any, websocket: OutboundSocket, backlog_max: int) -> None:
        """:param backlog_max: how many bytes may be buffered for the client while it does not read."""
        self._transport = transport
        self._websocket = websocket
        self._backlog_max = backlog_max
        self._backlog = 0
        # How many bytes were passed to the transport's buffer since the connection was made.
        self._buffered_total = 0
        self._has_backpressure = False
        # Whether the socket is known to accept data directly. If False, the transport is checked before sending.
        self._is_writable = False
        is_plain = isinstance(transport, tcp.Server) and not transport.TLS and hasattr(transport, "_tempDataBuffer")
        self._send_to_socket: Any = transport.socket.send if is_plain else None

    def offer(self, message: PreparedMessage, prefix: bytes = b"") -> bool:
        """Send a message, unless the client does not read; return False if it was not sent for that reason."""
        if self._is_writable:
            # As _send_directly(message.frame(prefix)), without a call.
            frame = message.frames.get(prefix)
            if frame is None:
                frame = message.frame(prefix)
            try:
                sent = self._send_to_socket(frame)
            except OSError:
                sent = 0
            if sent != len(frame):
                self._is_writable = False
                self._buffer(frame[sent:])
            return True
        if self._has_backpressure and self._websocket.may_send:
            return False
        self._send_checked(message.frame(prefix))
        return True

    def send(self, message: PreparedMessage, prefix: bytes = b"") -> None:
        """Send a message, or buffer it if the client does not read."""
        if self._has_backpressure:
            self.send_frame(message.frame(prefix))
        else:
            self.offer(message, prefix)

    def send_frame(self, frame: bytes) -> None:
        """Send a frame, or buffer it if the client does not read."""
        if self._has_backpressure and self._websocket.may_send:
            if self._add_to_backlog(len(frame)):
                self._buffer(frame)
        elif self._is_writable:
            self._send_directly(frame)
        else:
            self._send_checked(frame)

    def reserve(self, size: int) -> bool:
        """Return whether `size` bytes may be written to the transport by other means, and count them.

        The caller writes them immediately, so that they precede every message that is sent later.
        """
        self.invalidate()
        return not (self._has_backpressure and self._websocket.may_send) or self._add_to_backlog(size)

    def _add_to_backlog(self, size: int) -> bool:
        """Count `size` more buffered bytes; return False, and tell the WebSocket, if that exceeds the limit."""
        self._backlog += size + MESSAGE_OVERHEAD
        if self._backlog > self._backlog_max:
            self._websocket.backlog_exceeded()
            return False
        return True

    @property
    def buffered_bytes_sent(self) -> int:
        """How many of the buffered bytes have been sent, up to a constant: only differences are meaningful."""
        # A TLS transport wraps the plain one.
        plain = getattr(self._transport, "transport", self._transport)
        buffered = len(getattr(plain, "dataBuffer", b"")) - getattr(plain, "offset", 0)
        return self._buffered_total - buffered - sum(map(len, getattr(plain, "_tempDataBuffer", ())))

    @property
    def has_backpressure(self) -> bool:
        """Whether the client reads more slowly than it is sent to."""
        return self._has_backpressure

    def invalidate(self) -> None:
        """Have the transport checked before the next message: something else was written, or the connection ends."""
        self._is_writable = False

    def _send_checked(self, frame: bytes) -> None:
        """Send directly if the transport has nothing buffered; otherwise append to its buffer."""
        if not self._websocket.may_send:
            return
        transport = self._transport
        if (
            self._send_to_socket is None
            or transport.dataBuffer
            or transport._tempDataBuffer
            or transport.disconnecting
            or not transport.connected
        ):
            self._buffer(frame)
        else:
            self._send_directly(frame)

    def _send_directly(self, frame: bytes) -> None:
        """Send to the socket, and buffer what it does not accept."""
        try:
            sent = self._send_to_socket(frame)
        except OSError:
            # The socket's buffer is full, or the connection is lost: Twisted finds out which.
            sent = 0
        self._is_writable = sent == len(frame)
        if not self._is_writable:
            self._buffer(frame[sent:])

    def _buffer(self, data: bytes) -> None:
        """Pass data to the transport, which sends it when the socket is writable."""
        self._buffered_total += len(data)
        self._transport.write(data)

    # IPushProducer: the transport calls these when its buffer is full and when it is empty again.

    def pauseProducing(self) -> None:
        """Called when the client reads more slowly than it is sent to."""
        self._has_backpressure = True
        self._websocket.backpressure_started()

    def resumeProducing(self) -> None:
        """Called when the client has read everything that was buffered."""
        self._has_backpressure = False
        self._backlog = 0
        self._websocket.backpressure_ended()

    def stopProducing(self) -> None:
        """Called when the connection is lost."""
        self._is_writable = False


# A compiled class takes no class decorators.
classImplements(OutboundTransport, IPushProducer)
