"""The program of :mod:`tests.support.bystanders`: a JSON answer a line for each of the commands "begin" and "end"."""

from __future__ import annotations

import json
import os
import random
import select
import socket
import sys
from collections import deque
from collections.abc import Mapping
from time import perf_counter

from attrs import asdict

from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import encode_var_string, encode_var_uint
from canvas_collab.protocol.update import decode_update
from tests.support.attacks.encoding import BINARY, CLOSE, PING, PONG, frame, take_frames
from tests.support.bystanders import BystanderRooms, Latencies

#: How often the writer types a character, and how often the saver makes an edit, in seconds.
TYPING_INTERVAL, SAVING_INTERVAL = 0.005, 0.025

#: How long edits on their way are waited for when the measurement ends, in seconds.
PATIENCE = 5.0

#: The client id of the edits; another one in each process.
_CLIENT_ID = random.randrange(2**20, 2**21)


class _Connection:
    """A WebSocket connection that never blocks once it is open."""

    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: daemon\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._received = bytearray()
        while b"\r\n\r\n" not in self._received:
            data = self.socket.recv(2**16)
            if not data:
                raise AssertionError(f"handshake refused: {self._received!r}")
            self._received += data
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        if b" 101 " not in head:
            raise AssertionError(f"handshake refused: {head!r}")
        self.socket.setblocking(False)
        self._unsent = b""
        #: When the connection was closed, by ``perf_counter``, or None.
        self.closed_at: float | None = None

    def send(self, message: bytes, opcode: int = BINARY) -> None:
        """Send a message, or keep what the socket does not take now for :meth:`flush`."""
        self._unsent += frame(message, opcode)
        self.flush()

    def flush(self) -> None:
        """Send what was kept."""
        if self._unsent and self.closed_at is None:
            try:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
            except BlockingIOError:
                pass
            except OSError:
                self.closed_at = perf_counter()

    def receive(self) -> list[bytes]:
        """Return the messages that have arrived; answer pings."""
        try:
            data = self.socket.recv(2**20)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.closed_at = self.closed_at or perf_counter()
            return []
        self._received += data
        messages = []
        for opcode, payload in take_frames(self._received):
            if opcode == BINARY:
                messages.append(payload)
            elif opcode == PING:
                self.send(payload, PONG)
            elif opcode == CLOSE:
                self.closed_at = self.closed_at or perf_counter()
        return messages


