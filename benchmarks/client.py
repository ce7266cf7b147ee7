"""One client of the generated load: a socket, the frames that come out of it, and the messages that go into it.

While a load runs, what comes in is kept as it came, with its time; it is taken apart later.
"""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Iterator, Sequence
from itertools import accumulate
from time import perf_counter
from urllib.parse import quote

from attrs import frozen

from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import encode_var_bytes, encode_var_string, encode_var_uint

#: Client ids of the generated load begin here; each client is known by where its own lies above.
FIRST_CLIENT_ID = 2**20

#: The version of the provider that Hocuspocus servers are told.
PROVIDER_VERSION = "4.8.0"

_BINARY, _CLOSE, _PING, _PONG = 0x2, 0x8, 0x9, 0xA
_RECEIVE_SIZE = 2**16


@frozen
class Place:
    """Where clients go.

    :ivar rooms: the names of the rooms.
    :ivar tokens: the sessions' tokens; the first member of each room has the first of them, and so on in turn.
    :ivar hocuspocus: whether Hocuspocus's protocol is spoken there, and not y-websocket's.
    """

    host: str
    port: int
    rooms: Sequence[str]
    tokens: Sequence[str]
    hocuspocus: bool = False


def frame_of(message: bytes, opcode: int = _BINARY) -> bytes:
    """A client's frame.  The mask is zeros, which is one like any other and leaves the bytes as they are."""
    size = len(message)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 2**16:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes((0x80 | opcode,)) + length + b"\x00\x00\x00\x00" + message


