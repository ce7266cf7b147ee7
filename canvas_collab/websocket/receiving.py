"""A WebSocket's receiving side: what Autobahn reads of it, how much of a message is kept, when nothing is read."""

from __future__ import annotations

from typing import Any, Protocol

from autobahn.twisted.websocket import WebSocketServerProtocol
from twisted.internet.task import Cooperator

from canvas_collab.config.connections import WebSocketSettings
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.protocol.steps import Steps
from canvas_collab.websocket.inbound import InboundQueue
from canvas_collab.websocket.shared_limit import SharedLimit

#: The request line and the headers of a handshake have to fit into so many bytes.
MAX_HANDSHAKE_SIZE = 16 * 2**10

#: A message that comes in more frames than this is none that a client would send.
MAX_FRAGMENTS = 2**16


class ReceivingServer(Protocol):
    """What a socket's receiving side asks of whoever has all of them."""

    settings: WebSocketSettings
    cooperator: Cooperator
    #: What has come of messages that are not dealt with yet.
    receiving: SharedLimit


class Receiver(WebSocketServerProtocol):
    """The receiving half of a client's WebSocket; what is done with a message, a subclass says."""

    factory: ReceivingServer
    transport: Any
    #: What comes in.
    inbound: InboundQueue

    def __init__(self) -> None:
        super().__init__()
        #: Whether nothing that is still to be read counts any more, but for the end of the WebSocket.
        self.is_over = False
        #: How large a message may be.
        self.message_max = 0
        self._admitted: int | None = None
        self._fragments = 0
        # How many bytes there are of a message that is not complete.
        self._incomplete = 0
        # How often reading was held and has not gone on since.
        self._holds = 0
        self._was_lost = False

    # What a subclass has

    def handle(self, message: bytes | None) -> Steps[None]:
        """Deal with a message, in steps; text, which is not spoken here, is None."""
        raise NotImplementedError

    def end(self, code: CloseCode, reason: str, abort: bool = False) -> None:
        """End the connection for something the client did, or is."""
        raise NotImplementedError

    @property
    def too_large(self) -> CloseCode | None:
        """The code at which the client stops sending a message that is too large; None before anything is spoken."""
        raise NotImplementedError

    # Reading

    def dataReceived(self, data: bytes) -> None:
        """Bound what is kept of a handshake before its end; messages of an open connection wait for their turn."""
        if self.state != self.STATE_CONNECTING:
            self.inbound.received(data)
        elif len(self.data) + len(data) > MAX_HANDSHAKE_SIZE:
            self.handshake_too_large()
        else:
            super().dataReceived(data)

    def handshake_too_large(self) -> None:
        """More has come of a handshake than any has."""
        self.dropConnection(abort=True)

    def feed(self, data: bytes) -> None:
        """Give Autobahn what it has to read."""
        super().dataReceived(data)

    @property
    def is_between_frames(self) -> bool:
        """Whether the next byte begins a frame, and no fragmented message is under way."""
        return not self.data and self.current_frame is None and not self.inside_message

    @property
    def payload_left(self) -> int:
        """How many bytes of the payload are to come of the frame that Autobahn reads."""
        frame = self.current_frame
        return 0 if frame is None or self.data else frame.length - self.current_frame_masker.pointer()

    @property
    def is_reading_paused(self) -> bool:
        """Whether nothing is read of the socket now."""
        return self._holds > 0

    def pause_reading(self) -> None:
        """Read nothing of the socket until :meth:`resume_reading` has been called as often as this."""
        self._holds += 1
        if self._holds == 1 and not self._was_lost:
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Read from the socket again."""
        self._holds -= 1
        if not self._holds and not self._was_lost:
            self.transport.resumeProducing()

    # Messages that Autobahn puts together

    def admit_messages(self, size: int | None) -> None:
        """Take messages of up to so many bytes from now on, or as large as any may be."""
        self._admitted = size
        largest = self.factory.settings.max_message_size
        self.message_max = largest if size is None else min(size, largest)

    def onMessageFrameBegin(self, length: int) -> None:
        """A frame begins; nothing is kept of one that is too large, or is for now.

        Not left to Autobahn, which closes with 1009: some clients do not come back after that, and this one may have
        every right to send as much once it has opened a document; others come back, and send it again for ever.
        """
        self._fragments += 1
        if self._fragments > MAX_FRAGMENTS and not self.is_over:
            self.end(CloseCode.MALFORMED, f"malformed message: more than {MAX_FRAGMENTS} frames")
            self.failedByMe = True
        code = self.too_large
        if self.message_data_total_length + length > self.message_max and code is not None and not self.is_over:
            when = ""
            if self._admitted is not None:
                code, when = CloseCode.TOO_LARGE, " before a document is open"
            self.end(code, f"a message may have {self.message_max} bytes{when}")
            self.failedByMe = True
        super().onMessageFrameBegin(length)

    def onMessageFrameData(self, payload: bytes) -> None:
        """A part of a message has come, which may be all of it."""
        super().onMessageFrameData(payload)
        if not self.is_over:
            self._incomplete += len(payload)
            self.factory.receiving.add(self, len(payload))

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Autobahn has put a message together."""
        size, self._incomplete, self._fragments = self._incomplete, 0, 0
        self.inbound.add(self._handle_and_forget(payload if isBinary else None, size))

    def _handle_and_forget(self, message: bytes | None, size: int) -> Steps[None]:
        try:
            yield from self.handle(message)
        finally:
            self.factory.receiving.remove(self, size)

    def shed(self) -> None:
        """All clients together have too much that is not dealt with yet, and this one the most."""
        self.end(CloseCode.TRY_AGAIN_LATER, "try again later: too many large messages")
        self.forget_incomplete()

    def forget_incomplete(self) -> None:
        """Nothing more will come of the message that has begun."""
        size, self._incomplete = self._incomplete, 0
        self.factory.receiving.remove(self, size)
        self.message_data = []
        self.frame_data = []
