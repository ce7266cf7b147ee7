"""Several connections that send messages as fast as the daemon handles them, and record which it refused."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from functools import partial
from types import TracebackType

from tests.support.attacks.encoding import CLOSE, PING, PONG, frame, take_frames
from tests.support.daemons import Daemon
from tests.support.databases import User

#: How many messages a connection sends before the first of them is answered.
WINDOW = 3

#: How long any answer of the daemon may take, in seconds.
PATIENCE = 30.0

_PING_FRAME = frame(b"", PING)


class ConcurrentSenders:
    """Connections of one user that send messages to a room, in a thread of their own, until all are sent.

    Every message is followed by a ping, and the daemon handles messages in order: if the pong comes, the message was
    accepted; if the daemon closes the connection, the first message without a pong was refused. The connection is
    opened anew then, and goes on with the next message.

    :ivar accepted: the messages that were accepted.
    :ivar refused: the messages that were refused, each with the close code and reason.
    :ivar failures: what must not happen: handshakes that are refused, connections that end without a close frame.
    :ivar seconds: how long it took.
    """

    def __init__(self, daemon: Daemon, room: str, user: User, messages: Iterable[bytes], count: int) -> None:
        self.accepted: list[bytes] = []
        self.refused: list[tuple[bytes, int, str]] = []
        self.failures: list[str] = []
        self.seconds = 0.0
        self._address = ("127.0.0.1", daemon.ws_port)
        self._request = (
            f"GET /{room}?token={user.token} HTTP/1.1\r\nHost: daemon\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ).encode()
        self._waiting = deque(messages)
        self._count = count
        self._progress = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> ConcurrentSenders:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._waiting.clear()
        else:
            self.wait_until_over()
        self._thread.join(PATIENCE)

    @property
    def answered(self) -> int:
        """How many messages were accepted or refused so far."""
        return len(self.accepted) + len(self.refused)

    @property
    def codes(self) -> Counter[int]:
        """How often the daemon closed a connection, by close code."""
        return Counter(code for _message, code, _reason in self.refused)

    def wait_until_answered(self, count: int) -> bool:
        """Wait until so many messages were accepted or refused; return False if there are no more."""
        with self._progress:
            while self.answered < count and not self._over:
                assert self._progress.wait(PATIENCE), f"the daemon stopped answering after {self.answered} messages"
        return self.answered >= count

    def wait_until_over(self) -> None:
        """Wait until all messages were accepted or refused."""
        with self._progress:
            while not self._over:
                assert self._progress.wait(PATIENCE), f"the daemon stopped answering after {self.answered} messages"

    def _run(self) -> None:
        started = time.monotonic()
        try:
            asyncio.run(self._send_all())
        except Exception as error:
            self.failures.append(repr(error))
        self.seconds = time.monotonic() - started
        self._over = True
        self._notify()

    async def _send_all(self) -> None:
        await asyncio.gather(*(self._send_with_reconnects() for _ in range(self._count)))

    async def _send_with_reconnects(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and not self.failures:
            sender = _Sender(self._request, self._waiting, self.accepted)
            try:
                await asyncio.wait_for(
                    loop.create_connection(partial(_protocol_factory, sender), *self._address), PATIENCE
                )
                await asyncio.wait_for(sender.ended, PATIENCE)
            except (OSError, asyncio.TimeoutError) as error:
                sender.failure = f"the daemon does not answer: {error!r}"
            finally:
                sender.abort()
            if sender.closed is not None:
                offender = sender.outstanding.popleft() if sender.outstanding else b""
                self.refused.append((offender, *sender.closed))
            if sender.failure is not None:
                self.failures.append(f"{sender.failure}; waiting for an answer: {[*sender.outstanding]}")
            self._waiting.extendleft(reversed(sender.outstanding))
            self._notify()

    def _notify(self) -> None:
        with self._progress:
            self._progress.notify_all()


class _Sender(asyncio.Protocol):
    """The protocol of one connection."""

    def __init__(self, request: bytes, waiting: deque[bytes], accepted: list[bytes]) -> None:
        self.outstanding: deque[bytes] = deque()
        self.closed: tuple[int, str] | None = None
        self.failure: str | None = None
        #: Fires when the connection has ended.
        self.ended = asyncio.get_running_loop().create_future()
        self._request = request
        self._waiting = waiting
        self._accepted = accepted
        self._received = bytearray()
        self._is_open = False
        self._transport: asyncio.Transport | None = None

    def abort(self) -> None:
        """Abort the connection, if there is one."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._is_open:
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self.failure = f"handshake refused: {bytes(head)!r}"
                self.abort()
                return
            self._is_open = True
            self._received = rest
            self._send()
        self._read_frames()

    def connection_lost(self, error: Exception | None) -> None:
        if self.closed is None and self.failure is None and self.outstanding:
            self.failure = f"closed without a close frame: {error!r}"
        if not self.ended.done():
            self.ended.set_result(None)

    def _read_frames(self) -> None:
        for opcode, payload in take_frames(self._received):
            if opcode == PONG:
                self._accepted.append(self.outstanding.popleft())
                self._send()
            elif opcode == CLOSE:
                self._was_closed(payload)

    def _was_closed(self, payload: bytes) -> None:
        assert self._transport is not None
        self.closed = (int.from_bytes(payload[:2], "big"), payload[2:].decode())
        self._transport.write(frame(payload[:2], CLOSE))

    def _send(self) -> None:
        assert self._transport is not None
        frames = []
        while self._waiting and len(self.outstanding) < WINDOW:
            message = self._waiting.popleft()
            self.outstanding.append(message)
            frames += [frame(message), _PING_FRAME]
        if frames:
            self._transport.write(b"".join(frames))
        elif not self.outstanding:
            self._transport.close()


def _protocol_factory(sender: _Sender) -> _Sender:
    return sender
