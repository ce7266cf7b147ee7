"""The receiving side of a WebSocket: parsing by Autobahn, limits on what is received, and pausing to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from autobahn.twisted.websocket import WebSocketServerProtocol
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Cooperator
from twisted.logger import Logger

from canvas_collab.config.connections import WebSocketSettings
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.protocol.steps import Steps
from canvas_collab.websocket.inbound import InboundQueue
from canvas_collab.websocket.rates import RateLimiter, SlowedSocket
from canvas_collab.websocket.shared_limit import SharedLimit

#: How many bytes the request line and the headers of a handshake may have.
MAX_HANDSHAKE_SIZE = 16 * 2**10

#: How many frames a message may be split into. No real client sends a message in as many.
MAX_FRAGMENTS = 2**16

#: How long :meth:`Receiver.pause_reading_until` pauses at most, in seconds.
MAX_READ_PAUSE = 1.0


class ReceivingServer(Protocol):
    """What the receiving side of a socket needs of the server."""

    reactor: Any
    settings: WebSocketSettings
    cooperator: Cooperator
    #: Limits the bytes of messages that were received by Autobahn and are not handled yet.
    receive_limit: SharedLimit

    def rate_limiter_for(self, socket: SlowedSocket) -> RateLimiter:
        """Make what limits how fast a socket may send."""


class Receiver(WebSocketServerProtocol):
    """The receiving side of a client's WebSocket; a subclass handles the messages."""

    factory: ReceivingServer
    transport: Any
    inbound: InboundQueue
    rate_limiter: RateLimiter
    #: The event log. Autobahn logs its own messages to `log`.
    events = Logger()

    def __init__(self) -> None:
        super().__init__()
        #: Whether messages are discarded from now on, and only the closing handshake is still read.
        self.is_discarding = False
        #: Whether something was received since this was last set to False.
        self.was_heard = True
        #: How many bytes a message may have.
        self.max_message_size = 0
        # A limit for this socket that is lower than the one of all sockets.
        self._size_limit: int | None = None
        self._frame_count = 0
        # How many bytes of the incomplete message were received.
        self._incomplete_size = 0
        # How many calls of pause_reading() have no call of resume_reading() yet, and how many of pause_handling()
        # none of resume_handling().
        self._read_pauses = 0
        self._handling_pauses = 0
        self._is_lost = False

    @property
    def client_address(self) -> str:
        """The client's IP address and port, for the event log."""
        # Autobahn puts the transport's type in front, unless the address is from a proxy's header. It does not put an
        # IPv6 address in brackets, without which the port cannot be told from it.
        kind, _, address = str(self.peer).partition(":")
        if kind == "tcp6":
            host, _, port = address.rpartition(":")
            return f"[{host}]:{port}"
        return address if kind == "tcp4" else str(self.peer)

    @property
    def has_address(self) -> bool:
        """Whether the peer has an IP address; that of a unix socket has none."""
        return isinstance(self.transport.getPeer(), (IPv4Address, IPv6Address))

    # For the subclass to implement

    @property
    def log_context(self) -> tuple[str | None, str | None]:
        """The room and the user id, for the event log."""
        raise NotImplementedError

    def handle(self, message: bytes | None) -> Steps[None]:
        """Handle a message, in steps.

        :param message: None for a text message: the protocols have only binary ones.
        """
        raise NotImplementedError

    def close(self, code: CloseCode, reason: str, abort: bool = False) -> None:
        """Close the connection because of what the client has sent, or because it may not stay connected."""
        raise NotImplementedError

    @property
    def too_large_code(self) -> CloseCode | None:
        """The close code for a message over the size limit; None before a protocol handler is chosen."""
        raise NotImplementedError

    # Reading

    def dataReceived(self, data: bytes) -> None:
        """Queue what is received on an open connection; limit the size of the handshake before that."""
        self.was_heard = True
        if self.state != self.STATE_CONNECTING:
            self.inbound.received(data)
            received = self.rate_limiter.bytes
            received.left -= len(data)
            if received.left < 0:
                self.rate_limiter.bytes_used_up()
        elif len(self.data) + len(data) > MAX_HANDSHAKE_SIZE:
            client = self.client_address
            self.events.info(
                "connection denied",
                reason="handshake too large",
                room="",
                user=None,
                client=client,
                code=None,
                status=None,
            )
            self.dropConnection(abort=True)
        else:
            super().dataReceived(data)

    def feed(self, data: bytes) -> None:
        """Have Autobahn parse bytes."""
        super().dataReceived(data)

    @property
    def is_between_frames(self) -> bool:
        """Whether the next byte begins a frame, and no fragmented message is incomplete."""
        return not self.data and self.current_frame is None and not self.inside_message

    @property
    def payload_remaining(self) -> int:
        """How many bytes of payload are still missing from the frame that Autobahn is reading."""
        frame = self.current_frame
        return 0 if frame is None or self.data else frame.length - self.current_frame_masker.pointer()

    @property
    def is_reading_paused(self) -> bool:
        """Whether nothing is read from the socket."""
        return self._read_pauses > 0

    def pause_reading(self) -> None:
        """Stop reading from the socket until :meth:`resume_reading` was called as often as this."""
        self._read_pauses += 1
        if self._read_pauses == 1 and not self._is_lost:
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Undo one call of :meth:`pause_reading`."""
        self._read_pauses -= 1
        if not self._read_pauses and not self._is_lost:
            self.transport.resumeProducing()

    def pause_reading_until(self, subscribe: Callable[[Callable[[], None]], None]) -> None:
        """Read and handle nothing until a callback is called, or for :data:`MAX_READ_PAUSE` seconds.

        :param subscribe: takes the callback that ends the pause.
        """
        self.pause_handling()
        timer = self.factory.reactor.callLater(MAX_READ_PAUSE, self.resume_handling)

        def end_early() -> None:
            if timer.active():
                timer.cancel()
                self.resume_handling()

        subscribe(end_early)

    def pause_handling(self) -> None:
        """Read and handle nothing until :meth:`resume_handling` was called as often as this."""
        self._handling_pauses += 1
        self.pause_reading()

    def resume_handling(self) -> None:
        """Undo one call of :meth:`pause_handling`."""
        self._handling_pauses -= 1
        self.resume_reading()
        self.inbound.process()

    def messages_used_up(self) -> bool:
        """Called when no more messages may be handled; return whether that pauses the handling."""
        # What has arrived before the connection was lost is handled without waiting: there is nobody to slow down or to
        # close, and the protocol handler is told of the end only after that.
        return not self._is_lost and self.rate_limiter.messages_used_up()

    def slowed(self, reason: str) -> None:
        """Log that the client sends too much, and is read more slowly."""
        room, user = self.log_context
        self.events.info("connection slowed", reason=reason, room=room, user=user, client=self.client_address)

    def rate_exceeded(self, reason: str) -> None:
        """Close the connection: the client has sent too much for too long."""
        self.close(CloseCode.TRY_AGAIN_LATER, f"try again later: {reason}")

    # Messages that Autobahn parses

    def limit_message_size(self, size: int | None) -> None:
        """Limit messages to `size` bytes from now on; None means the limit of all sockets."""
        self._size_limit = size
        largest = self.factory.settings.max_message_size
        self.max_message_size = largest if size is None else min(size, largest)

    def onMessageFrameBegin(self, length: int) -> None:
        """Close the connection if the message is too large, before its payload is read.

        Autobahn would close with 1009.  Some clients do not reconnect on that code, though this one may send as large a
        message once it has opened a document; others reconnect and send the same message again and again.
        """
        self._frame_count += 1
        if self._frame_count > MAX_FRAGMENTS and not self.is_discarding:
            self.close(CloseCode.MALFORMED, f"malformed message: more than {MAX_FRAGMENTS} frames")
            self.failedByMe = True
        code = self.too_large_code
        if (
            self.message_data_total_length + length > self.max_message_size
            and code is not None
            and not self.is_discarding
        ):
            when = ""
            if self._size_limit is not None:
                code, when = CloseCode.TOO_LARGE, " before a document is open"
            self.close(code, f"a message may have {self.max_message_size} bytes{when}")
            self.failedByMe = True
        super().onMessageFrameBegin(length)

    def onMessageFrameData(self, payload: bytes) -> None:
        """Count the bytes of a part of a message."""
        super().onMessageFrameData(payload)
        if not self.is_discarding:
            self._incomplete_size += len(payload)
            self.factory.receive_limit.add(self, len(payload))

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Queue a complete message."""
        size, self._incomplete_size, self._frame_count = self._incomplete_size, 0, 0
        self.inbound.add(self._handle_and_release(payload if isBinary else None, size))

    def _handle_and_release(self, message: bytes | None, size: int) -> Steps[None]:
        try:
            yield from self.handle(message)
        finally:
            self.factory.receive_limit.remove(self, size)

    def shed(self) -> None:
        """Close the connection: all sockets together have too much unhandled data, and this one has the most."""
        self.close(CloseCode.TRY_AGAIN_LATER, "try again later: too many large messages")
        self.discard_incomplete()

    def discard_incomplete(self) -> None:
        """Discard the incomplete message."""
        size, self._incomplete_size = self._incomplete_size, 0
        self.factory.receive_limit.remove(self, size)
        self.message_data = []
        self.frame_data = []