class _BystanderProcess:
    """The bystanders' connections and what they measure."""

    def __init__(self, rooms: BystanderRooms) -> None:
        path = f"/{rooms.room}?token={rooms.token}"
        self._writer, self._reader = _Connection(rooms.port, path), _Connection(rooms.port, path)
        self._leaver = _Connection(rooms.port, f"/{rooms.leaving_room}?token={rooms.leaving_token}")
        self._saver = _Connection(rooms.port, "/")
        self._address = encode_var_string(rooms.saving_room)
        token, version = encode_var_string(rooms.saving_token), encode_var_string("4.8.0")
        self._saver.send(self._address + b"\x02\x00" + token + version)
        self._connections = {
            "writer": self._writer, "reader": self._reader, "saver": self._saver, "leaver": self._leaver
        }  # fmt: skip
        #: When edits were sent that have not reached the reader, by their clocks.
        self._typed: dict[int, float] = {}
        #: When edits were sent that are not confirmed, in order.
        self._unsaved: deque[float] = deque()
        self._clock = self._saved_clock = 0
        self._discard()

    def _discard(self) -> None:
        self._heard: list[float] = []
        self._saved: list[float] = []
        self._late: list[float] = []

    def run(self) -> None:
        """Edit, and answer commands, until standard input ends."""
        self._answer({})
        due = {"type": perf_counter(), "save": perf_counter()}
        poll = select.poll()
        connections = {connection.socket.fileno(): connection for connection in self._connections.values()}
        for number in connections:
            poll.register(number, select.POLLIN)
        poll.register(sys.stdin.fileno(), select.POLLIN)
        while True:
            now = perf_counter()
            if now >= due["type"]:
                self._late.append(now - due["type"])
                due["type"] = max(due["type"] + TYPING_INTERVAL, now)
                self._type()
            if now >= due["save"]:
                due["save"] = max(due["save"] + SAVING_INTERVAL, now)
                self._save()
            wait = max(min(due.values()) - perf_counter(), 0) * 1000
            for number, _ in poll.poll(wait):
                if number == sys.stdin.fileno():
                    command = sys.stdin.readline()
                    if not command:
                        return
                    if command == "begin\n":
                        self._discard()
                        self._answer({})
                    else:
                        self._end()
                else:
                    self._receive(connections[number])
                    if connections[number].closed_at is not None:
                        poll.unregister(number)
                        del connections[number]
            for connection in connections.values():
                connection.flush()

    def _type(self) -> None:
        self._clock += 1
        self._typed[self._clock] = perf_counter()
        self._writer.send(sync.encode_update(_typed_character(self._clock)))

    def _save(self) -> None:
        self._saved_clock += 1
        self._unsaved.append(perf_counter())
        self._saver.send(self._address + sync.encode_update(_typed_character(self._saved_clock)))

    def _receive(self, connection: _Connection) -> None:
        messages = connection.receive()
        now = perf_counter()
        if connection is self._reader:
            for message in messages:
                if message[:2] == b"\x00\x02":
                    self._measure(sync.decode(message).update, now)  # type: ignore[union-attr]
        elif connection is self._saver:
            saved = self._address + b"\x08\x01"
            for message in messages:
                if message == saved and self._unsaved:
                    self._saved.append(now - self._unsaved.popleft())

    def _measure(self, update: bytes, now: float) -> None:
        """Measure how long the writer's characters in an update took to the reader."""
        for run in decode_update(update).runs.get(_CLIENT_ID, ()):
            for clock in range(run.clock, run.end):
                if clock in self._typed:
                    self._heard.append(now - self._typed.pop(clock))

    def _end(self) -> None:
        """Wait for edits on their way, and answer with what was measured."""
        deadline = perf_counter() + PATIENCE
        while (self._typed or self._unsaved) and perf_counter() < deadline:
            open_ones = [connection for connection in self._connections.values() if connection.closed_at is None]
            if not {self._writer, self._reader, self._saver} <= set(open_ones):
                break
            ready, _, _ = select.select([connection.socket for connection in open_ones], [], [], 0.05)
            for connection in open_ones:
                if connection.socket in ready:
                    self._receive(connection)
                connection.flush()
        now = perf_counter()
        self._heard += [now - sent for sent in self._typed.values()]
        self._saved += [now - sent for sent in self._unsaved]
        self._typed.clear()
        closed = [name for name, connection in self._connections.items() if connection.closed_at is not None]
        self._answer(
            {
                "heard": asdict(Latencies.of(self._heard)),
                "saved": asdict(Latencies.of(self._saved)),
                "late": asdict(Latencies.of(self._late)),
                "left": self._leaver.closed_at,
                "gone": [name for name in closed if name != "leaver"],
            }
        )
        self._discard()

    @staticmethod
    def _answer(answer: Mapping[str, object]) -> None:
        print(json.dumps(answer), flush=True)


def _typed_character(clock: int) -> bytes:
    """Return an update that appends a character to a text; the first clock is 1, which starts the text."""
    client_id = encode_var_uint(_CLIENT_ID)
    if clock == 1:
        # It has clock 0 as well, so that there is no gap.
        return b"\x01\x01" + client_id + b"\x00\x04\x01\x01t\x02ab\x00"
    origin = client_id + encode_var_uint(clock - 1)
    return b"\x01\x01" + client_id + encode_var_uint(clock) + b"\x84" + origin + b"\x01x\x00"


def main() -> None:
    """Run the bystanders: the rooms and the cores are the arguments, as JSON."""
    cores = json.loads(sys.argv[2])
    if cores:
        os.sched_setaffinity(0, cores)
    _BystanderProcess(BystanderRooms(**json.loads(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
