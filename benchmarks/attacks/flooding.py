"""The process that sends a flood: its connections are served in turn, and come back when they were closed."""

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
from typing import Any

from attrs import define, field, frozen

from benchmarks.attacks.floods import FLOODS, PIECE, Attacker, Flood
from benchmarks.processes import NICENESS
from canvas_collab.protocol.lib0 import encode_var_string
from tests.support.attacks.encoding import frame
from tests.support.attacks.framing import ROOM
from tests.support.attacks.shape import WireProtocol

#: Pieces that are smaller come one every so many seconds.
SLOWLY = 0.2

#: After a connection was refused or closed, the next one comes after so many seconds.
RETURN = 0.001

_LINGER = struct.pack("ii", 1, 0)


@frozen
class SentValue:
    """What a flood came to."""

    bytes: int
    connections: int
    closings: Mapping[str, int]


class Flooding:
    """The process; it begins at once."""

    def __init__(self, flood: Flood, port: int, tokens: Sequence[str], seconds: float, cores: Sequence[int]) -> None:
        """:param tokens: one for each connection."""
        context = get_context("spawn")
        self._answer, theirs = context.Pipe(False)
        arguments = (theirs, flood.name, port, list(tokens), seconds, list(cores))
        self._process = context.Process(target=_run, args=arguments, daemon=True)
        self._process.start()
        self._answer.recv()

    def wait(self, patience: float) -> SentValue:
        """Return when it is over."""
        if not self._answer.poll(patience):
            self._process.kill()
            raise AssertionError("the flood does not end")
        sent: SentValue = self._answer.recv()
        self._process.join()
        return sent


@define(eq=False)
class _Socket:
    """One connection."""

    token: str
    socket: Any = None
    waiting: Any = b""
    pieces: Iterator[bytes] = field(factory=lambda: iter(()))
    is_open: bool = False
    is_heard: bool = False
    received: bytes = b""
    not_before: float = 0.0


class _Attack:
    def __init__(self, flood: Flood, port: int, tokens: Sequence[str]) -> None:
        self._flood = flood
        self._port = port
        self._sockets = [_Socket(token) for token in tokens for _ in range(flood.times)]
        self._selector = selectors.DefaultSelector()
        self._bytes = self._connections = 0
        self._closings: Counter[str] = Counter()

    def run(self, seconds: float) -> SentValue:
        deadline = perf_counter() + seconds
        while (now := perf_counter()) < deadline:
            for one in self._sockets:
                if one.socket is None and one.not_before <= now:
                    self._connect(one)
            before = self._bytes
            for key, events in self._selector.select(0.01):
                one = key.data
                try:
                    if events & selectors.EVENT_READ:
                        self._receive(one)
                    if one.socket is not None and events & selectors.EVENT_WRITE:
                        self._send(one)
                except BlockingIOError:
                    pass
                except OSError as error:
                    self._lost(one, type(error).__name__)
            if self._bytes == before:
                # A socket that could be sent to, and has nothing to say yet, would be asked again at once.
                sleep(0.001)
        for one in self._sockets:
            if one.socket is not None:
                one.socket.close()
        return SentValue(self._bytes, self._connections, dict(self._closings))

    def _connect(self, one: _Socket) -> None:
        one.socket = socket.socket()
        one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        try:
            one.socket.settimeout(10)
            one.socket.connect(("127.0.0.1", self._port))
        except OSError as error:
            self._lost(one, type(error).__name__)
            return
        one.socket.setblocking(False)
        self._connections += 1
        one.received, one.waiting = b"", b""
        one.pieces = self._flood.pieces(Attacker(self._connections, one.token))
        one.is_open = one.is_heard = not self._flood.upgrades
        if self._flood.upgrades:
            path = f"/{ROOM}?token={one.token}" if self._flood.protocol is WireProtocol.Y_WEBSOCKET else "/"
            one.waiting = (
                f"GET {path} HTTP/1.1\r\nHost: daemon\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ).encode()
        self._selector.register(one.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, one)

    def _receive(self, one: _Socket) -> None:
        if one.is_open and not self._flood.reads:
            # Watched, all the same: what cannot be sent any more says that the connection has gone.
            self._selector.modify(one.socket, selectors.EVENT_WRITE, one)
            return
        data = one.socket.recv(2**18)
        if not data:
            self._lost(one, "closed")
            return
        if one.is_open:
            if self._flood.ends:
                self._lost(one, "done")
            return
        one.received += data
        if not one.is_heard:
            head, end, rest = one.received.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head:
                self._lost(one, head[9:12].decode())
                return
            one.received, one.is_heard = rest, True
            if self._flood.protocol is WireProtocol.HOCUSPOCUS:
                address, version = encode_var_string(ROOM), encode_var_string("4.8.0")
                one.waiting = frame(address + b"\x02\x00" + encode_var_string(one.token) + version)
        if self._flood.protocol is not WireProtocol.HOCUSPOCUS or b"\x02\x02" in one.received:
            one.is_open = True
        self._selector.modify(one.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, one)

    def _send(self, one: _Socket) -> None:
        if not one.waiting:
            if not one.is_open:
                # Until it is, there is nothing to say.
                self._selector.modify(one.socket, selectors.EVENT_READ, one)
                return
            piece = next(one.pieces, None)
            if piece is None:
                self._finished(one)
                return
            if len(piece) < PIECE // 64 and not self._flood.ends:
                if one.not_before > perf_counter():
                    return
                one.not_before = perf_counter() + SLOWLY
            one.waiting = memoryview(piece)
        sent = one.socket.send(one.waiting)
        one.waiting = one.waiting[sent:]
        self._bytes += sent

    def _finished(self, one: _Socket) -> None:
        """All has been said: leave, or wait for an answer before."""
        if self._flood.ends and self._flood.name != "connections":
            self._selector.modify(one.socket, selectors.EVENT_READ, one)
        else:
            self._lost(one, "done")

    def _lost(self, one: _Socket, why: str) -> None:
        self._closings[why] += 1
        if one.socket.fileno() in self._selector.get_map():
            self._selector.unregister(one.socket)
        one.socket.close()
        one.socket, one.is_open = None, False
        one.not_before = perf_counter() + RETURN


def _run(answer: Connection, name: str, port: int, tokens: Sequence[str], seconds: float, cores: Sequence[int]) -> None:
    os.sched_setaffinity(0, cores)
    # The bystanders, which measure, come first.
    os.nice(NICENESS)
    attack = _Attack(FLOODS[name], port, tokens)
    answer.send(None)
    answer.send(attack.run(seconds))
