"""Clients that do not read or do not answer: other clients do not wait for them, and nothing is lost."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest
from pycrdt import Text
from websockets.frames import Opcode

from canvas_collab.protocol import awareness, sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.rooms.awareness import CLOCK_OFFSET
from tests.conftest import StartDaemon
from tests.support.clients import Client
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase, User
from tests.support.frames import client_frame, handshake

#: A number of edits, of so many characters each, that exceeds the socket buffers of both sides.
EDITS, EDIT = 60, 400_000


class Room:
    """A diagram with a writer, Ada, and a reader, Bob."""

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
    """Append to the client's text, and return the update, which is not sent yet."""
    before = client.doc.get_state()
    whole = client.doc.get("text", type=Text)
    whole += text
    return bytes(client.doc.get_update(before))


def narrow_socket(daemon: Daemon) -> socket.socket:
    """Connect to the daemon with a small receive buffer."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect(("127.0.0.1", daemon.ws_port))
    return narrow


def connect_without_reading(daemon: Daemon, user: User) -> socket.socket:
    """Open the diagram on a socket that is never read."""
    unread = narrow_socket(daemon)
    unread.sendall(handshake(f"/diagram-one?token={user.token}"))
    daemon.wait_for_event("connection opened", user=user.id)
    return unread


def test_a_client_that_does_not_read_for_a_while_is_sent_everything_later_in_fewer_messages(room: Room) -> None:
    daemon = room.start()
    # The reader's buffers are small, whatever the system's defaults are.
    narrow: dict[str, Any] = {"sock": narrow_socket(daemon), "max_queue": 1}
    with Client(daemon, "one", room.ada) as writer, Client(daemon, "one", room.bob, **narrow) as reader:
        write_much(writer)
        writer.send(sync.encode_awareness(awareness.encode([Entry(7, 1, '{"name":"Ada"}')])))
        assert writer.receive()[:1] == b"\x01"
        updates = 0
        while len(reader.text) < EDITS * EDIT or not reader.awareness:
            updates += reader.receive()[:2] == b"\x00\x02"
        assert reader.text == writer.text
        assert updates < EDITS / 2
        assert awareness.decode(reader.awareness[-1]) == [Entry(7, 1 + CLOCK_OFFSET, '{"name":"Ada"}')]
        # From here on it is sent every update again.
        for _ in range(3):
            writer.edit(typed(writer, "more"))
            reader.wait_for_update()
            assert reader.text == writer.text


def test_a_client_that_reads_nothing_for_too_long_is_disconnected_and_no_other_waits_for_it(room: Room) -> None:
    daemon = room.start(STALL_TIMEOUT=1)
    with Client(daemon, "one", room.ada) as writer, connect_without_reading(daemon, room.bob):
        write_much(writer)
        daemon.wait_for_event("connection ended", user=room.bob.id, reason="nothing is being read")
        assert writer.flush() == []


def test_a_client_that_requests_more_than_it_reads_is_disconnected(room: Room) -> None:
    # So that the document is not sent in parts.
    daemon = room.start(SEND_BUFFER_MAX=2**20, SYNC_PART_SIZE=2**20)
    with Client(daemon, "one", room.ada) as writer, connect_without_reading(daemon, room.bob) as unread:
        writer.edit(typed(writer, "x" * EDIT))
        writer.flush()
        for _ in range(EDITS):
            unread.sendall(client_frame(sync.encode_step_1(b"\x00")))
        daemon.wait_for_event("connection ended", user=room.bob.id, reason="too much is waiting to be read")
        assert writer.flush() == []


def test_a_client_that_requests_more_pongs_than_it_reads_is_disconnected(room: Room) -> None:
    daemon = room.start(SEND_BUFFER_MAX=2**16, MAX_MESSAGES_PER_SECOND=0)
    pings = client_frame(b"?" * 125, Opcode.PING) * 1000
    with Client(daemon, "one", room.ada) as writer, connect_without_reading(daemon, room.bob) as unread:
        unread.settimeout(30)
        with contextlib.suppress(OSError):
            for _ in range(1000):
                unread.sendall(pings)
        daemon.wait_for_event("connection ended", user=room.bob.id, reason="too much is waiting to be read")
        assert writer.flush() == []


def test_a_client_that_does_not_answer_a_ping_is_disconnected_and_one_that_does_stays(room: Room) -> None:
    daemon = room.start(PING_INTERVAL=0.3)
    with Client(daemon, "one", room.ada) as silent, connect_without_reading(daemon, room.bob):
        daemon.wait_for_event("connection ended", user=room.bob.id, reason="no answer to a ping")
        # Only keep-alives.
        assert set(silent.flush()) == {sync.encode_awareness(awareness.EMPTY_AWARENESS)}
