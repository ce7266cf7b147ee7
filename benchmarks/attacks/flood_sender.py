"""The process that sends a flood over its connections, and opens those again that are closed."""

from __future__ import annotations

import os
import selectors
import socket
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from time import perf_counter, sleep

from attrs import define, field, frozen

from benchmarks.attacks.floods import FLOODS, Flood
from benchmarks.attacks.payloads import PIECE, Attacker
from benchmarks.processes import NICENESS
from canvas_collab.protocol.lib0 import encode_var_string
from tests.support.attacks.encoding import frame
from tests.support.attacks.framing import ROOM
from tests.support.attacks.shape import WireProtocol

#: Pieces much smaller than :data:`~benchmarks.attacks.payloads.PIECE` are sent at this interval, in seconds.
SLOW_INTERVAL = 0.2

#: The time until a connection that was refused or closed is opened again, in seconds.
RECONNECT_DELAY = 0.001

#: SO_LINGER with a timeout of 0: closing resets the connection.
_LINGER = struct.pack("ii", 1, 0)


@frozen
class SentValue:
    """What a flood sent.

    :ivar bytes: the number of bytes; `connections`: the number of connections.
    :ivar closings: how often connections ended, by the reason.
    """

    bytes: int
    connections: int
    closings: Mapping[str, int]


class FloodSender:
    """The process; the flood starts when it is created."""

    def __init__(self, flood: Flood, port: int, tokens: Sequence[str], seconds: float, cores: Sequence[int]) -> None:
        """:param tokens: the session token of each connection.
        :param cores: the cores that the process may use.
        """
        context = get_context("spawn")
        self._answer, theirs = context.Pipe(False)
        arguments = (theirs, flood.name, port, list(tokens), seconds, list(cores))
        self._process = context.Process(target=_run, args=arguments, daemon=True)
        self._process.start()
        self._answer.recv()

    def wait(self, timeout: float) -> SentValue:
        """Return when the flood is over.

        :raises AssertionError: if that takes longer than `timeout` seconds.
        """
        if not self._answer.poll(timeout):
            self._process.kill()
            raise AssertionError("the flood does not end")
        sent: SentValue = self._answer.recv()
        self._process.join()
        return sent


@define(eq=False)
class _Connection:
    """A connection that is opened again whenever it ends.

    :ivar socket: None while it is not connected.
    :ivar unsent: the rest of the current piece.
    :ivar pieces: the pieces after that.
    :ivar is_upgraded: whether the WebSocket handshake is done; `is_open`: whether pieces may be sent.
    :ivar received: what was received before it was open.
    :ivar not_before: when it may be connected, or may send the next small piece, by `perf_counter`.
    """

    token: str
    socket: socket.socket | None = None
    unsent: memoryview = memoryview(b"")
    pieces: Iterator[bytes] = field(factory=lambda: iter(()))
    is_upgraded: bool = False
    is_open: bool = False
    received: bytes = b""
    not_before: float = 0.0


