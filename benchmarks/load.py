"""A load generator: many y-websocket clients in one process, light enough not to be what is measured.

Every client types into a text of its own, one character an update, as Yjs would encode it.  What arrives is noted with
its time and looked into once for all clients, since they are sent the same bytes; latencies are worked out at the end.
"""

from __future__ import annotations

import selectors
import socket
from base64 import b64encode
from collections.abc import Iterable, Sequence
from time import perf_counter

from attrs import define, field, frozen

from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import encode_var_string, encode_var_uint
from canvas_collab.protocol.update import decode_update

#: Client ids of the generated load begin here; each client is known by where its own lies above.
FIRST_CLIENT_ID = 2**20

#: When everything has been sent, so many seconds are waited for what is still on its way.
PATIENCE = 30.0

_BINARY, _CLOSE, _PING, _PONG = 0x2, 0x8, 0x9, 0xA


@frozen
class Load:
    """What is to be done: `clients` in one room, of which `writers` type `rate` updates a second each."""

    host: str
    port: int
    path: str
    clients: int
    writers: int
    rate: float
    seconds: float

    @property
    def updates(self) -> int:
        """How many updates that are."""
        return round(self.writers * self.rate * self.seconds)


@frozen
class Report:
    """What came of it.

    :ivar sent: how many updates were sent.
    :ivar delivered: how many of them arrived, at all clients together.
    :ivar missing: how many did not.
    :ivar misplaced: how many came twice or before an earlier one of the same client.
    :ivar messages: in how many messages they arrived.
    :ivar latencies: from the sending of an update to its arrival, in seconds, in order; one for each delivery.
    :ivar lateness: how late the generator was with its own sending, in seconds, in order.
    :ivar seconds: from the first sending to the last arrival.
    """

    sent: int
    delivered: int
    missing: int
    misplaced: int
    messages: int
    latencies: Sequence[float] = field(repr=False)
    lateness: Sequence[float] = field(repr=False)
    seconds: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the `ordered` values lie."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


@define
class _Arrival:
    """What an update message holds: stretches of clocks, by the number of the client that typed them."""

    stretches: list[tuple[int, int, int]]
    counts: dict[int, int]


