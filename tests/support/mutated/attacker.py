"""Sends mutated inputs over many connections, as fast as the daemon answers, and counts the answers."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe

from tests.support.attacks.encoding import CLOSE, PING, PONG, frame, take_frames
from tests.support.mutated.surfaces import PATIENCE, WIRES, Surface, Target, inputs, opening

#: What the pings that follow inputs contain, before a number.
_MARK = b"mark "

#: How often connections are checked for silence, in seconds.
_TICK = 0.05

#: How many inputs a connection sends before it is opened again.
_LONGEST = 400

#: How many connections may end before they have opened the room.
_NOT_OPENED_MAX = 100

_TOO_MANY = b"too many commands are connected"


class Attacker:
    """Sends inputs until each was answered, or was found to be incomplete.

    :ivar answers: how often there was which answer.
    :ivar failures: what must not happen; an attack ends with the first.
    """

    def __init__(self, surface: Surface, target: Target, waiting: Iterable[bytes]) -> None:
        self.surface, self.target, self.wire = surface, target, WIRES[surface]
        self.waiting = deque(waiting)
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._numbers = iter(range(2**62))
        self._open: set[_Connection] = set()

    async def run(self) -> None:
        """Send all inputs."""
        watch = asyncio.create_task(self._watch())
        await asyncio.gather(*(self._connect_again_and_again() for _ in range(self.wire.connections)))
        watch.cancel()

    def not_opened(self) -> None:
        """Count that a connection has ended before it had opened the room."""
        self.answers["not opened"] += 1
        if self.answers["not opened"] > _NOT_OPENED_MAX:
            self.failures.append("connections do not open the room")

    async def _connect_again_and_again(self) -> None:
        loop = asyncio.get_running_loop()
        while self.waiting and not self.failures:
            token = self.target.tokens[next(self._numbers) % len(self.target.tokens)]
            connection = (_OpenConnection if self.wire.opens else _Connection)(self, token)
            factory = partial(_itself, connection)
            self._open.add(connection)
            try:
                if self.surface is Surface.CONTROL:
                    await loop.create_unix_connection(factory, self.target.control)
                else:
                    health = self.surface is Surface.HEALTH
                    port = self.target.health_port if health else self.target.ws_port
                    await loop.create_connection(factory, "127.0.0.1", port)
                await connection.ended
            except OSError as error:
                self.failures.append(f"no connection: {error!r}")
            self._open.discard(connection)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK)
            now = loop.time()
            for connection in list(self._open):
                connection.check(now)


class _Connection(asyncio.Protocol):
    """A connection for one input."""

    def __init__(self, attacker: Attacker, token: str) -> None:
        self.attacker, self.token = attacker, token
        self.outstanding: deque[tuple[int, bytes]] = deque()
        self.received = bytearray()
        self.progress = 0.0
        self.transport: asyncio.Transport | None = None
        self.is_open = self.is_over = False
        #: Fires when the connection has ended.
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.start()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.is_open:
            self.attacker.not_opened()
        elif not self.is_over:
            self.answered("disconnected")
        # The others were not handled.
        self.attacker.waiting.extendleft(data for _number, data in reversed(self.outstanding))
        self.outstanding.clear()
        if not self.ended.done():
            self.ended.set_result(None)

    def end(self, answer: str) -> None:
        """Count the answer, and end the connection."""
        self.is_over = True
        self.answered(answer)
        assert self.transport is not None
        self.transport.abort()

    def start(self) -> None:
        """Send the input."""
        self.is_open = True
        self.send_inputs(1)

    def send_inputs(self, count: int) -> None:
        """Take inputs, and send them."""
        assert self.transport is not None
        taken: list[bytes] = []
        while self.attacker.waiting and len(taken) < count:
            data = self.attacker.waiting.popleft()
            number = next(self.attacker._numbers)
            self.outstanding.append((number, data))
            taken.append(data + self.marked(number))
        self.progress = asyncio.get_running_loop().time()
        if taken:
            self.transport.write(b"".join(taken))
        elif not self.outstanding:
            self.transport.abort()

    def marked(self, number: int) -> bytes:
        """What follows an input."""
        return b""

    def answered(self, answer: str) -> None:
        """Count the answer to the first input that has none."""
        if self.outstanding:
            self.outstanding.popleft()
            self.attacker.answers[answer] += 1

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        self.received += data
        if self.attacker.surface is Surface.CONTROL:
            line, end, _ = self.received.partition(b"\n")
            if not end:
                return
            if _TOO_MANY not in line:
                self.end("an error" if line.startswith(b'{"error"') else "an answer")
            self.is_over = True
            self.transport.abort()
        else:
            self.end(f"status {self.received[9:12].decode('latin-1')}")

    def check(self, now: float) -> None:
        """Give the connection up if it has been silent for long."""
        if self.transport is None or now < self.progress + (self.attacker.wire.silence if self.is_open else PATIENCE):
            return
        if not self.is_open:
            self.attacker.failures.append(f"a connection was not opened in {PATIENCE} s")
            self.transport.abort()
        elif self.outstanding:
            if self.attacker.wire.silence == PATIENCE:
                self.attacker.failures.append(f"no answer in {PATIENCE} s to {self.outstanding[0][1].hex()}")
            self.end("incomplete")


class _OpenConnection(_Connection):
    """A connection that opens a room, and sends inputs, each followed by a ping, until it is closed."""

    _awaited = b""
    _sent = 0

    def start(self) -> None:
        """Open the room."""
        assert self.transport is not None
        self.progress = asyncio.get_running_loop().time()
        data, self._awaited = opening(self.attacker.surface, self.attacker.target, self.token)
        self.transport.write(data)

    def marked(self, number: int) -> bytes:
        return frame(_MARK + b"%d" % number, PING)

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        self.received += data
        if not self.is_open:
            if b"\r\n\r\n" in self.received and b" 101 " not in self.received[:20]:
                # With 503 a busy daemon asks to try again.
                if b" 503 " not in self.received[:20]:
                    self.attacker.failures.append(f"handshake refused: {bytes(self.received[:200])!r}")
                self.transport.abort()
            if self._awaited not in self.received:
                return
            del self.received[: self.received.find(b"\r\n\r\n") + 4]
            self.is_open = True
            self.send_inputs(self.attacker.wire.window)
        for opcode, payload in take_frames(self.received):
            if opcode == PONG and payload.startswith(_MARK):
                self._handled(int(payload[len(_MARK) :]))
            elif opcode == CLOSE:
                self.end(f"closed with {int.from_bytes(payload[:2], 'big')}")
                return

    def _handled(self, number: int) -> None:
        count = 0
        while self.outstanding and self.outstanding[0][0] <= number:
            self.answered("accepted")
            count += 1
        self._sent += count
        if self._sent < _LONGEST:
            self.send_inputs(count)
        elif not self.outstanding:
            assert self.transport is not None
            self.transport.abort()


def _itself(connection: _Connection) -> _Connection:
    return connection


class AttackProcess:
    """An attack in a process of its own with a low priority; it starts when this is created."""

    def __init__(
        self, surface: Surface, target: Target, corpus: Sequence[bytes], seed: str, count: int, niceness: int
    ) -> None:
        context = get_context("spawn")
        self._answer, theirs = context.Pipe(False)
        self._process = context.Process(
            target=_run, args=(theirs, surface, target, list(corpus), seed, count, niceness), daemon=True
        )
        self._process.start()
        theirs.close()

    def wait(self) -> tuple[Counter[str], list[str]]:
        """Wait for its end; return how often there was which answer, and failures."""
        answers: Counter[str] = Counter()
        failures = ["the process of the attack has died"]
        with suppress(EOFError):
            answers, failures = self._answer.recv()
        self._process.join()
        return answers, failures


def _run(
    answer: Pipe, surface: Surface, target: Target, corpus: Sequence[bytes], seed: str, count: int, niceness: int
) -> None:
    os.nice(niceness)
    attacker = Attacker(surface, target, inputs(surface, target, corpus, seed, count))
    asyncio.run(attacker.run())
    answer.send((attacker.answers, attacker.failures))
