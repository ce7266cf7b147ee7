"""Getting messages onto a socket, in as few steps as there can be: in a busy room it is done for every client.

Twisted's own ``write`` waits for the reactor's next turn, which costs three system calls.  Where nothing waits in a
plain socket's buffer it is sent to at once, and only what it did not take is left to Twisted.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet import tcp
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from canvas_collab.rooms.prepared_message import PreparedMessage

#: So many bytes a message that waits takes besides its own.
OVERHEAD = 64


class Owner(Protocol):
    """Whose wire it is."""

    @property
    def may_send(self) -> bool:
        """Whether messages can be sent now."""

    def backpressure_started(self) -> None:
        """The client reads more slowly than it is sent to."""

    def drained(self) -> None:
        """The client has read all that waited."""

    def overflowed(self) -> None:
        """More waits for the client than may."""


@implementer(IPushProducer)
class OutboundTransport:
    """What leads to one client.

    While the client does not read, messages that it can do without are not kept for it; others are, up to a limit.
    """

    # What is asked for at every message lies together and by itself: with a thousand clients it is memory that costs.
    __slots__ = ("_backlog", "_backlog_max", "_has_backpressure", "_is_clear", "_left", "_owner", "_send", "_transport")

    def __init__(self, transport: Any, owner: Owner, backlog_max: int) -> None:
        """:param backlog_max: how many bytes may wait for the client while it does not read."""
        self._transport = transport
        self._owner = owner
        self._backlog_max = backlog_max
        self._backlog = 0
        # How many bytes were left to the transport.
        self._left = 0
        self._has_backpressure = False
        # Whether it is certain that the socket can be sent to directly. Where it is not, that has to be found out.
        self._is_clear = False
        is_plain = isinstance(transport, tcp.Server) and not transport.TLS and hasattr(transport, "_tempDataBuffer")
        self._send: Any = transport.socket.send if is_plain else None

    def offer(self, message: PreparedMessage, prefix: bytes = b"") -> bool:
        """Send a message, unless the client does not read; returns False if it was not sent for that reason."""
        if not self._is_clear:
            if self._has_backpressure and self._owner.may_send:
                return False
            self._send_cautiously(message.frame(prefix))
            return True
        self._put(message.frame(prefix))
        return True

    def send(self, message: PreparedMessage, prefix: bytes = b"") -> None:
        """Send a message, now or when the client reads."""
        if self._has_backpressure:
            self.send_frame(message.frame(prefix))
        else:
            self.offer(message, prefix)

    def send_frame(self, frame: bytes) -> None:
        """Send a frame, now or when the client reads."""
        if self._has_backpressure and self._owner.may_send:
            if self._may_wait(len(frame)):
                self._leave(frame)
        elif self._is_clear:
            self._put(frame)
        else:
            self._send_cautiously(frame)

    def admits(self, size: int) -> bool:
        """Whether something else of so many bytes may be written; then it is, before anything that comes after."""
        self.disturbed()
        return not (self._has_backpressure and self._owner.may_send) or self._may_wait(size)

    def _may_wait(self, size: int) -> bool:
        """Whether there is room for so many bytes more that wait; the owner is told where there is none."""
        self._backlog += size + OVERHEAD
        if self._backlog > self._backlog_max:
            self._owner.overflowed()
            return False
        return True

    @property
    def progress(self) -> int:
        """How many bytes of those that had to wait have gone; it only says something compared with earlier."""
        # What encrypts has a plain transport below it.
        plain = getattr(self._transport, "transport", self._transport)
        waiting = len(getattr(plain, "dataBuffer", b"")) - getattr(plain, "offset", 0)
        return self._left - waiting - sum(map(len, getattr(plain, "_tempDataBuffer", ())))

    @property
    def has_backpressure(self) -> bool:
        """Whether the client does not read what it was sent."""
        return self._has_backpressure

    def disturbed(self) -> None:
        """Something else was written, or the connection ends: look before the next message is sent."""
        self._is_clear = False

    def _send_cautiously(self, frame: bytes) -> None:
        if not self._owner.may_send:
            return
        transport = self._transport
        if (
            self._send is None
            or transport.dataBuffer
            or transport._tempDataBuffer
            or transport.disconnecting
            or not transport.connected
        ):
            self._leave(frame)
        else:
            self._put(frame)

    def _put(self, frame: bytes) -> None:
        """Send to the socket, and leave to the transport what it does not take."""
        try:
            sent = self._send(frame)
        except OSError:
            # Full, or gone: Twisted finds out which.
            sent = 0
        self._is_clear = sent == len(frame)
        if not self._is_clear:
            self._leave(frame[sent:])

    def _leave(self, data: bytes) -> None:
        """Leave it to the transport, which sends it when the client reads."""
        self._left += len(data)
        self._transport.write(data)

    # What the transport asks of whoever writes to it, when its buffer is full and when it is empty again

    def pauseProducing(self) -> None:
        """The client reads more slowly than it is sent to."""
        self._has_backpressure = True
        self._owner.backpressure_started()

    def resumeProducing(self) -> None:
        """The client has read everything."""
        self._has_backpressure = False
        self._backlog = 0
        self._owner.drained()

    def stopProducing(self) -> None:
        """The connection has gone."""
        self._is_clear = False
