"""Handling what one client sends: in order, and for a bounded time at once.

Messages that are handled within a millisecond never wait.  When a client's messages need more time, the rest is handled
in slices that alternate with the slices of all other such clients.  Meanwhile nothing more is read from its socket, so
what is queued is bounded by one read of the socket.
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import ClassVar, Protocol, final

from twisted.internet.task import Cooperator
from twisted.logger import Logger
from twisted.python.failure import Failure

from canvas_collab.limits.token_bucket import TokenBucket
from canvas_collab.protocol.frames import read_frame, read_heartbeat
from canvas_collab.protocol.steps import Steps

#: How long a client's messages may be handled before the rest is handled in slices, in seconds.
MAX_UNSLICED_TIME = 0.001

#: A client whose messages took more than so many steps in slices is busy: its messages are handled in slices from the
#: start for so many seconds.
BUSY_STEPS = 16
BUSY_TIME = 0.5

#: How many bytes Autobahn is given at a time. All of them may be frames of six bytes each, or the payload of one frame.
_FRAMES_CHUNK = 2**8
_PAYLOAD_CHUNK = 2**14


class InboundSocket(Protocol):
    """What an :class:`InboundQueue` needs of its WebSocket."""

    @property
    def max_message_size(self) -> int:
        """How many bytes a message may have."""

    @property
    def is_between_frames(self) -> bool:
        """Whether the next byte begins a frame, and no fragmented message is incomplete."""

    @property
    def payload_remaining(self) -> int:
        """How many bytes of payload are still missing from the frame that Autobahn is reading."""

    @property
    def is_discarding(self) -> bool:
        """Whether messages are discarded from now on, and only the closing handshake is still read."""

    @property
    def is_handling_paused(self) -> bool:
        """Whether received bytes stay queued; :meth:`InboundQueue.process` is called when that ends."""

    def messages_used_up(self) -> bool:
        """Called when no more messages may be handled; return whether that pauses the handling."""

    def handle_small(self, message: bytes) -> bool:
        """Handle a binary message at once, if that takes little time; otherwise return False, with nothing done.

        Raises nothing.
        """

    def handle(self, message: bytes) -> Steps[None]:
        """Handle a binary message, in steps.  Raises nothing."""

    def ping_received(self, payload: bytes) -> None:
        """Answer a ping."""

    def feed(self, data: bytes) -> None:
        """Have Autobahn parse bytes; the messages in them are added to this queue."""

    def pause_reading(self) -> None:
        """Stop reading from the socket."""

    def resume_reading(self) -> None:
        """Read from the socket again."""

    def dropConnection(self, abort: bool) -> None:
        """Close the TCP connection."""


@final
class InboundQueue:
    """The bytes and messages of one client that were received and are not handled yet.

    Frames that hold a whole, small, binary message are read here; all others are left to Autobahn, which takes several
    times as long.
    """

    # Compiled, the class has no frame that a logger could take its name from.
    log: ClassVar[Logger] = Logger(__name__)

    __slots__ = (
        "_busy_until",
        "_cooperator",
        "_data",
        "_is_parser_idle",
        "_is_processing",
        "_messages",
        "_position",
        "_steps",
        "_websocket",
        "_work",
        "_work_at_end",
    )

    def __init__(self, websocket: InboundSocket, cooperator: Cooperator, messages: TokenBucket) -> None:
        """:param cooperator: runs the slices of all clients.
        :param messages: how many frames may be read now; the chunks of a large one count like frames.
        """
        self._websocket = websocket
        self._messages = messages
        self._cooperator = cooperator
        self._data = b""
        self._position = 0
        # The messages that were parsed from the bytes before `_position`, in order.
        self._work: deque[Steps[None]] = deque()
        self._work_at_end: deque[Steps[None]] = deque()
        self._is_processing = False
        # Whether Autobahn is known to be between frames: it was, and was given nothing since.
        self._is_parser_idle = False
        self._steps = 0
        self._busy_until = 0.0

    def received(self, data: bytes) -> None:
        """Queue bytes that were read from the socket, and process them."""
        self._data = data if self._position >= len(self._data) else self._data[self._position :] + data
        self._position = 0
        self.process()

    def add(self, steps: Steps[None]) -> None:
        """Run steps after the messages that have been parsed so far."""
        self._work.append(steps)
        self.process()

    def add_at_end(self, steps: Steps[None]) -> None:
        """Run steps after everything that has been received so far."""
        self._work_at_end.append(steps)
        self.process()

    def process(self) -> None:
        """Process what is queued, unless that is already being done."""
        if self._is_processing:
            return
        self._is_processing = True
        started = perf_counter()
        is_idle = started >= self._busy_until
        if is_idle and self._handle_small_messages(started):
            self._is_processing = False
            return
        work = self._process_queue()
        if is_idle:
            for _ in work:
                if perf_counter() - started > MAX_UNSLICED_TIME:
                    break
            else:
                self._is_processing = False
                return
        self._websocket.pause_reading()
        self._cooperator.coiterate(self._count_steps(work)).addCallbacks(self._finished, self._failed)

    def _handle_small_messages(self, started: float) -> bool:
        """Handle small messages without steps, up to the first that takes longer; return whether nothing is left.

        :param started: since when, by :func:`perf_counter`, the client's messages have been handled.
        """
        websocket, messages = self._websocket, self._messages
        while not self._work:
            if self._position >= len(self._data):
                return not self._work_at_end
            if messages.left < 1 or websocket.is_handling_paused:
                return False
            message = self._read_message()
            if message is None:
                return False
            messages.left -= 1
            if not websocket.handle_small(message):
                self._work.append(websocket.handle(message))
            elif self._position < len(self._data) and perf_counter() - started > MAX_UNSLICED_TIME:
                return False
        return False

    def _read_message(self) -> bytes | None:
        """Parse the next frame if it has a whole, small, binary message; return None, with nothing done, if not."""
        websocket = self._websocket
        if websocket.is_discarding or not (self._is_parser_idle or websocket.is_between_frames):
            return None
        self._is_parser_idle = True
        read = read_frame(self._data, self._position)
        if read is None or len(read[0]) > websocket.max_message_size:
            return None
        self._position = read[1]
        return read[0]

    def _count_steps(self, work: Steps[None]) -> Steps[None]:
        for _ in work:
            self._steps += 1
            yield

    def _finished(self, _work: object) -> None:
        self._is_processing = False
        if self._steps > BUSY_STEPS:
            self._busy_until = perf_counter() + BUSY_TIME
        self._steps = 0
        self._websocket.resume_reading()

    def _failed(self, failure: Failure) -> None:
        self.log.failure("message not handled", failure)
        self._is_processing = False
        self._data = b""
        self._websocket.dropConnection(abort=True)

    def _process_queue(self) -> Steps[None]:
        """Process everything that is queued, and what is added meanwhile."""
        messages = self._messages
        while True:
            while self._work:
                yield from self._work.popleft()
                yield
            if self._position >= len(self._data):
                if not self._work_at_end:
                    return
                yield from self._work_at_end.popleft()
            elif self._websocket.is_handling_paused or (messages.left < 1 and self._websocket.messages_used_up()):
                return
            else:
                messages.left -= 1
                yield from self._read_frame()
                yield

    def _read_frame(self) -> Steps[None]:
        """Parse the next frame and handle it, or give Autobahn the next bytes."""
        websocket = self._websocket
        message = self._read_message()
        if message is not None:
            if not websocket.handle_small(message):
                yield from websocket.handle(message)
            return
        data, position = self._data, self._position
        if self._is_parser_idle and not websocket.is_discarding:
            heartbeat = read_heartbeat(data, position)
            if heartbeat is not None:
                self._position = heartbeat[1]
                if heartbeat[0] is not None:
                    websocket.ping_received(heartbeat[0])
                return
        size = min(websocket.payload_remaining, _PAYLOAD_CHUNK) or _FRAMES_CHUNK
        self._position += size
        self._is_parser_idle = False
        websocket.feed(data[position : position + size])
