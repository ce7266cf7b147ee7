"""Clients that come, edit for a few seconds, and leave, again and again, in both protocols."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from attrs import define, field, frozen

from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import encode_var_string, encode_var_uint
from tests.support.attacks.encoding import CLOSE, PING, PONG, frame, string, take_frames

#: How many rooms are in use at once, and for how many seconds each is, before another one takes its place.
ROOMS = 40
ROOM_SECONDS = 60.0

#: How long a client stays, in seconds, and how long it is away.
STAY = (1.0, 9.0)
AWAY = (0.1, 1.0)

#: How long the daemon may take to answer, in seconds.
PATIENCE = 30.0

_NORMAL_CLOSURE = (1000).to_bytes(2, "big")


@frozen
class Pace:
    """How fast the clients are.

    :ivar edit_interval: the mean time between a client's edits, in seconds.
    """

    clients: int
    edit_interval: float


@define
class Tally:
    """What the clients have done.

    :ivar problems: what should not happen, and how often it did.
    """

    visits: int = 0
    edits: int = 0
    messages: int = 0
    problems: Counter[str] = field(factory=Counter)


def room_of(slot: int, seconds: float) -> str:
    """Return the room that is in use at a time since the start, in one of the places for rooms."""
    return f"diagram-churn-{slot}-{int(seconds // ROOM_SECONDS)}"


class Visitors:
    """All clients."""

    def __init__(self, port: int, editors: Sequence[str], viewers: Sequence[str], pace: Pace, seed: int) -> None:
        """:param editors: session tokens; `viewers`: of users that may only read."""
        self._port = port
        self._editors, self._viewers = editors, viewers
        self._pace = pace
        self._chance = random.Random(seed)
        self._client_ids = iter(range(1_000_000, 2**31))
        self._deadline = self._began = 0.0
        self.tally = Tally()

    async def run(self, seconds: float) -> None:
        """Come and leave for so many seconds."""
        self._began = asyncio.get_running_loop().time()
        self._deadline = self._began + seconds
        await asyncio.gather(*(self._come_and_leave(number) for number in range(self._pace.clients)))

    async def _come_and_leave(self, number: int) -> None:
        loop, chance = asyncio.get_running_loop(), self._chance
        await asyncio.sleep(chance.uniform(0, STAY[1]))
        while loop.time() < self._deadline:
            may_edit = chance.random() < 0.8
            room = room_of(chance.randrange(ROOMS), loop.time() - self._began)
            visit = Visit(room, chance.choice(self._editors if may_edit else self._viewers), next(self._client_ids))
            self.tally.visits += 1
            try:
                if number % 2:
                    await visit.open_y_websocket(self._port)
                else:
                    await visit.open_hocuspocus(self._port)
                leaves_at = min(loop.time() + chance.uniform(*STAY), self._deadline)
                while (rest := leaves_at - loop.time()) > 0 and visit.closed is None:
                    await asyncio.sleep(min(chance.uniform(0, 2 * self._pace.edit_interval), rest))
                    visit.move_cursor()
                    if may_edit:
                        visit.edit()
                        self.tally.edits += 1
            except (OSError, EOFError, asyncio.TimeoutError) as error:
                self.tally.problems[repr(error)] += 1
            if visit.closed is not None:
                self.tally.problems[f"closed with {visit.closed}"] += 1
            await visit.leave(chance.choice(("close", "message and close", "disconnect")))
            self.tally.messages += visit.received
            await asyncio.sleep(chance.uniform(*AWAY))


class Visit:
    """One connection to a room.

    :ivar closed: the code with which the daemon has closed it, or None; `received`: how many messages came.
    """

    def __init__(self, room: str, token: str, client_id: int) -> None:
        self.closed: int | None = None
        self.received = 0
        self._room, self._token = room, token
        self._client_id = encode_var_uint(client_id)
        self._clock = self._cursor_clock = 0
        self._address = b""
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._synced = asyncio.Event()

    async def open_y_websocket(self, port: int) -> None:
        """Connect as y-websocket does, and sync."""
        await self._connect(port, f"/{self._room}?token={self._token}")
        await self._sync()

    async def open_hocuspocus(self, port: int) -> None:
        """Connect as a provider of Hocuspocus does, and sync."""
        self._address = encode_var_string(self._room)
        await self._connect(port, "/")
        self._send(b"\x02\x00" + encode_var_string(self._token) + encode_var_string("4.8.0"))
        await self._sync()

    def edit(self) -> None:
        """Append a character to a text."""
        position = encode_var_uint(self._clock)
        if self._clock == 0:
            struct = b"\x04\x01\x01t\x01x"
        else:
            struct = b"\x84" + self._client_id + encode_var_uint(self._clock - 1) + b"\x01x"
        self._send(sync.encode_update(b"\x01\x01" + self._client_id + position + struct + b"\0"))
        self._clock += 1

    def move_cursor(self) -> None:
        """Send an awareness state."""
        self._send_awareness(b'{"x":%d}' % self._cursor_clock)

    async def leave(self, how: str) -> None:
        """Disconnect: with the messages and close frame that the protocol has, with the close frame, or without."""
        writer = self._writer
        if writer is None:
            return
        with suppress(OSError):
            if how == "message and close":
                self._send_awareness(b"null")
                if self._address:
                    self._send(b"\x07")
            if how != "disconnect":
                writer.write(frame(_NORMAL_CLOSURE, CLOSE))
            writer.close()
            await writer.wait_closed()
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    async def _connect(self, port: int, path: str) -> None:
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), PATIENCE)
        self._writer = writer
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: daemon\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        if b" 101 " not in head:
            raise OSError(head.partition(b"\r\n")[0].decode())
        self._reading = asyncio.create_task(self._read(reader))

    async def _sync(self) -> None:
        self._send(sync.encode_step_1(b"\0"))
        await asyncio.wait_for(self._synced.wait(), PATIENCE)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        received = bytearray()
        step_2 = self._address + b"\x00\x01"
        with suppress(OSError):
            while data := await reader.read(2**18):
                received += data
                for opcode, payload in take_frames(received):
                    self.received += 1
                    if opcode == PING and self._writer is not None:
                        self._writer.write(frame(payload, PONG))
                    elif opcode == CLOSE:
                        self.closed = int.from_bytes(payload[:2], "big")
                    elif payload.startswith(step_2):
                        self._synced.set()

    def _send(self, message: bytes) -> None:
        assert self._writer is not None
        self._writer.write(frame(self._address + message))

    def _send_awareness(self, state: bytes) -> None:
        self._cursor_clock += 1
        entry = b"\x01" + self._client_id + encode_var_uint(self._cursor_clock) + string(state)
        self._send(sync.encode_awareness(entry))