class Client:
    """One connection, to one room."""

    __slots__ = (
        "_chunks",
        "_head",
        "_id",
        "_place",
        "_rest",
        "_times",
        "_token",
        "_unsent",
        "ahead",
        "bytes",
        "connected_at",
        "frames",
        "number",
        "opened_at",
        "prefix",
        "reading",
        "room",
        "seen",
        "sent_at",
        "socket",
        "synced_at",
    )

    def __init__(self, place: Place, number: int, room: int, member: int) -> None:
        """:param number: which of all clients it is; `member`: which of those in its room."""
        self.number = number
        self.room = place.rooms[room]
        #: What every message begins with.
        self.prefix = encode_var_string(self.room) if place.hocuspocus else b""
        #: When each of its updates was sent.
        self.sent_at: list[float] = []
        # How far the server shows the cursor ahead of the clock that was said first.
        self.ahead = 0
        #: How far the others' clocks have come, as it has heard.
        self.seen: dict[int, int] = {}
        self.frames = self.bytes = 0
        self.connected_at = self.opened_at = self.synced_at = 0.0
        self.reading = True
        self._place = place
        self._token = place.tokens[member % len(place.tokens)]
        self._id = encode_var_uint(FIRST_CLIENT_ID + number)
        self._head = b""
        self._rest = b""
        self._chunks: list[bytes] = []
        self._times: list[float] = []
        self._unsent = b""
        self.socket = socket.socket(socket.AF_INET)

    # Opening

    def connect(self, receive_buffer: int | None = None) -> None:
        """Begin to connect, and ask for the document."""
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        place = self._place
        self.connected_at = perf_counter()
        self.socket.connect((place.host, place.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        path = "/" if place.hocuspocus else f"/{self.room}?token={quote(self._token)}"
        key = b64encode(self.number.to_bytes(16, "big")).decode()
        self._send(
            f"GET {path} HTTP/1.1\r\nHost: {place.host}:{place.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def take_head(self, vector: bytes) -> bool:
        """Look whether the handshake has been answered, and go on if it has: `vector` says what is known already.

        :raises ConnectionError: if the server refuses.
        """
        if self.opened_at:
            return True
        self._head += b"".join(self._chunks)
        self._chunks, self._times = [], []
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            return False
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(f"the handshake was answered with {head.decode(errors='replace')!r}")
        self.opened_at = perf_counter()
        if rest:
            self._chunks, self._times = [rest], [self.opened_at]
        if self._place.hocuspocus:
            token, version = encode_var_string(self._token), encode_var_string(PROVIDER_VERSION)
            self.send(b"\x02\x00" + token + version)
        else:
            self.ask(vector)
        return True

    def ask(self, vector: bytes) -> None:
        """Ask for what lies beyond a state vector."""
        self.send(sync.encode_step_1(vector))

    # Speaking

    def type(self, size: int) -> None:
        """Send the next edit: a character more in a text of its own, or that many bytes more in an array."""
        clock = len(self.sent_at)
        if clock:
            item = b"\x80", self._id + encode_var_uint(clock - 1)
        else:
            item = b"\x00", b"\x01" + encode_var_string(f"text {self.number}")
        info, parent = item
        kind, content = (4, b"\x01x") if size == 1 else (3, encode_var_bytes(bytes(size)))
        struct = bytes((info[0] | kind,)) + parent + content
        update = b"\x01\x01" + self._id + encode_var_uint(clock) + struct + b"\x00"
        self.sent_at.append(perf_counter())
        self.send(sync.encode_update(update))

    def point(self) -> None:
        """Move the cursor."""
        clock = len(self.sent_at) + 1 + self.ahead
        state = (
            f'{{"user":{{"name":"Person {self.number}","color":"#30bced"}},'
            f'"cursor":{{"x":{(clock * 37) % 1920},"y":{(clock * 19) % 1080}}}}}'
        )
        entry = self._id + encode_var_uint(clock) + encode_var_string(state)
        self.sent_at.append(perf_counter())
        self.send(b"\x01" + encode_var_bytes(b"\x01" + entry))

    def send(self, message: bytes) -> None:
        """Send a message."""
        self._send(frame_of(self.prefix + message))

    def send_frames(self, frames: bytes) -> None:
        """Send frames that were made before."""
        self._send(frames)

    def _send(self, data: bytes) -> None:
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent != len(data):
            self._unsent = data[sent:]

    @property
    def backpressure_started(self) -> bool:
        """Whether something waits that the server does not read."""
        return bool(self._unsent)

    def resume(self) -> None:
        """Send what waits."""
        waiting, self._unsent = self._unsent, b""
        self._send(waiting)

    # Hearing

    def receive(self) -> float:
        """Take what has come in; returns when.

        :raises ConnectionError: if the server has closed the socket.
        """
        data = self.socket.recv(_RECEIVE_SIZE)
        now = perf_counter()
        if not data:
            raise ConnectionError(f"the server cut off client {self.number}")
        self._chunks.append(data)
        self._times.append(now)
        return now

    def messages(self) -> Iterator[tuple[float, bytes]]:
        """The messages that have come in since the last call, each with the time at which its end came.

        :raises ConnectionError: if the server says that it closes the connection.
        """
        if not self._chunks:
            return
        chunks, times = self._chunks, self._times
        self._chunks, self._times = [], []
        data = b"".join((self._rest, *chunks))
        self.bytes += len(data) - len(self._rest)
        ends = list(accumulate(map(len, chunks), initial=len(self._rest)))
        position, chunk, end, frames = 0, 1, len(data), 0
        while end - position >= 2:
            start, size = position + 2, data[position + 1]
            if size > 125:
                width = 2 if size == 126 else 8
                size = int.from_bytes(data[start : start + width], "big") if end >= start + width else end
                start += width
            stop = start + size
            if stop > end:
                break
            while ends[chunk] < stop:
                chunk += 1
            opcode = data[position] & 0xF
            position = stop
            if opcode == _BINARY:
                frames += 1
                yield times[chunk - 1], data[start:stop]
            elif opcode == _PING:
                self._send(frame_of(data[start:stop], _PONG))
            elif opcode == _CLOSE:
                code, reason = int.from_bytes(data[start : start + 2], "big"), data[start + 2 : stop]
                raise ConnectionError(f"the server closed client {self.number}: {code} {reason.decode()}")
        self.frames += frames
        self._rest = data[position:]

    def close(self) -> None:
        """Leave, without a word."""
        self.socket.close()
