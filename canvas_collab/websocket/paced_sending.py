"""Sending large answers no faster than the client receives them.

After each message a WebSocket ping is sent.  Its pong tells that the client has received everything before it, whatever
buffers and proxies are on the way, and thus how fast its line is.  Only what the line carries in about a second is on
its way at a time, so that the client's other messages do not wait for longer behind it.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall

from canvas_collab.protocol.frames import encode_frame, encode_ping
from canvas_collab.protocol.steps import Steps
from canvas_collab.rooms.channel import Messages, Pacable
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.websocket.outbound import OutboundTransport
from canvas_collab.websocket.receiving import Receiver

#: What is on its way at a time is what the line carries in so many seconds and in one round trip, but never less than
#: two messages once the line's rate is known.
QUEUE_TIME = 0.5

#: A client that has never answered a ping is sent the next message after so many seconds.
NO_PONG_TIME = 5.0

#: Messages of more bytes are framed once for all clients that are sent them.
SHARED_FRAME = 2**20


#: Returned instead of a message when there are no more.
_END = PreparedMessage(b"")


class PacedSocket(Protocol):
    """What a :class:`PacedSender` needs of its WebSocket."""

    outbound: OutboundTransport

    @property
    def may_send(self) -> bool:
        """Whether messages can be sent now."""

    def schedule(self, steps: Steps[None]) -> None:
        """Run steps after the messages that have been received so far."""


@frozen
class _Unanswered:
    """A ping without a pong yet, and the message before it.

    :ivar size: of the message and the ping, in bytes.
    :ivar sent_at: when they were sent.
    :ivar received: how many bytes were known to be received at that time, and `received_at` since when.
    """

    payload: bytes
    size: int
    sent_at: float
    received: int
    received_at: float


class PacedSender:
    """Sends the large answers of one socket, in turn a message of each."""

    def __init__(self, reactor: Any, socket: PacedSocket) -> None:
        self._reactor = reactor
        self._socket = socket
        self._waiting: deque[tuple[Pacable, Messages, bytes]] = deque()
        self._unanswered: deque[_Unanswered] = deque()
        self._ping_count = 0
        self._in_flight = 0
        # How many bytes the client is known to have received, and when that became known.
        self._received = 0
        self._received_at = 0.0
        self._rate: float | None = None
        self._shortest = float("inf")
        self._is_scheduled = False
        self._no_pong_timer: IDelayedCall | None = None

    def add(self, answer: Pacable, prefix: bytes) -> None:
        """Send the messages of an answer, each after `prefix`."""
        self._waiting.append((answer, answer.messages(), prefix))
        self.resume()

    def resume(self) -> None:
        """Send more, if there is more and the client has room for it."""
        if self._waiting and not self._is_scheduled and self._has_room:
            self._is_scheduled = True
            self._socket.schedule(self._send())

    def pong_received(self, payload: bytes) -> None:
        """Called when the client has answered a ping, and so has received what was sent before it."""
        if not any(unanswered.payload == payload for unanswered in self._unanswered):
            return
        now = self._reactor.seconds()
        while True:
            first = self._unanswered.popleft()
            self._in_flight -= first.size
            self._received += first.size
            if first.payload == payload:
                break
        self._received_at = now
        self._shortest = min(self._shortest, now - first.sent_at)
        # Since what was sent then had been received, so that the time includes all waiting for the line.
        elapsed = now - first.received_at
        self._rate = (self._received - first.received) / max(elapsed, 1e-6)
        self._stop_timer()
        self.resume()

    def stop(self) -> None:
        """Send nothing more."""
        self._stop_timer()
        self._waiting.clear()

    @property
    def _has_room(self) -> bool:
        if not self._socket.may_send or self._socket.outbound.has_backpressure:
            return False
        if not self._unanswered:
            return True
        if self._rate is None:
            return False
        window = self._rate * (QUEUE_TIME + self._shortest)
        return len(self._unanswered) < 2 or self._in_flight + self._unanswered[-1].size <= window

    def _send(self) -> Steps[None]:
        try:
            while self._waiting and self._has_room:
                answer, messages, prefix = self._waiting[0]
                answer.rate = self._rate
                message = next(messages, _END)
                if message is None:
                    yield
                    continue
                self._waiting.popleft()
                if message is not _END:
                    self._send_message(message, prefix)
                    self._waiting.append((answer, messages, prefix))
        finally:
            self._is_scheduled = False

    def _send_message(self, message: PreparedMessage, prefix: bytes) -> None:
        # A frame that is kept for other clients would be kept for each of their prefixes.
        is_shared = len(message.payload) > SHARED_FRAME
        frame = message.frame(prefix) if is_shared else encode_frame(prefix + message.payload)
        self._ping_count += 1
        payload = b"%d" % self._ping_count
        now = self._reactor.seconds()
        if not self._unanswered:
            # The line was not busy with these messages: it is from now on.
            self._received_at = now
        self._unanswered.append(_Unanswered(payload, len(frame), now, self._received, self._received_at))
        self._in_flight += len(frame)
        self._socket.outbound.send_frame(frame)
        self._socket.outbound.send_frame(encode_ping(payload))
        if self._rate is None and self._no_pong_timer is None:
            self._no_pong_timer = self._reactor.callLater(NO_PONG_TIME, self._no_pong)

    def _no_pong(self) -> None:
        self._no_pong_timer = None
        self._unanswered.clear()
        self._in_flight = 0
        self.resume()

    def _stop_timer(self) -> None:
        timer, self._no_pong_timer = self._no_pong_timer, None
        if timer is not None:
            timer.cancel()


class PacedReceiver(Receiver):
    """A WebSocket that can be sent large answers; a subclass handles its messages."""

    #: Sends messages to the client.
    outbound: OutboundTransport
    # Sends large answers; made for the first one.
    _paced: PacedSender | None = None

    @property
    def may_send(self) -> bool:
        """Whether messages can be sent now."""
        raise NotImplementedError

    def schedule(self, steps: Steps[None]) -> None:
        """Run steps after the messages that have been received so far."""
        raise NotImplementedError

    def send_paced(self, answer: Pacable, prefix: bytes = b"") -> None:
        """Send the messages of a large answer, each after `prefix`, no faster than the client receives them."""
        if self._paced is None:
            self._paced = PacedSender(self.factory.reactor, self)
        self._paced.add(answer, prefix)

    def pong_received(self, payload: bytes) -> None:
        """Called when the client has answered a ping with a payload."""
        if self._paced is not None:
            self._paced.pong_received(payload)

    def onPong(self, payload: bytes) -> None:
        """Called by Autobahn for the pongs that it parses."""
        self.pong_received(payload)

    def resume_pacing(self) -> None:
        """Send more of large answers, if the client has room for it."""
        if self._paced is not None:
            self._paced.resume()

    def stop_pacing(self) -> None:
        """Send no more of large answers."""
        if self._paced is not None:
            self._paced.stop()
