"""Clients that do not read, do not answer, or send faster than can be handled: nobody else waits, nothing is lost."""

from __future__ import annotations

import socket

import pytest
from pycrdt import Text
from twisted.internet.address import UNIXAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from canvas_collab.config import Settings
from canvas_collab.protocol import awareness, sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.websocket import LONG, ServerFactory
from tests.conftest import StartDaemon
from tests.harness.clients import Client
from tests.harness.daemons import Daemon
from tests.harness.databases import TestDatabase, User
from tests.test_frames import client_frame

#: More than the systems' own buffers on both sides hold, in edits of so many characters.
EDITS, EDIT = 60, 400_000


class Room:
    """A diagram, somebody who writes in it, and somebody who reads, or does not."""

    def __init__(self, database: TestDatabase, start_daemon: StartDaemon) -> None:
        self.database = database
        self.start_daemon = start_daemon
        self.ada, self.bob = database.add_user("ada"), database.add_user("bob")
        database.add_diagram("one", self.ada, editor=self.bob)

    def start(self, **settings: object) -> Daemon:
        return self.start_daemon(self.database, **settings)


@pytest.fixture
def room(database: TestDatabase, start_daemon: StartDaemon) -> Room:
    return Room(database, start_daemon)


def write_much(writer: Client) -> None:
    for number in range(EDITS):
        writer.edit(typed(writer, chr(ord("a") + number % 26) * EDIT))
    assert writer.flush() == []


def typed(client: Client, text: str) -> bytes:
    """The update of somebody who types at the end, not sent yet."""
    before = client.doc.get_state()
    whole = client.doc.get("text", type=Text)
    whole += text
    return bytes(client.doc.get_update(before))


def handshake(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def deaf_client(daemon: Daemon, user: User) -> socket.socket:
    """A client that has opened the diagram and never reads."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", daemon.ws_port))
    deaf.sendall(handshake(f"/diagram-one?token={user.token}"))
    daemon.wait_for_event("connection opened", user=user.id)
    return deaf


def test_one_who_does_not_read_for_a_while_gets_all_of_it_later_in_fewer_messages(room: Room) -> None:
    daemon = room.start()
    with Client(daemon, "one", room.ada) as writer, Client(daemon, "one", room.bob) as reader:
        write_much(writer)
        writer.send(sync.encode_awareness(awareness.encode([Entry(7, 1, '{"name":"Ada"}')])))
        assert writer.receive()[:1] == b"\x01"
        updates = 0
        while len(reader.text) < EDITS * EDIT or not reader.awareness:
            updates += reader.receive()[:2] == b"\x00\x02"
        assert reader.text == writer.text
        assert updates < EDITS
        assert awareness.decode(reader.awareness[-1]) == [Entry(7, 1, '{"name":"Ada"}')]
        # From here on it is sent everything again, as it happens.
        for _ in range(3):
            writer.edit(typed(writer, "more"))
            reader.wait_for_update()
            assert reader.text == writer.text


def test_one_who_reads_nothing_for_too_long_is_cut_off_and_nobody_waits_for_it(room: Room) -> None:
    daemon = room.start(STALL_TIMEOUT=1)
    with Client(daemon, "one", room.ada) as writer, deaf_client(daemon, room.bob):
        write_much(writer)
        daemon.wait_for_event("connection ended", user=room.bob.id, reason="nothing is being read")
        assert writer.flush() == []


def test_one_who_asks_for_more_than_they_read_is_cut_off(room: Room) -> None:
    daemon = room.start(SEND_BUFFER_MAX=2**20)
    with Client(daemon, "one", room.ada) as writer, deaf_client(daemon, room.bob) as deaf:
        writer.edit(typed(writer, "x" * EDIT))
        writer.flush()
        for _ in range(EDITS):
            deaf.sendall(client_frame(sync.encode_step_1(b"\x00")))
        daemon.wait_for_event("connection ended", user=room.bob.id, reason="too much is waiting to be read")
        assert writer.flush() == []


def test_one_who_does_not_answer_a_ping_is_cut_off_and_one_who_does_stays(room: Room) -> None:
    daemon = room.start(PING_INTERVAL=0.3)
    with Client(daemon, "one", room.ada) as silent, deaf_client(daemon, room.bob):
        daemon.wait_for_event("connection ended", user=room.bob.id, reason="no answer to a ping")
        assert silent.flush() == []


class Staged:
    """An open connection, the transport below it and the dialect above; each message takes a while to be handled."""

    def __init__(self, seconds: float) -> None:
        self.clock = Clock()
        self.messages: list[bytes] = []
        self._seconds = seconds
        self.transport = StringTransport(hostAddress=UNIXAddress(b"socket"))
        factory = ServerFactory(self.clock, Settings(), None, None)  # type: ignore[arg-type]
        factory.dialect = lambda socket, path: self  # type: ignore[method-assign, assignment, return-value]
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        self.protocol.dataReceived(handshake("/room"))

    async def shake_hands(self, request: object) -> None:
        pass

    def opened(self) -> None:
        pass

    def received(self, payload: bytes) -> None:
        self.messages.append(payload)
        self.clock.advance(self._seconds)


def test_of_one_who_sends_faster_than_can_be_handled_no_more_is_read_for_as_long_as_that_took() -> None:
    staged = Staged(LONG)
    staged.protocol.dataReceived(client_frame(b"one") + client_frame(b"two"))
    assert staged.messages == [b"one", b"two"]
    assert staged.transport.producerState == "paused"
    staged.clock.advance(LONG)
    assert staged.transport.producerState == "paused"
    staged.clock.advance(LONG)
    assert staged.transport.producerState == "producing"


def test_one_whose_messages_are_quickly_handled_is_read_on() -> None:
    staged = Staged(LONG / 3)
    staged.protocol.dataReceived(client_frame(b"one") + client_frame(b"two"))
    assert len(staged.messages) == 2
    assert staged.transport.producerState == "producing"
