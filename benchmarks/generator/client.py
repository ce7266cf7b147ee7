"""One client of the generator: a WebSocket connection to one room, on a plain socket.

Receiving and parsing are separate steps: :meth:`Client.receive` stores data with its time of arrival, and
:meth:`Client.messages` parses it later.
"""

from __future__ import annotations

import socket
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from time import perf_counter
from typing import TYPE_CHECKING
from urllib.parse import quote

from benchmarks.endpoint import Endpoint
from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import encode_var_bytes, encode_var_string, encode_var_uint

if TYPE_CHECKING:
    from benchmarks.recordings import Author

#: The Yjs client id of the client with number 0; the others' follow.
FIRST_CLIENT_ID = 2**20

#: The provider version in the authentication messages to Hocuspocus servers.
PROVIDER_VERSION = "4.8.0"

_BINARY, _CLOSE, _PING, _PONG = 0x2, 0x8, 0x9, 0xA
_RECEIVE_SIZE = 2**16


def frame_of(message: bytes, opcode: int = _BINARY) -> bytes:
    """A WebSocket frame as clients send it; its mask is four zero bytes, which leaves the payload unchanged."""
    size = len(message)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 2**16:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes((0x80 | opcode,)) + length + b"\x00\x00\x00\x00" + message


class Client:
    """A connection to one room.

    :ivar number: its number in the generator, from 0 on.
    :ivar room: the name of its room.
    :ivar prefix: what every message to the server starts with: with Hocuspocus's protocol the name of the document.
    :ivar sent_at: when each of its updates was sent, by `perf_counter`, in order.
    :ivar clocks: how many updates of each other client have arrived, by that client's number.
    :ivar author: the recording of what it does, if it replays one.
    :ivar clock_offset: how far the server shows the cursor's clock ahead of the one that the client sent first.
    :ivar frames: the number of messages parsed; `bytes`: the number of bytes.
    :ivar connected_at: when it started to connect; `opened_at`: when the handshake was answered; `synced_at`: when it
        had the document; by `perf_counter`, 0 until then.
    """

    __slots__ = (
        "_chunks",
        "_endpoint",
        "_head",
        "_id",
        "_rest",
        "_times",
        "_token",
        "_unsent",
        "author",
        "bytes",
        "clock_offset",
        "clocks",
        "connected_at",
        "frames",
        "number",
        "opened_at",
        "prefix",
        "room",
        "sent_at",
        "socket",
        "synced_at",
    )

    def __init__(self, endpoint: Endpoint, number: int, room: int, member: int) -> None:
        """:param number: its number in the generator; `room`: the index of its room in the endpoint's.
        :param member: its index in the room, which selects its token.
        """
        self.number = number
        self.room = endpoint.rooms[room]
        self.prefix = encode_var_string(self.room) if endpoint.hocuspocus else b""
        self.sent_at: list[float] = []
        self.clocks: dict[int, int] = {}
        self.author: Author | None = None
        self.clock_offset = 0
        self.frames = self.bytes = 0
        self.connected_at = self.opened_at = self.synced_at = 0.0
        self._endpoint = endpoint
        self._token = endpoint.tokens[member % len(endpoint.tokens)]
        self._id = encode_var_uint(FIRST_CLIENT_ID + number)
        self._head = b""
        self._rest = b""
        self._chunks: list[bytes] = []
        self._times: list[float] = []
        self._unsent = b""
        self.socket = socket.socket(socket.AF_INET)

    def connect(self) -> None:
        """Connect, and send the opening handshake."""
        endpoint = self._endpoint
        self.connected_at = perf_counter()
        self.socket.connect((endpoint.host, endpoint.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        path = "/" if endpoint.hocuspocus else f"/{self.room}?token={quote(self._token)}"
        key = b64encode(self.number.to_bytes(16, "big")).decode()
        self.send_bytes(
            f"GET {path} HTTP/1.1\r\nHost: {endpoint.host}:{endpoint.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def read_handshake(self, vector: bytes) -> bool:
        """Read the answer to the handshake, and then authenticate (Hocuspocus) or send sync step 1.

        :param vector: the state vector for sync step 1.
        :return: whether the connection is open.
        :raises ConnectionError: if the server refuses the connection.
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
        if self._endpoint.hocuspocus:
            token, version = encode_var_string(self._token), encode_var_string(PROVIDER_VERSION)
            self.send(b"\x02\x00" + token + version)
        else:
            self.send_step_1(vector)
        return True

    def send_step_1(self, vector: bytes) -> None:
        """Send sync step 1 with a state vector."""
        self.send(sync.encode_step_1(vector))

    def send_edit(self, size: int) -> None:
        """Send the next edit of a text of its own: one character for `size` 1, otherwise so many bytes of binary."""
        clock = len(self.sent_at)
        if clock:
            info, position = 0x80, self._id + encode_var_uint(clock - 1)
        else:
            info, position = 0x00, b"\x01" + encode_var_string(f"text {self.number}")
        kind, content = (4, b"\x01x") if size == 1 else (3, encode_var_bytes(bytes(size)))
        struct = bytes((info | kind,)) + position + content
        update = b"\x01\x01" + self._id + encode_var_uint(clock) + struct + b"\x00"
        self.sent_at.append(perf_counter())
        self.send(sync.encode_update(update))

    def send_recorded_edit(self) -> None:
        """Send the next update of the recording."""
        assert self.author is not None, "it replays a recording"
        update = self.author.updates[len(self.sent_at)]
        self.sent_at.append(perf_counter())
        self.send(sync.encode_update(update))

    def sent_between(self, start: int, end: int) -> list[float]:
        """When those of its updates were sent that end after clock `start` and not after clock `end`."""
        if self.author is None:
            return self.sent_at[start:end]
        ends = self.author.ends
        return self.sent_at[bisect_right(ends, start) : bisect_right(ends, end)]

    def send_cursor(self) -> None:
        """Send an awareness update with the next cursor position."""
        clock = len(self.sent_at) + 1 + self.clock_offset
        state = (
            f'{{"user":{{"name":"Person {self.number}","color":"#30bced"}},'
            f'"cursor":{{"x":{(clock * 37) % 1920},"y":{(clock * 19) % 1080}}}}}'
        )
        entry = self._id + encode_var_uint(clock) + encode_var_string(state)
        self.sent_at.append(perf_counter())
        self.send(b"\x01" + encode_var_bytes(b"\x01" + entry))

    def send(self, message: bytes) -> None:
        """Send a message of the room's protocol."""
        self.send_bytes(frame_of(self.prefix + message))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are; what the socket does not take now is kept as unsent data."""
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
    def has_unsent_data(self) -> bool:
        """Whether there is data that the socket has not taken, because the server does not read fast enough."""
        return bool(self._unsent)

    def send_unsent(self) -> None:
        """Send as much of the unsent data as the socket takes."""
        waiting, self._unsent = self._unsent, b""
        self.send_bytes(waiting)

    def receive(self) -> None:
        """Read from the socket, and store the data with its time of arrival.

        :raises BlockingIOError: if there is no data.
        :raises ConnectionError: if the server has closed the socket.
        """
        data = self.socket.recv(_RECEIVE_SIZE)
        now = perf_counter()
        if not data:
            raise ConnectionError(f"the server closed the socket of client {self.number}")
        self._chunks.append(data)
        self._times.append(now)

    def messages(self) -> Iterator[tuple[float, bytes]]:
        """Parse what was received since the last call; pings are answered.

        :return: the messages, each with the time of arrival of its last byte.
        :raises ConnectionError: if the server has sent a close frame.
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
                self.send_bytes(frame_of(data[start:stop], _PONG))
            elif opcode == _CLOSE:
                code, reason = int.from_bytes(data[start : start + 2], "big"), data[start + 2 : stop]
                raise ConnectionError(f"the server closed client {self.number}: {code} {reason.decode()}")
        self.frames += frames
        self._rest = data[position:]

    def close(self) -> None:
        """Close the socket, without a close frame."""
        self.socket.close()
