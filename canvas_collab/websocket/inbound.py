"""What comes in on one client's socket: taken apart and dealt with in order, and no longer at a time than is fair.

A client whose messages are dealt with in a few milliseconds never waits.  For one that needs more the rest is done in
slices, in turn with all other such clients; nothing more is read of it until that is done, so what waits is bounded by
its own socket.
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import Protocol

from twisted.internet.task import Cooperator
from twisted.logger import Logger
from twisted.python.failure import Failure

from canvas_collab.protocol.frames import read_frame, read_heartbeat
from canvas_collab.protocol.steps import Steps

#: For how long a client may keep the reactor at once, in seconds.
AT_ONCE = 0.001

#: A client whose messages have taken so many steps more gets its turns with others of that kind for so many seconds.
BUSY_AFTER = 16
BUSY_FOR = 0.5

#: How many bytes Autobahn is given at a time: that many can be frames of six bytes each, or the payload of one.
_SMALL_FRAMES = 2**8
_PAYLOAD = 2**14


class Owner(Protocol):
    """The client's WebSocket."""

    @property
    def message_max(self) -> int:
        """How large a message may be."""

    @property
    def is_between_frames(self) -> bool:
        """Whether the next byte begins a frame, and no fragmented message is under way."""

    @property
    def payload_left(self) -> int:
        """How many bytes of the payload are to come of the frame that Autobahn reads."""

    @property
    def is_over(self) -> bool:
        """Whether nothing that the client sends counts any more, but for the end of the WebSocket."""

    @property
    def is_waiting(self) -> bool:
        """Whether what has come in is to be kept for later; :meth:`InboundQueue.go_on` is called then."""

    def handle(self, message: bytes) -> Steps[None]:
        """Deal with a message, without raising."""

    def pinged(self, payload: bytes) -> None:
        """Answer a ping."""

    def feed(self, data: bytes) -> None:
        """Give Autobahn what it has to read; messages in it are added to this queue."""

    def pause_reading(self) -> None:
        """Read nothing of the socket."""

    def resume_reading(self) -> None:
        """Read from the socket again."""

    def dropConnection(self, abort: bool) -> None:
        """End the connection."""


class InboundQueue:
    """One client's bytes and messages that are still to be dealt with."""

    log = Logger()

    __slots__ = (
        "_at_end",
        "_busy_until",
        "_cooperator",
        "_data",
        "_is_running",
        "_owner",
        "_position",
        "_steps",
        "_work",
    )

    def __init__(self, owner: Owner, cooperator: Cooperator) -> None:
        self._owner = owner
        self._cooperator = cooperator
        self._data = b""
        self._position = 0
        # What has been taken out of that, in order.
        self._work: deque[Steps[None]] = deque()
        self._at_end: deque[Steps[None]] = deque()
        self._is_running = False
        self._steps = 0
        self._busy_until = 0.0

    def received(self, data: bytes) -> None:
        """Bytes have come in."""
        self._data = self._data[self._position :] + data
        self._position = 0
        self.go_on()

    def add(self, steps: Steps[None]) -> None:
        """Do this after the messages that have been taken out of what came in."""
        self._work.append(steps)
        self.go_on()

    def add_at_end(self, steps: Steps[None]) -> None:
        """Do this after everything that has come in."""
        self._at_end.append(steps)
        self.go_on()

    def go_on(self) -> None:
        """Deal with what is there, unless that is being done."""
        if self._is_running:
            return
        self._is_running = True
        work = self._all()
        started = perf_counter()
        if started >= self._busy_until:
            for _ in work:
                if perf_counter() - started > AT_ONCE:
                    break
            else:
                self._is_running = False
                return
        self._owner.pause_reading()
        self._cooperator.coiterate(self._counted(work)).addCallbacks(self._finished, self._failed)

    def _counted(self, work: Steps[None]) -> Steps[None]:
        for _ in work:
            self._steps += 1
            yield

    def _finished(self, _work: object) -> None:
        self._is_running = False
        if self._steps > BUSY_AFTER:
            self._busy_until = perf_counter() + BUSY_FOR
        self._steps = 0
        self._owner.resume_reading()

    def _failed(self, failure: Failure) -> None:
        self.log.failure("message not handled", failure)
        self._is_running = False
        self._data = b""
        self._owner.dropConnection(abort=True)

    def _all(self) -> Steps[None]:
        """Deal with everything that is there."""
        while True:
            while self._work:
                yield from self._work.popleft()
                yield
            if self._position >= len(self._data):
                if not self._at_end:
                    return
                yield from self._at_end.popleft()
            elif self._owner.is_waiting:
                return
            else:
                yield from self._read_frame()
                yield

    def _read_frame(self) -> Steps[None]:
        """Take the next frame out of the bytes, and deal with it."""
        owner, data, position = self._owner, self._data, self._position
        if owner.is_between_frames and not owner.is_over:
            read = read_frame(data, position)
            if read is not None and len(read[0]) <= owner.message_max:
                self._position = read[1]
                yield from owner.handle(read[0])
                return
            heartbeat = read_heartbeat(data, position)
            if heartbeat is not None:
                self._position = heartbeat[1]
                if heartbeat[0] is not None:
                    owner.pinged(heartbeat[0])
                return
        size = min(owner.payload_left, _PAYLOAD) or _SMALL_FRAMES
        self._position += size
        owner.feed(data[position : position + size])
