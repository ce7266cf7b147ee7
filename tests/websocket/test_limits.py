"""Every limit, and what happens when it is exceeded: the sender is told, and other clients are not affected."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from pycrdt import Doc, Text

from canvas_collab.protocol import awareness, sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.rooms.awareness import CLOCK_OFFSET
from canvas_collab.websocket.receiving import MAX_HANDSHAKE_SIZE
from tests.conftest import StartDaemon
from tests.support import poison_cases
from tests.support.clients import Client, Refused
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase, User
from tests.support.stalling_proxy import StallingProxy

LIMITS = {
    "MAX_MESSAGE_SIZE": 4096,
    "MAX_AWARENESS_SIZE": 300,
    "MAX_AWARENESS_CLIENTS": 2,
    "MAX_CONNECTIONS": 4,
}


class LimitedRoom:
    """A daemon with low limits, and two clients: a bystander, and an offender that may exceed them."""

    def __init__(self, daemon: Daemon, ada: User, bob: User) -> None:
        self.daemon = daemon
        self.ada = ada
        self.bob = bob
        self.bystander = Client(daemon, "one", ada)
        self.offender = Client(daemon, "one", bob)

    def expect_close(self, code: int, reason: str) -> None:
        """The offender is closed with this code and reason, and the bystander can still edit."""
        actual_code, actual_reason = self.offender.wait_for_close()
        assert (actual_code, reason in actual_reason) == (code, True), actual_reason
        doc: Doc[Any] = Doc()
        doc["text"] = Text("still here")
        self.bystander.edit(doc.get_update())
        with Client(self.daemon, "one", self.bob) as again:
            again.wait_for("still here")

    def expect_shown(self, entries: list[Entry]) -> list[Entry]:
        """The bystander receives these awareness entries, and none of other clients."""
        while awareness.encode(entries) not in self.bystander.awareness:
            self.bystander.receive()
        received = {entry.client_id for payload in self.bystander.awareness for entry in awareness.decode(payload)}
        assert received == {entry.client_id for entry in entries}
        return entries

    def expect_edit_of_the_offender(self) -> None:
        """The offender can still edit."""
        doc: Doc[Any] = Doc()
        doc["text"] = Text("drawn by the offender")
        self.offender.edit(doc.get_update())
        self.bystander.wait_for("drawn by the offender")


@pytest.fixture
def room(database: TestDatabase, start_daemon: StartDaemon) -> Iterator[LimitedRoom]:
    ada, bob = database.add_user("ada"), database.add_user("bob")
    database.add_diagram("one", ada, editor=bob)
    room = LimitedRoom(start_daemon(database, **LIMITS), ada, bob)
    yield room
    room.bystander.close()
    room.offender.close()


def show(*entries: Entry) -> bytes:
    return sync.encode_awareness(awareness.encode(entries))


def test_a_message_over_its_size_closes_its_sender(room: LimitedRoom) -> None:
    room.offender.send(sync.encode_update(b"x" * LIMITS["MAX_MESSAGE_SIZE"]))
    room.expect_close(4413, "a message may have 4096 bytes")


def test_an_awareness_message_over_its_size_is_dropped_and_its_sender_stays(room: LimitedRoom) -> None:
    for clock in range(20):
        room.offender.send(show(Entry(1, clock, f'"{"x" * 300}"')))
    room.offender.send(show(Entry(2, 0, "{}")))
    room.expect_shown([Entry(2, CLOCK_OFFSET, "{}")])
    room.expect_edit_of_the_offender()
    assert len(room.daemon.events("awareness dropped")) == 1
    assert "300 bytes" in room.daemon.wait_for_event("awareness dropped", user=room.bob.id)["reason"]


def test_of_more_awareness_clients_than_one_may_announce_the_others_are_dropped(room: LimitedRoom) -> None:
    room.offender.send(show(*(Entry(number, 0, "{}") for number in range(3))))
    room.expect_shown([Entry(0, CLOCK_OFFSET, "{}"), Entry(1, CLOCK_OFFSET, "{}")])
    room.expect_edit_of_the_offender()
    assert "too many" in room.daemon.wait_for_event("awareness dropped", user=room.bob.id)["reason"]


@pytest.mark.parametrize("size", [100, 10_000])
def test_a_state_that_is_not_json_closes_its_sender_however_long_it_is(
    database: TestDatabase, start_daemon: StartDaemon, size: int
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    with Client(start_daemon(database), "one", ada) as offender:
        offender.send(show(Entry(1, 0, f'"{"x" * size}')))
        assert offender.wait_for_close() == (4400, "malformed message: a value is not JSON")


def test_an_echo_of_awareness_states_is_accepted_whatever_its_size(room: LimitedRoom) -> None:
    room.bystander.send(show(Entry(1, 0, f'"{"x" * 200}"'), Entry(2, 0, f'"{"x" * 80}"')))
    [first, second] = room.expect_shown(
        [Entry(1, CLOCK_OFFSET, f'"{"x" * 200}"'), Entry(2, CLOCK_OFFSET, f'"{"x" * 80}"')]
    )
    # In another order, since clients do not send the very bytes that they received.
    room.offender.send(show(second, first))
    room.expect_edit_of_the_offender()
    assert room.daemon.events("awareness dropped") == []


@pytest.mark.parametrize(
    "message",
    [b"", b"\xff", b"\x00\x02\x01\xff", b"\x00\x01\x01\xff", b"\x00\x00\x01\xff", b"\x01\x01\xff", b"\x00\x03\x00"],
    ids=["empty", "type", "update", "step 2", "state vector", "awareness", "sync"],
)
def test_a_malformed_message_closes_its_sender(room: LimitedRoom, message: bytes) -> None:
    room.offender.send(message)
    room.expect_close(4400, "malformed")


@pytest.mark.parametrize("encode", [sync.encode_update, sync.encode_step_2])
def test_an_update_that_yjs_would_break_on_closes_its_sender_and_is_not_kept(
    room: LimitedRoom, database: TestDatabase, encode: Callable[[bytes], bytes]
) -> None:
    room.offender.send(encode(next(poison_cases.guids()).updates[0]))
    room.expect_close(4400, "guid")
    room.daemon.wait_until(lambda: room.daemon.get("/health")[1]["unsaved_updates"] == 0)
    assert {user for (user,) in database.query("SELECT user_id FROM yjs_update_log")} == {room.ada.id}


def test_a_client_that_is_closed_leaves_its_room_before_the_close_frame_is_sent(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database, CLOSE_DELAY=2, MAX_CONNECTIONS=2)
    with Client(daemon, "one", ada) as bystander, Client(daemon, "one", ada) as offender:
        offender.send(show(Entry(1, 0, "{}")))
        while not bystander.awareness:
            bystander.receive()
        began = time.monotonic()
        offender.send(b"\x00\x02\x01\xff")
        while awareness.decode(bystander.awareness[-1]) != [Entry(1, CLOCK_OFFSET, "null")]:
            bystander.receive()
        assert time.monotonic() - began < 1
        # The connection counts towards the limit until it is closed.
        with pytest.raises(Refused) as refused:
            Client(daemon, "one", ada)
        assert refused.value.code == 503
        assert offender.wait_for_close()[0] == 4400
        assert time.monotonic() - began >= 2
    daemon.wait_until(lambda: daemon.get("/health")[1]["connections"] == 0)


def test_messages_of_other_types_are_ignored_and_counted(room: LimitedRoom) -> None:
    for kind in (2, 4, 7, 127):
        room.offender.send(bytes((kind,)) + b"whatever")
    for _ in range(6):
        room.offender.send(b"\x66")
    room.offender.edit(room.bystander.doc.get_update())
    assert room.offender.flush() == []
    room.daemon.wait_for_event("message ignored", count=10)
    ignored = [(event["count"], event["type"], event["room"]) for event in room.daemon.events("message ignored")]
    assert ignored == [(1, 2, "diagram-one"), (10, 102, "diagram-one")]


def test_text_closes_its_sender(room: LimitedRoom) -> None:
    room.offender.socket.send("hello")
    room.expect_close(4400, "text")


def test_a_client_too_many_is_told_to_try_again(room: LimitedRoom) -> None:
    with Client(room.daemon, "one", room.bob), Client(room.daemon, "one", room.bob):
        with pytest.raises(Refused) as refused:
            Client(room.daemon, "one", room.bob)
        assert refused.value.code == 503
    assert room.daemon.wait_for_event("connection denied")["reason"] == "too many connections"


def test_a_handshake_that_does_not_end_is_cut_off(database: TestDatabase, start_daemon: StartDaemon) -> None:
    daemon = start_daemon(database, HANDSHAKE_TIMEOUT=0.5)
    with socket.create_connection(("127.0.0.1", daemon.ws_port), timeout=10) as half_open:
        half_open.sendall(b"GET /diagram-one HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert half_open.recv(1000) == b""


def test_a_handshake_that_is_too_large_is_cut_off(room: LimitedRoom) -> None:
    with socket.create_connection(("127.0.0.1", room.daemon.ws_port), timeout=10) as flood:
        flood.sendall(b"GET /diagram-one HTTP/1.1\r\nX: " + b"x" * MAX_HANDSHAKE_SIZE)
        with contextlib.suppress(ConnectionResetError):
            assert flood.recv(1000) == b""
    assert room.daemon.wait_for_event("connection denied")["reason"] == "handshake too large"


def test_when_the_database_cannot_keep_up_writers_are_told_to_try_again_and_lose_nothing(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    with StallingProxy(database.url) as proxy:
        daemon = start_daemon(database, DATABASE_URL=proxy.url, JOURNAL_QUEUE_MAX=65536)
        with Client(daemon, "one", ada) as writer:
            text = writer.doc.get("text", type=Text)
            writer.doc.observe(lambda event: writer.send(sync.encode_update(event.update)))
            proxy.pause()
            text += "a" * 40_000
            text += "b" * 40_000
            writer.flush()
            text += "c"
            assert writer.wait_for_close()[0] == 4503
            kept = writer.doc.get_update()
        proxy.resume()
        daemon.wait_until(lambda: daemon.get("/health")[1]["unsaved_updates"] == 0)
        with Client(daemon, "one", ada) as again:
            assert again.text == "a" * 40_000 + "b" * 40_000
            again.edit(kept)
            again.flush()
        daemon.wait_until(lambda: len(database.query("SELECT 1 FROM yjs_update_log")) == 3)


def test_a_client_whose_edits_wait_for_the_database_is_read_more_slowly_and_loses_nothing(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database, MAX_UNSAVED=1024)
    doc: Doc[Any] = Doc()
    text = doc.get("text", type=Text)
    with Client(daemon, "one", ada) as client:
        with contextlib.closing(psycopg2.connect(database.url)) as connection, connection.cursor() as cursor:
            cursor.execute("LOCK TABLE collab.yjs_update_log IN ACCESS EXCLUSIVE MODE")
            for number in range(60):
                state = doc.get_state()
                text += f"{number} " + "x" * 100
                client.send(sync.encode_update(doc.get_update(state)))
            daemon.wait_until(lambda: daemon.get("/health")[1]["unsaved_updates"] >= 8)
            assert daemon.get("/health")[1]["unsaved_updates"] < 40
        client.flush()
        daemon.wait_until(lambda: daemon.get("/health")[1]["unsaved_updates"] == 0)
    with Client(daemon, "one", ada) as later:
        assert later.text == str(text)