class _Sender:
    """Sends a flood in this process."""

    def __init__(self, flood: Flood, port: int, tokens: Sequence[str]) -> None:
        self._flood = flood
        self._port = port
        self._all = [_Connection(token) for token in tokens for _ in range(flood.times)]
        self._selector = selectors.DefaultSelector()
        self._bytes = self._connections = 0
        self._closings: Counter[str] = Counter()

    def run(self, seconds: float) -> SentValue:
        """Send for so many seconds."""
        deadline = perf_counter() + seconds
        while (now := perf_counter()) < deadline:
            for one in self._all:
                if one.socket is None and one.not_before <= now:
                    self._connect(one)
            before = self._bytes
            for key, events in self._selector.select(0.01):
                one = key.data
                try:
                    if one.socket is not None and events & selectors.EVENT_READ:
                        self._receive(one, one.socket)
                    if one.socket is not None and events & selectors.EVENT_WRITE:
                        self._send(one, one.socket)
                except BlockingIOError:
                    pass
                except OSError as error:
                    self._lost(one, type(error).__name__)
            if self._bytes == before:
                # Connections that wait to send a small piece are writable; without this, the loop would be busy.
                sleep(0.001)
        for one in self._all:
            if one.socket is not None:
                one.socket.close()
        return SentValue(self._bytes, self._connections, dict(self._closings))

    def _connect(self, one: _Connection) -> None:
        one.socket = connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        try:
            connection.settimeout(10)
            connection.connect(("127.0.0.1", self._port))
        except OSError as error:
            self._lost(one, type(error).__name__)
            return
        connection.setblocking(False)
        self._connections += 1
        one.received, one.unsent = b"", memoryview(b"")
        one.pieces = self._flood.pieces(Attacker(self._connections, one.token))
        one.is_open = one.is_upgraded = not self._flood.upgrades
        if self._flood.upgrades:
            path = f"/{ROOM}?token={one.token}" if self._flood.protocol is WireProtocol.Y_WEBSOCKET else "/"
            handshake = (
                f"GET {path} HTTP/1.1\r\nHost: daemon\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            one.unsent = memoryview(handshake.encode())
        self._selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE, one)

    def _receive(self, one: _Connection, connection: socket.socket) -> None:
        if one.is_open and not self._flood.reads:
            # It stays registered for writing, so that a failing send shows when the connection has ended.
            self._selector.modify(connection, selectors.EVENT_WRITE, one)
            return
        data = connection.recv(2**18)
        if not data:
            self._lost(one, "closed")
            return
        if one.is_open:
            if self._flood.ends:
                self._lost(one, "done")
            return
        one.received += data
        if not one.is_upgraded:
            head, end, rest = one.received.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head:
                self._lost(one, head[9:12].decode())
                return
            one.received, one.is_upgraded = rest, True
            if self._flood.protocol is WireProtocol.HOCUSPOCUS:
                address, version = encode_var_string(ROOM), encode_var_string("4.8.0")
                one.unsent = memoryview(frame(address + b"\x02\x00" + encode_var_string(one.token) + version))
        if self._flood.protocol is not WireProtocol.HOCUSPOCUS or b"\x02\x02" in one.received:
            one.is_open = True
        self._selector.modify(connection, selectors.EVENT_READ | selectors.EVENT_WRITE, one)

    def _send(self, one: _Connection, connection: socket.socket) -> None:
        if not one.unsent:
            if not one.is_open:
                # There is nothing to send until the server has answered.
                self._selector.modify(connection, selectors.EVENT_READ, one)
                return
            piece = next(one.pieces, None)
            if piece is None:
                self._finish(one, connection)
                return
            if len(piece) < PIECE // 64 and not self._flood.ends:
                if one.not_before > perf_counter():
                    return
                one.not_before = perf_counter() + SLOW_INTERVAL
            one.unsent = memoryview(piece)
        sent = connection.send(one.unsent)
        one.unsent = one.unsent[sent:]
        self._bytes += sent

    def _finish(self, one: _Connection, connection: socket.socket) -> None:
        """After the last piece, wait for an answer, or close the connection."""
        if self._flood.ends and self._flood.name != "connections":
            self._selector.modify(connection, selectors.EVENT_READ, one)
        else:
            self._lost(one, "done")

    def _lost(self, one: _Connection, why: str) -> None:
        connection, one.socket, one.is_open = one.socket, None, False
        self._closings[why] += 1
        if connection is not None:
            if connection.fileno() in self._selector.get_map():
                self._selector.unregister(connection)
            connection.close()
        one.not_before = perf_counter() + RECONNECT_DELAY


def _run(answer: Connection, name: str, port: int, tokens: Sequence[str], seconds: float, cores: Sequence[int]) -> None:
    os.sched_setaffinity(0, cores)
    # The bystanders measure, so they get a higher priority.
    os.nice(NICENESS)
    sender = _Sender(FLOODS[name], port, tokens)
    answer.send(None)
    answer.send(sender.run(seconds))