class _Client:
    """One connection."""

    def __init__(self, load: Load, number: int) -> None:
        self.number = number
        self.synced = False
        self.typed = 0
        self.arrived: list[tuple[float, bytes]] = []
        self._buffer = b""
        self.socket = socket.create_connection((load.host, load.port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._shake_hands(load)
        self.socket.setblocking(False)
        self.send(sync.encode_step_1(b"\x00"))

    def _shake_hands(self, load: Load) -> None:
        key = b64encode(self.number.to_bytes(16, "big")).decode()
        self.socket.sendall(
            f"GET {load.path} HTTP/1.1\r\nHost: {load.host}:{load.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            received = self.socket.recv(65536)
            if not received:
                break
            answer += received
        head, _, self._buffer = answer.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(f"the handshake was answered with {head.decode(errors='replace')!r}")

    def send(self, message: bytes, opcode: int = _BINARY) -> None:
        """Send a message.  The mask is zeros, which is one like any other and leaves the bytes as they are."""
        size = len(message)
        length = bytes((0x80 | size,)) if size < 126 else bytes((0xFE, size >> 8, size & 0xFF))
        frame = bytes((0x80 | opcode,)) + length + b"\x00\x00\x00\x00" + message
        if self.socket.send(frame) != len(frame):
            raise ConnectionError("the server does not read what it is sent")

    def type(self) -> None:
        """Send the next character of this client's text."""
        client = encode_var_uint(FIRST_CLIENT_ID + self.number)
        clock = encode_var_uint(self.typed)
        if self.typed:
            item = b"\x84" + client + encode_var_uint(self.typed - 1)
        else:
            item = b"\x04\x01" + encode_var_string(f"text {self.number}")
        self.send(sync.encode_update(b"\x01\x01" + client + clock + item + b"\x01x\x00"))
        self.typed += 1

    def read(self) -> Iterable[bytes]:
        """The messages that have come in."""
        received = self.socket.recv(2**20)
        if not received:
            raise ConnectionError(f"the server cut off client {self.number}")
        data = self._buffer + received if self._buffer else received
        position, end = 0, len(data)
        while end - position >= 2:
            start, size = position + 2, data[position + 1]
            if size > 125:
                width = 2 if size == 126 else 8
                size = int.from_bytes(data[start : start + width], "big") if end >= start + width else end
                start += width
            if start + size > end:
                break
            opcode, payload = data[position] & 0xF, data[start : start + size]
            position = start + size
            if opcode == _BINARY:
                yield payload
            elif opcode == _PING:
                self.send(payload, _PONG)
            elif opcode == _CLOSE:
                raise ConnectionError(f"the server closed client {self.number}: {payload[:2].hex()} {payload[2:]!r}")
        self._buffer = data[position:]


class _Run:
    """One run of a load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._selector = selectors.DefaultSelector()
        self._clients: list[_Client] = []
        self._sent_at: list[list[float]] = [[] for _ in range(load.clients)]
        self._lateness: list[float] = []
        self._arrivals: dict[bytes, _Arrival] = {}
        self._deliveries = 0

    def run(self) -> Report:
        load = self._load
        try:
            for number in range(load.clients):
                client = _Client(load, number)
                self._clients.append(client)
                self._selector.register(client.socket, selectors.EVENT_READ, client)
            self._until(lambda: all(client.synced for client in self._clients))
            started = perf_counter()
            interval = 1 / (load.writers * load.rate)
            for index in range(load.updates):
                self._type(index % load.writers, started + index * interval)
            expected = load.updates * (load.clients - 1)
            self._until(lambda: self._deliveries >= expected)
            return self._report(expected, perf_counter() - started)
        finally:
            for client in self._clients:
                client.socket.close()
            self._selector.close()

    def _type(self, number: int, due: float) -> None:
        while (now := perf_counter()) < due:
            self._receive(due - now)
        self._lateness.append(now - due)
        self._sent_at[number].append(now)
        self._clients[number].type()
        # Even when sending is late, what has come in is looked at, so that its time of arrival is not later than true.
        self._receive(0)

    def _until(self, done: object) -> None:
        assert callable(done)
        deadline = perf_counter() + PATIENCE
        while not done() and perf_counter() < deadline:
            self._receive(0.1)

    def _receive(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            client: _Client = key.data
            for message in client.read():
                if message[:2] == b"\x00\x02":
                    client.arrived.append((perf_counter(), message))
                    counts = self._look_into(message).counts
                    self._deliveries += sum(counts.values()) - counts.get(client.number, 0)
                elif message[:2] == b"\x00\x01":
                    client.synced = True

    def _look_into(self, message: bytes) -> _Arrival:
        arrival = self._arrivals.get(message)
        if arrival is None:
            decoded = sync.decode(message)
            assert isinstance(decoded, sync.Update)
            arrival = self._arrivals[message] = _Arrival([], {})
            for client_id, runs in decode_update(decoded.update).runs.items():
                number = client_id - FIRST_CLIENT_ID
                for run in runs:
                    arrival.stretches.append((number, run.clock, run.end))
                    arrival.counts[number] = arrival.counts.get(number, 0) + run.end - run.clock
        return arrival

    def _report(self, expected: int, seconds: float) -> Report:
        latencies: list[float] = []
        misplaced = messages = 0
        for client in self._clients:
            messages += len(client.arrived)
            clocks = [0] * len(self._clients)
            for arrived, message in client.arrived:
                for number, clock, end in self._arrivals[message].stretches:
                    if number == client.number:
                        continue
                    misplaced += (end - clock) * (clocks[number] != clock)
                    clocks[number] = end
                    latencies += [arrived - sent for sent in self._sent_at[number][clock:end]]
        latencies.sort()
        self._lateness.sort()
        return Report(
            self._load.updates,
            len(latencies),
            expected - len(latencies),
            misplaced,
            messages,
            latencies,
            self._lateness,
            seconds,
        )


def run(load: Load) -> Report:
    """Run a load to its end.

    :raises ConnectionError: if the server refuses, closes or cuts off a client.
    """
    return _Run(load).run()
