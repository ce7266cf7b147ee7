"""A client that sends prepared bytes, and finds out when the server has handled them."""

from __future__ import annotations

import select
import socket
from time import perf_counter
from types import TracebackType
from typing import Any

from canvas_collab.protocol.lib0 import encode_var_string
from tests.support.attacks.encoding import CLOSE, PING, PONG, frame, take_frames
from tests.support.attacks.shape import WireProtocol

#: The payload of the ping that is sent after the bytes; its pong shows that they were handled.
_PAYLOAD = b"done?"


class AttackClient:
    """A connection that has opened a room, to be used in a with statement."""

    def __init__(self, port: int, room: str, token: str, protocol: WireProtocol = WireProtocol.Y_WEBSOCKET) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._received = bytearray()
        path = f"/{room}?token={token}" if protocol is WireProtocol.Y_WEBSOCKET else "/"
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: daemon\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._received:
            data = self._socket.recv(2**16)
            if not data:
                break
            self._received += data
        head, _, rest = bytes(self._received).partition(b"\r\n\r\n")
        if b" 101 " not in head:
            raise AssertionError(f"handshake refused: {head!r}")
        self._received = bytearray(rest)
        #: The code with which the server closed the connection, or None; 1006 if there was no close frame.
        self.closed: int | None = None
        if protocol is WireProtocol.HOCUSPOCUS:
            address, version = encode_var_string(room), encode_var_string("4.8.0")
            self._socket.sendall(frame(address + b"\x02\x00" + encode_var_string(token) + version))
            self.send(b"", 30)

    def __enter__(self) -> AttackClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes, timeout: float) -> bool:
        """Send bytes; return whether the server handled them, or closed the connection, within `timeout` seconds."""
        deadline = perf_counter() + timeout
        unsent: Any = memoryview(data + frame(_PAYLOAD, PING))
        self._socket.setblocking(False)
        while self.closed is None:
            remaining = deadline - perf_counter()
            if remaining <= 0:
                return False
            readable, writable, _ = select.select([self._socket], [self._socket] if unsent else [], [], remaining)
            try:
                if writable:
                    unsent = unsent[self._socket.send(unsent[: 2**18]) :]
                if readable:
                    data = self._socket.recv(2**20)
                    if not data:
                        self.closed = 1006
                        break
                    self._received += data
                    if self._read_frames():
                        return True
            except BlockingIOError:
                pass
            except OSError:
                # A close frame may still be in the socket's buffer.
                self._drain()
        return True

    def _drain(self) -> None:
        try:
            while data := self._socket.recv(2**20):
                self._received += data
        except OSError:
            pass
        self._read_frames()
        self.closed = self.closed or 1006

    def _read_frames(self) -> bool:
        """Read the frames received so far; return whether the pong is among them."""
        found = False
        for opcode, payload in take_frames(self._received):
            if opcode == PONG and payload == _PAYLOAD:
                found = True
            elif opcode == CLOSE:
                self.closed = int.from_bytes(payload[:2], "big")
        return found
